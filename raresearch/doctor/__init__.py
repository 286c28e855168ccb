"""Is every node fit for a study? What each node finds out about itself, and what follows from comparing them.

Belongs here: probes (`probe`, run on every node), judgements (`judge`), asking all nodes (`nodes`). Does not belong here:
printing. A finding says what is wrong and what to do; no finding means fit.
"""
