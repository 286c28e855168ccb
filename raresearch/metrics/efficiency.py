"""Weighted efficiencies: the fraction of a class that passes, with the effective number of trials behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from raresearch.metrics.intervals import Interval
from raresearch.metrics.sample import Sample, kish
from raresearch.types import Array

ZOU_DONNER = "10.1002/sim.3095"
BinomialInterval: TypeAlias = Callable[[float, float, float], Interval]


class Efficiency(NamedTuple):
    """``value`` passed out of ``trials`` effective events; ``kept`` is the Kish count of those that passed."""

    value: float
    trials: float
    kept: float

    def interval(self, method: BinomialInterval, level: float) -> tuple[float, float]:
        """Ends by `clopper_pearson` or `wilson` with effective counts; they enclose the value."""
        low, high = method(self.value * self.trials, self.trials, level)
        return min(float(low), self.value), max(float(high), self.value)


def efficiency(passed: Array, weights: Array) -> Efficiency:
    """Weighted fraction of events that pass: ``passed`` (N,) bool, ``weights`` (N,) with a positive sum.

    The number of trials is the one that gives a binomial the variance of the weighted fraction,
    var = [(1-ε)² Σ_pass w² + ε² Σ_fail w²] / W²; it equals N for equal weights and Kish's (Σw)²/Σw² where weights and
    passing are independent, and it stays right where rare regions were sampled with small weights. At ε = 0 or 1 that
    variance vanishes, and Kish's count of all events is used.

    >>> efficiency(np.array([True, False, True, True]), np.full(4, 0.5))
    Efficiency(value=0.75, trials=4.0, kept=3.0)
    """
    relative = weights / weights.max()
    inside, outside = relative * passed, relative * ~passed
    passed_squares, failed_squares = float(inside @ inside), float(outside @ outside)
    total = float(relative.sum())
    value = min(float(inside.sum()) / total, 1.0)
    if value in (0.0, 1.0):
        return Efficiency(value, kish(weights), kish(inside))
    variance = (1 - value) ** 2 * passed_squares + value**2 * failed_squares
    return Efficiency(value, value * (1 - value) * total**2 / variance, kish(inside))


def efficiencies(sample: Sample, threshold: float) -> tuple[Efficiency, Efficiency]:
    """ε_s and ε_b of keeping score >= threshold."""
    kept, signal, weights = sample.scores >= threshold, sample.events.signal, sample.events.weights
    # Weight 0 takes the other class out of every sum, and is faster than picking its events.
    return efficiency(kept, weights * signal), efficiency(kept, weights * ~signal)


def in_quadrature(value: float, *ends: float) -> float:
    """Length of the vector of shifts of ``value`` to the ``ends``: one end of a propagated interval.

    Shifts by the ends of each input's interval add in quadrature; the interval stays asymmetric as its inputs are
    (Zou and Donner, Statist. Med. 27, 1693, 2008).
    """
    return float(np.sqrt(sum((end - value) ** 2 for end in ends)))
