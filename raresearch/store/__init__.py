"""The Arrow store of one study: what has landed, and how to ask it.

Belongs here: the layout on disk, atomic landing, reading cells, epochs, scores, weights, events, the unsealing ledger.
Does not belong here: which epochs are good (`ensembles`), what a score is worth (`metrics`), how cells are run (`execution`).

    DIR/
      study.json                     what the folder is: spec, identity, versions; written once
      cells/<landing>/               one folder for each landing, renamed into place whole
        cells.parquet                one row a cell: config, fold, seed, outcome, provenance
        epochs.parquet               one row a (cell, epoch): losses and metrics on training and validation
        scores-<events>.arrow        one row a (cell, epoch): every event's score, float32, memory-mapped
        weights.safetensors          the weights that the retention policy keeps
      events/<events>.parquet        event ids and observers in the order of the scores; labels for validation only
      datasets/<fingerprint>/        tensors, and the sealed test labels
      ledger.jsonl                   who opened the test labels, when, why, for which choice
"""
