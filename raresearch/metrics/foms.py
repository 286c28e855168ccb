"""The built-in figures of merit, by the names of the entry points `raresearch.foms`."""

from __future__ import annotations

from raresearch.metrics.areas import AveragePrecision, RocAuc
from raresearch.metrics.fractions import Accuracy, Precision, Recall
from raresearch.metrics.significance import Significance, Xi
from raresearch.metrics.working_points import Acceptance, Rejection

__all__ = [
    "Acceptance",
    "Accuracy",
    "AveragePrecision",
    "Precision",
    "Recall",
    "Rejection",
    "RocAuc",
    "Significance",
    "Xi",
]
