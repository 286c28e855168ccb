"""A frozen ensemble leaves the study: one file that scores new events anywhere, and batch scoring of files.

Belongs here: the bundle (card, weights, ONNX, torch.export program), scoring from it or from the store, `predict`. Does not
belong here: choosing members (`ensembles`), reading formats (`data`), test labels (nothing here may read them).
"""
