"""The score axis: linear, or logit where scores crowd at 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from raresearch.types import Array

EDGE = 0.05
TICKS = {
    "$10^{-9}$": 1e-9,
    "$10^{-6}$": 1e-6,
    "$10^{-4}$": 1e-4,
    "0.01": 1e-2,
    "0.1": 0.1,
    "0.5": 0.5,
    "0.9": 0.9,
    "0.99": 0.99,
    "$1-10^{-4}$": 1 - 1e-4,
    "$1-10^{-6}$": 1 - 1e-6,
    "$1-10^{-9}$": 1 - 1e-9,
}


@dataclass(frozen=True)
class ScoreAxis:
    """Where a score stands on the axis. ``low`` and ``high`` are its ends, in the axis' own coordinate."""

    is_logit: bool
    low: float
    high: float

    @classmethod
    def of(cls, scores: Array, threshold: float | None) -> ScoreAxis:
        """Logit where the threshold lies within 5 % of an end: on a linear axis nobody would see what happens there.

        Its ends leave out at most 0.1 % of the events at either side, which are drawn in the outermost bins.
        """
        if threshold is None or EDGE <= threshold <= 1 - EDGE:
            return cls(False, 0.0, 1.0)
        low, high = np.quantile(_logit(np.append(scores, threshold)), [0.001, 0.999])
        at = float(_logit(np.asarray(threshold)))
        return cls(True, min(float(low), at - 1), max(float(high), at + 1))

    def place(self, scores: Array | float) -> Array:
        """Scores in the axis' coordinate, those beyond an end at that end."""
        x = _logit(np.asarray(scores)) if self.is_logit else np.asarray(scores, dtype=np.float64)
        inside: Array = np.clip(x, self.low, self.high)
        return inside

    def edges(self, bins: int) -> Array:
        """Bin edges (bins + 1,)."""
        return np.linspace(self.low, self.high, bins + 1)

    def thresholds(self, n: int) -> Array:
        """``n`` scores, evenly along the axis."""
        return self.scores(np.linspace(self.low, self.high, n))

    def scores(self, x: Array) -> Array:
        """The scores at ``x`` in the axis' coordinate."""
        scores: Array = expit(x) if self.is_logit else x
        return scores

    def label(self, axes: Any) -> None:
        """Name, ends and ticks of the x axis."""
        axes.set_xlim(self.low, self.high)
        axes.set_xlabel("network score" + (" (logit scale)" if self.is_logit else ""))
        if self.is_logit:
            inside = {name: logit(score) for name, score in TICKS.items() if self.low <= logit(score) <= self.high}
            axes.set_xticks(list(inside.values()), list(inside))


def _logit(scores: Array) -> Array:
    # Scores are means of logistic functions in double precision; 1e-15 is as near to 1 as they can be told apart.
    x: Array = logit(np.clip(np.asarray(scores, dtype=np.float64), 1e-15, 1 - 1e-15))
    return x
