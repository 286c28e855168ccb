"""How sure we are: what repeats, folds and finite events do to a figure of merit.

Belongs here: bootstraps, components of variance, paired comparisons, corrections for many comparisons, the optimism of a
selection. Does not belong here: an interval of one figure on one sample (`metrics`), choosing members (`ensembles`), words and
figures for a page (`report`).
"""
