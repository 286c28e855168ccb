"""Accuracy, recall and precision at a fixed threshold."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from raresearch.metrics.base import Fom, check_fraction, estimate
from raresearch.metrics.efficiency import Efficiency, efficiency
from raresearch.metrics.intervals import CLOPPER_PEARSON, clopper_pearson
from raresearch.metrics.sample import Events, Sample
from raresearch.types import Array, Estimate

METHOD = "Clopper–Pearson with effective counts"


@dataclass(frozen=True)
class _AtThreshold(Fom):
    """A weighted fraction of events at ``threshold`` (of the options, or the one given in the call)."""

    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_fraction(f"{self.name}: threshold", self.threshold)

    @property
    def cuts(self) -> bool:
        return True

    @abstractmethod
    def _fraction(self, kept: Array, events: Events) -> Efficiency:
        """The fraction where ``kept`` (N,) bool are at or above the threshold."""

    def _estimate(self, sample: Sample, threshold: float | None, level: float) -> Estimate:
        cut = self.threshold if threshold is None else threshold
        found = self._fraction(sample.scores >= cut, sample.events)
        return estimate(found.value, found.interval(clopper_pearson, level), found.trials, level, METHOD, cut)


@dataclass(frozen=True)
class Accuracy(_AtThreshold):
    """Weighted fraction of events on their own side of the threshold.

    Interval: Clopper–Pearson; background that runs out changes nothing here. ``n_effective``: events that count.
    """

    name: ClassVar[str] = "accuracy"
    cites: ClassVar[tuple[str, ...]] = (CLOPPER_PEARSON,)

    def _fraction(self, kept: Array, events: Events) -> Efficiency:
        return efficiency(kept == events.signal, events.weights)

    def _values(self, scores_MN: Array, events: Events) -> Array:
        correct: Array = (scores_MN >= self.threshold) == events.signal
        accuracy: Array = _weighted(correct, events.weights) / events.weights.sum()
        return accuracy


@dataclass(frozen=True)
class Recall(_AtThreshold):
    """Weighted fraction of signal at or above the threshold, ε_s.

    A network that calls everything signal has recall 1: never select on recall alone.
    Interval: Clopper–Pearson. ``n_effective``: signal events that count.
    """

    name: ClassVar[str] = "recall"
    cites: ClassVar[tuple[str, ...]] = (CLOPPER_PEARSON,)

    def _fraction(self, kept: Array, events: Events) -> Efficiency:
        return efficiency(kept, events.weights * events.signal)

    def _values(self, scores_MN: Array, events: Events) -> Array:
        weights = events.weights[events.signal]
        recall: Array = _weighted(scores_MN[:, events.signal] >= self.threshold, weights) / weights.sum()
        return recall


@dataclass(frozen=True)
class Precision(_AtThreshold):
    """Weighted fraction of signal among the events at or above the threshold; it depends on the sample's composition.

    Nothing kept: the fraction is 0/0; the value is 0, so that no search prefers it, with the interval [0, 1] and
    ``n_effective`` 0. Background gone: the value is 1, with Clopper–Pearson's lower end.
    """

    name: ClassVar[str] = "precision"
    cites: ClassVar[tuple[str, ...]] = (CLOPPER_PEARSON,)

    def _fraction(self, kept: Array, events: Events) -> Efficiency:
        weights = events.weights * kept
        return efficiency(events.signal, weights) if weights.any() else Efficiency(0.0, 0.0, 0.0)

    def _values(self, scores_MN: Array, events: Events) -> Array:
        kept = scores_MN >= self.threshold
        true, every = _weighted(kept & events.signal, events.weights), _weighted(kept, events.weights)
        precision: Array = np.divide(true, every, out=np.zeros_like(every), where=every > 0)
        return precision


def _weighted(chosen_MN: Array, weights: Array) -> Array:
    summed: Array = chosen_MN.astype(np.float64) @ weights
    return summed
