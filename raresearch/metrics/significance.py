"""S and Ξ: figures of merit of a counting search, maximised over the cut."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from raresearch.errors import DataError, SpecError
from raresearch.metrics.base import Fom, check_positive, estimate
from raresearch.metrics.efficiency import ZOU_DONNER, Efficiency, efficiencies, in_quadrature
from raresearch.metrics.intervals import WILSON, poisson_upper_limit, wilson
from raresearch.metrics.ranking import Ranking
from raresearch.metrics.sample import Events, Sample, kish
from raresearch.types import Array, Estimate

#: sums of 10^6 weights carry rounding; a count that is short by less than this is not short
ROUNDING = 1e-9


def significance(signal: Array | float, background: Array | float) -> Array:
    """S = s/√(s + b) for s signal and b background events kept (PandaX-II, JINST 18 T06002, Eq. 4.1); 0 where none is kept.

    Perfect separation of n signal events gives √n, no cut at all with as many background events √(n/2).

    >>> [round(float(x), 3) for x in significance(np.array([976.0, 976.0, 0.0]), np.array([0.0, 976.0, 0.0]))]
    [31.241, 22.091, 0.0]
    """
    s, total = np.asarray(signal, dtype=np.float64), np.asarray(signal) + np.asarray(background)
    ratio: Array = np.divide(s, np.sqrt(total), out=np.zeros_like(total, dtype=np.float64), where=total > 0)
    return ratio


@dataclass(frozen=True)
class Significance(Fom):
    """S = ε_s n_s / √(ε_s n_s + ε_b n_b) at the cut that maximises it (PandaX-II, JINST 18 T06002, Eq. 4.1).

    ``n_signal`` and ``n_background`` are the expected numbers of events before the cut, taken as known; None: the summed
    weights in the sample. Of equal maxima the highest threshold is used. With the threshold chosen on the same sample
    the value is optimistic; freeze it on validation and pass it for an unbiased one.

    Interval: Wilson intervals of ε_s and ε_b at the cut, propagated in quadrature; it does not include the choice of the cut.
    Background gone: S = √(ε_s n_s) is finite, the largest it can be, and the lower end holds the upper end of ε_b.
    ``n_effective`` is the smaller Kish count of the signal and the background kept.

    >>> round(Significance()(scores=[0.9, 0.8, 0.2, 0.1], labels=[1, 1, 0, 0]).value, 4)
    1.4142
    """

    n_signal: float | None = None
    n_background: float | None = None
    name: ClassVar[str] = "significance"
    cites: ClassVar[tuple[str, ...]] = ("10.1088/1748-0221/18/06/T06002", WILSON, ZOU_DONNER)

    def __post_init__(self) -> None:
        check_positive("significance: n_signal", self.n_signal)
        check_positive("significance: n_background", self.n_background)

    @property
    def cuts(self) -> bool:
        return True

    def _expected(self, events: Events) -> tuple[float, float]:
        n_signal = events.weights[events.signal].sum() if self.n_signal is None else self.n_signal
        n_background = events.weights[~events.signal].sum() if self.n_background is None else self.n_background
        return float(n_signal), float(n_background)

    def _scan(self, ranking: Ranking, events: Events) -> Array:
        n_signal, n_background = self._expected(events)
        kept_signal = ranking.signal * (n_signal / ranking.signal_total)
        return significance(kept_signal, ranking.background * (n_background / ranking.background_total))

    def _values(self, scores_MN: Array, events: Events) -> Array:
        ranking = Ranking.of(scores_MN, events)
        scan = self._scan(ranking, events)
        return ranking.at(scan, ranking.best(scan))

    def _estimate(self, sample: Sample, threshold: float | None, level: float) -> Estimate:
        if threshold is None:
            ranking = Ranking.of(sample.scores[None], sample.events)
            threshold = float(ranking.scores[0, ranking.best(self._scan(ranking, sample.events))[0]])
        n_signal, n_background = self._expected(sample.events)
        signal, background = efficiencies(sample, threshold)

        def s(eps_s: float, eps_b: float) -> float:
            return float(significance(eps_s * n_signal, eps_b * n_background))

        (s_low, s_high), (b_low, b_high) = signal.interval(wilson, level), background.interval(wilson, level)
        value = s(signal.value, background.value)
        low = value - in_quadrature(value, s(s_low, background.value), s(signal.value, b_high))
        high = value + in_quadrature(value, s(s_high, background.value), s(signal.value, b_low))
        ends = max(low, 0.0), min(high, math.sqrt(n_signal))
        method = "Wilson on ε_s and ε_b, in quadrature, at a fixed cut"
        return estimate(value, ends, min(signal.kept, background.kept), level, method, threshold)


@dataclass(frozen=True)
class Xi(Fom):
    """Ξ = ε_s/√ε_b at the cut that maximises it (PandaX-III, J. Phys. G 50 125103).

    Cuts that keep fewer than ``min_background`` background events (Kish's effective number where weighted) are ignored in
    the maximisation: the ratio diverges on a fluctuation of the last few. Of equal maxima the highest threshold is used. A
    threshold given is used whatever it keeps. With the threshold chosen on the same sample the value is optimistic.

    Background gone (a threshold given, or ``min_background`` 0): ε_b is replaced by its 90 % upper limit 2.3/N_b, so
    Ξ >= ε_s √(N_b/2.3) is a lower limit, marked ``lower_limit``, never infinity; N_b is Kish's number of background events
    before the cut, and ``high`` repeats the value, since nothing is known above it.

    Interval: Wilson intervals of ε_s and ε_b at the cut, propagated in quadrature on ln Ξ; it does not include the choice
    of the cut. ``n_effective`` is the Kish count of the background kept. DataError where the sample has fewer than
    ``min_background`` background events.
    """

    min_background: int = 10
    name: ClassVar[str] = "xi"
    cites: ClassVar[tuple[str, ...]] = ("10.1088/1361-6471/acfe24", WILSON, ZOU_DONNER)

    def __post_init__(self) -> None:
        k = self.min_background
        if isinstance(k, bool) or not isinstance(k, int) or k < 0:
            raise SpecError(f"xi: min_background = {k!r}", "must be a whole number, 0 or more", "10 is usual")

    @property
    def cuts(self) -> bool:
        return True

    def _scan(self, ranking: Ranking, events: Events) -> Array:
        """Ξ at each place, -inf where too little background is kept."""
        background = ranking.background
        total, count = float(background[0, -1]), kish(events.weights[~events.signal])
        if count < self.min_background * (1 - ROUNDING):
            rule = f"{count:.4g} background events, but min_background is {self.min_background}"
            raise DataError(self.name, rule, "give more background, or a smaller min_background")
        eps_b = np.where(background > 0, background, _upper_limit(count) * total)
        scan = ranking.signal / np.sqrt(eps_b)
        scan *= np.sqrt(total) / ranking.signal_total
        scan[~self._enough(ranking, events)] = -np.inf
        return scan

    def _enough(self, ranking: Ranking, events: Events) -> Array:
        background = ranking.background
        if events.unit:
            return background >= self.min_background
        # Kish's count without its division: (Σw)² >= k Σw². Any background at all counts as one event.
        if self.min_background <= 1:
            return background > 0 if self.min_background else np.ones_like(ranking.last)
        total = ranking.background_total
        squares = np.cumsum((ranking.background_weights / total) ** 2, axis=1)
        return (background > 0) & ((background / total) ** 2 >= self.min_background * (1 - ROUNDING) * squares)

    def _values(self, scores_MN: Array, events: Events) -> Array:
        ranking = Ranking.of(scores_MN, events)
        scan = self._scan(ranking, events)
        return ranking.at(scan, ranking.best(scan))

    def _estimate(self, sample: Sample, threshold: float | None, level: float) -> Estimate:
        if threshold is None:
            ranking = Ranking.of(sample.scores[None], sample.events)
            threshold = float(ranking.scores[0, ranking.best(self._scan(ranking, sample.events))[0]])
        signal, background = efficiencies(sample, threshold)
        s_ends, b_ends = signal.interval(wilson, level), background.interval(wilson, level)
        if background.value == 0:
            root = math.sqrt(_upper_limit(background.trials))
            value = signal.value / root
            method = "ε_b at its 90 % upper limit 2.3/N_b, Wilson on ε_s"
            return estimate(value, (s_ends[0] / root, value), 0.0, level, method, threshold, lower_limit=True)
        ends = _xi_ends(signal, background, s_ends, b_ends)
        method = "Wilson on ε_s and ε_b, in quadrature on ln Ξ, at a fixed cut"
        return estimate(signal.value / math.sqrt(background.value), ends, background.kept, level, method, threshold)


def _upper_limit(background_events: float) -> float:
    """90 % upper limit on ε_b when none of ``background_events`` was kept; an efficiency is never above 1."""
    return min(1.0, float(poisson_upper_limit(0)) / background_events)


def _xi_ends(
    signal: Efficiency, background: Efficiency, s_ends: tuple[float, float], b_ends: tuple[float, float]
) -> tuple[float, float]:
    if signal.value == 0:  # no logarithm of zero: the upper end takes both ends at once, which is conservative
        return 0.0, s_ends[1] / math.sqrt(b_ends[0])
    value = signal.value / math.sqrt(background.value)
    down, up = (math.log(end / signal.value) for end in s_ends)
    looser, tighter = (0.5 * math.log(end / background.value) for end in reversed(b_ends))
    return value * math.exp(-math.hypot(down, looser)), value * math.exp(math.hypot(up, tighter))
