"""What a user calls from Python, and what the command line is made of: wiring, no logic.

Belongs here: `run`, `open`, `check`, choices and their unsealing. Does not belong here: anything that another package could
use without a study's folder.
"""

from raresearch.api.choice import Choice, Unsealed
from raresearch.api.opened import OpenStudy, open_study
from raresearch.api.run import run

__all__ = ["Choice", "OpenStudy", "Unsealed", "open_study", "run"]
