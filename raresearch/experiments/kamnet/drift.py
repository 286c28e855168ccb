"""Periods of high background by the shape of their scores (Sec. V.B): a likelihood fit of two templates to each period.

Legend: N events of a period, B bins of the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.errors import DataError
from raresearch.types import Array

BINS = 12
_STEPS = 2001  # values of the fraction that are tried: finer than any period's error


@dataclass(frozen=True, slots=True)
class Fraction:
    """Fraction of multi-vertex events of a period, its interval of one sigma, the events that were fitted, and twice the
    log likelihood that it gains over no such events at all."""

    value: float
    low: float
    high: float
    events: int
    gain: float


@dataclass(frozen=True, slots=True)
class Templates:
    """``edges`` (B - 1,) inner edges; ``single``, ``multiple`` (B,) probabilities."""

    edges: Array
    single: Array
    multiple: Array

    @classmethod
    def of(cls, single: Array, multiple: Array) -> Templates:
        """From scores of both kinds; bins with as many of both together. Raises `DataError` for too few events."""
        both = np.r_[single, multiple]
        if min(len(single), len(multiple)) < 2 * BINS:
            raise DataError("drift: templates", f"need at least {2 * BINS} events each", "more events")
        edges = np.quantile(both, np.linspace(0, 1, BINS + 1)[1:-1])
        # Half an event more in each bin: a template of a finite sample never forbids a score.
        counts = [np.bincount(np.searchsorted(edges, s, side="right"), minlength=BINS) + 0.5 for s in (single, multiple)]
        return cls(edges, counts[0] / counts[0].sum(), counts[1] / counts[1].sum())

    def fit(self, scores: Array) -> Fraction:
        """Binned maximum likelihood of the fraction in [0, 1] for ``scores`` (N,), interval where it falls by one half."""
        if not len(scores):
            raise DataError("drift: period", "has no events", "longer periods")
        counts = np.bincount(np.searchsorted(self.edges, scores, side="right"), minlength=BINS)
        fraction = np.linspace(0.0, 1.0, _STEPS)[:, None]
        likelihood = (counts * np.log(fraction * self.multiple + (1 - fraction) * self.single)).sum(1)
        best = int(np.argmax(likelihood))
        near = np.flatnonzero(likelihood > likelihood[best] - 0.5)
        value, low, high = (float(fraction[i, 0]) for i in (best, near[0], near[-1]))
        return Fraction(value, low, high, len(scores), float(2 * (likelihood[best] - likelihood[0])))
