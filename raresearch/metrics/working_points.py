"""Rejection at fixed acceptance and acceptance at fixed rejection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from raresearch.metrics.base import Fom, check_fraction, estimate
from raresearch.metrics.efficiency import ZOU_DONNER, efficiencies, in_quadrature
from raresearch.metrics.intervals import CLOPPER_PEARSON, WILSON, clopper_pearson, quantile_ranks, wilson
from raresearch.metrics.ranking import Ranking
from raresearch.metrics.sample import Events, Sample
from raresearch.types import Array, Estimate

#: sums of 10^6 weights carry rounding; 0.9 must count as 0.9
ROUNDING = 1e-9


@dataclass(frozen=True)
class Rejection(Fom):
    """Fraction of background rejected, 1 - ε_b, where at least ``acceptance`` of the signal is kept.

    Threshold None: the highest one with ε_s >= ``acceptance``; it is a signal event's score. The interval then also holds
    the uncertainty of that quantile: Wilson of ε_b, and the rejections at the signal's order statistics that enclose the
    quantile, in quadrature; with too few signal events to have one below it, the lower end is 0. Threshold given: the
    rejection there, whatever its acceptance, with Clopper–Pearson's interval of ε_b.

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
        return _rejections(ranking, _places(ranking.signal, self.acceptance, ranking.last))

    def _estimate(self, sample: Sample, threshold: float | None, level: float) -> Estimate:
        if threshold is not None:
            _, background = efficiencies(sample, threshold)
            low, high = background.interval(clopper_pearson, level)
            method = "Clopper–Pearson on ε_b at the threshold given"
            return estimate(1 - background.value, (1 - high, 1 - low), background.kept, level, method, threshold)
        ranking = Ranking.of(sample.scores[None], sample.events)
        threshold = float(ranking.scores[0, _places(ranking.signal, self.acceptance, ranking.last)[0]])
        signal, background = efficiencies(sample, threshold)
        tight, loose = quantile_ranks(self.acceptance, signal.trials, level)
        tight_end = float(_rejections(ranking, _places(ranking.signal, tight, ranking.last))[0]) if tight > 0 else 1.0
        loose_end = float(_rejections(ranking, _places(ranking.signal, loose, ranking.last))[0]) if loose <= 1 else 0.0
        value = 1 - background.value
        b_low, b_high = background.interval(wilson, level)
        low = value - in_quadrature(value, 1 - b_high, min(loose_end, value))
        high = value + in_quadrature(value, 1 - b_low, max(tight_end, value))
        method = "Wilson on ε_b and on the signal's quantile, in quadrature"
        return estimate(value, (max(low, 0.0), min(high, 1.0)), background.kept, level, method, threshold)


@dataclass(frozen=True)
class Acceptance(Fom):
    """Fraction of signal kept, ε_s, where at least ``rejection`` of the background is rejected.

    Threshold None: the lowest score with ε_b <= 1 - ``rejection``; where even the highest score keeps more background, a
    threshold just above it, and the value is 0. The interval then also holds the uncertainty of that quantile, as in
    `Rejection`. Threshold given: the acceptance there, whatever its rejection, with Clopper–Pearson's interval of ε_s.

    Background gone: where the background has no order statistic above the quantile (at one sigma: fewer than 1.84 events
    expected above it), the sample cannot tell how much higher the true threshold lies, and the lower end is 0.
    The value leans upwards by up to one background event's worth: mind it where only a few are left above the cut.
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
            signal, _ = efficiencies(sample, threshold)
            method = "Clopper–Pearson on ε_s at the threshold given"
            return estimate(signal.value, signal.interval(clopper_pearson, level), signal.kept, level, method, threshold)
        ranking = Ranking.of(sample.scores[None], sample.events)
        threshold = _threshold_of_rejection(ranking, self.rejection)
        signal, background = efficiencies(sample, threshold)
        tight, loose = quantile_ranks(1 - self.rejection, background.trials, level)
        tight_end = _acceptance_at(ranking, tight) if tight > 0 else 0.0
        loose_end = _acceptance_at(ranking, loose) if loose <= 1 else 1.0
        value = signal.value
        s_low, s_high = signal.interval(wilson, level)
        low = max(value - in_quadrature(value, s_low, min(tight_end, value)), 0.0)
        high = min(value + in_quadrature(value, s_high, max(loose_end, value)), 1.0)
        method = "Wilson on ε_s and on the background's quantile, in quadrature"
        return estimate(value, (low, high), min(signal.kept, background.kept), level, method, threshold)


def _places(cumulated: Array, fraction: float, last: Array) -> Array:
    """Place (M,) of the highest threshold that keeps at least ``fraction`` of the weight ``cumulated`` (M, N)."""
    places: Array = (last & (cumulated >= fraction * (1 - ROUNDING) * cumulated[:, -1:])).argmax(axis=1)
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


def _acceptance_at(ranking: Ranking, background_fraction: float) -> float:
    place = _places(ranking.background, background_fraction, ranking.last)
    return float(ranking.at(ranking.signal, place)[0] / ranking.signal_total[0, 0])


def _threshold_of_rejection(ranking: Ranking, rejection: float) -> float:
    allowed = np.flatnonzero(_allowed(ranking, rejection)[0])
    if len(allowed):
        return float(ranking.scores[0, allowed[-1]])
    return float(np.nextafter(ranking.scores[0, 0], np.inf))
