"""Training: the loop, its seeds, its data in memory.

Belongs here: how cells become epochs, scores and weights. Does not belong here: which cells, where they run, what their
scores are worth. Nothing here knows Ray: `execution` hands a list of cells and gets a list of records.
"""
