"""Rejection at fixed acceptance and acceptance at fixed rejection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from raresearch.metrics.base import Fom, check_fraction, estimate
from raresearch.metrics.efficiency import ZOU_DONNER, Efficiency, efficiencies, in_quadrature
from raresearch.metrics.intervals import CLOPPER_PEARSON, WILSON, clopper_pearson, wilson
from raresearch.metrics.ranking import Ranking
from raresearch.metrics.sample import Events, Sample
from raresearch.types import Array, Estimate

#: sums of 10^6 weights carry rounding; 0.9 must count as 0.9
ROUNDING = 1e-9


@dataclass(frozen=True)
class Rejection(Fom):
    """Fraction of background rejected, 1 - ε_b, where at least ``acceptance`` of the signal is kept.

    Threshold None: the highest one with ε_s >= ``acceptance``; it is a signal event's score. The interval then also holds
    the uncertainty of that quantile: Wilson of ε_b, and the rejections at the ends of Wilson's interval of ε_s, in
    quadrature. Threshold given: the rejection there, whatever its acceptance, with Clopper–Pearson's interval of ε_b.

    Background gone: the value is 1, and the lower end is 1 minus the upper end of ε_b = 0.
    ``n_effective`` is the Kish count of the background kept.
    """

    acceptance: float = 0.9
    name: ClassVar[str] = "rejection"
    cites: ClassVar[tuple[str, ...]] = (CLOPPER_PEARSON, WILSON, ZOU_DONNER)

    def __post_init__(self) -> None:
        check_fraction("rejection: acceptance", self.acceptance)

    @property
    def cuts(self) -> bool:
        return True

    def _values(self, scores_MN: Array, events: Events) -> Array:
        ranking = Ranking.of(scores_MN, events)
        return _rejections(ranking, _places_of_acceptance(ranking, self.acceptance))

    def _estimate(self, sample: Sample, threshold: float | None, level: float) -> Estimate:
        if threshold is not None:
            _, background = efficiencies(sample, threshold)
            low, high = background.interval(clopper_pearson, level)
            method = "Clopper–Pearson on ε_b at the threshold given"
            return estimate(1 - background.value, (1 - high, 1 - low), background.kept, level, method, threshold)
        ranking = Ranking.of(sample.scores[None], sample.events)
        threshold = float(ranking.scores[0, _places_of_acceptance(ranking, self.acceptance)[0]])
        signal, background = efficiencies(sample, threshold)
        tight, loose = (
            float(_rejections(ranking, _places_of_acceptance(ranking, a))[0]) for a in _around(self.acceptance, signal, level)
        )
        value = 1 - background.value
        b_low, b_high = background.interval(wilson, level)
        low = value - in_quadrature(value, 1 - b_high, min(loose, value))
        high = value + in_quadrature(value, 1 - b_low, max(tight, value))
        method = "Wilson on ε_b and on the signal's quantile, in quadrature"
        return estimate(value, (max(low, 0.0), min(high, 1.0)), background.kept, level, method, threshold)


@dataclass(frozen=True)
class Acceptance(Fom):
    """Fraction of signal kept, ε_s, where at least ``rejection`` of the background is rejected.

    Threshold None: the lowest score with ε_b <= 1 - ``rejection``; where even the highest score keeps more background, a
    threshold just above it, and the value is 0. The interval then also holds the uncertainty of that quantile, as in
    `Rejection`. Threshold given: the acceptance there, whatever its rejection, with Clopper–Pearson's interval of ε_s.

    Background gone: where less than one (Kish) background event is above the threshold that was chosen, the sample cannot
    tell how much higher the true threshold lies, and the lower end is 0.
    ``n_effective`` is the Kish count of the signal kept, or of the background kept where that is smaller.
    """

    rejection: float = 0.9
    name: ClassVar[str] = "acceptance"
    cites: ClassVar[tuple[str, ...]] = (CLOPPER_PEARSON, WILSON, ZOU_DONNER)

    def __post_init__(self) -> None:
        check_fraction("acceptance: rejection", self.rejection)

    @property
    def cuts(self) -> bool:
        return True

    def _values(self, scores_MN: Array, events: Events) -> Array:
        return _acceptances(Ranking.of(scores_MN, events), self.rejection)

    def _estimate(self, sample: Sample, threshold: float | None, level: float) -> Estimate:
        if threshold is not None:
            signal, background = efficiencies(sample, threshold)
            method = "Clopper–Pearson on ε_s at the threshold given"
            return estimate(signal.value, signal.interval(clopper_pearson, level), signal.kept, level, method, threshold)
        ranking = Ranking.of(sample.scores[None], sample.events)
        threshold = _threshold_of_rejection(ranking, self.rejection)
        signal, background = efficiencies(sample, threshold)
        loose, tight = (float(_acceptances(ranking, r)[0]) for r in _around(self.rejection, background, level))
        value = signal.value
        s_low, s_high = signal.interval(wilson, level)
        low = max(value - in_quadrature(value, s_low, min(tight, value)), 0.0)
        high = min(value + in_quadrature(value, s_high, max(loose, value)), 1.0)
        method = "Wilson on ε_s and on the background's quantile, in quadrature"
        if background.value == 0:
            low, method = 0.0, method + "; no background above the cut: no lower end"
        return estimate(value, (low, high), min(signal.kept, background.kept), level, method, threshold)


def _around(target: float, found: Efficiency, level: float) -> tuple[float, float]:
    """Ends of the efficiencies that ``target`` may stand for, given the effective events its quantile rests on."""
    low, high = wilson(target * found.trials, found.trials, level)
    return float(low), float(high)


def _places_of_acceptance(ranking: Ranking, acceptance: float) -> Array:
    enough = ranking.signal >= acceptance * (1 - ROUNDING) * ranking.signal_total
    places: Array = (ranking.last & enough).argmax(axis=1)  # the first True: the highest such threshold
    return places


def _rejections(ranking: Ranking, places: Array) -> Array:
    rejected: Array = 1.0 - ranking.at(ranking.background, places) / ranking.background_total[:, 0]
    return rejected


def _allowed(ranking: Ranking, rejection: float) -> Array:
    most = (1.0 - rejection) * (1 + ROUNDING) * ranking.background_total
    return ranking.last & (ranking.background <= most)


def _acceptances(ranking: Ranking, rejection: float) -> Array:
    kept: Array = np.where(_allowed(ranking, rejection), ranking.signal, 0.0).max(axis=1)
    return kept / ranking.signal_total[:, 0]


def _threshold_of_rejection(ranking: Ranking, rejection: float) -> float:
    allowed = np.flatnonzero(_allowed(ranking, rejection)[0])
    if len(allowed):
        return float(ranking.scores[0, allowed[-1]])
    return float(np.nextafter(ranking.scores[0, 0], np.inf))
