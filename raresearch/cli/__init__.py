"""The command line: wiring, no logic.

Belongs here: options, printing, exit status. Does not belong here: anything that a Python user would miss.

Exit status: 0 done; 1 some cells failed (named); 2 the input is wrong (one line: place, rule, remedy); 130 interrupted.
"""

from raresearch.cli.main import main

__all__ = ["main"]
