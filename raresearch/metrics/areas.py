"""ROC AUC and average precision: areas over all thresholds, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from raresearch.errors import SpecError
from raresearch.metrics.base import Fom, estimate
from raresearch.metrics.intervals import logit_interval
from raresearch.metrics.ranking import Ranking
from raresearch.metrics.sample import Events, Sample, kish
from raresearch.types import Array, Estimate

DELONG = "10.2307/2531595"
NATURAL_THRESHOLD = 0.5


@dataclass(frozen=True)
class RocAuc(Fom):
    """Probability that a signal event scores above a background event, ties counted half.

    Interval: the variance of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 837, 1988), generalised to weights (each
    event's placement enters with its squared weight, Kish's n/(n-1) in place of the sample's), on the logit scale.
    At AUC 1 or 0 that variance vanishes: Clopper–Pearson with the effective size of the smaller class. A class of a
    single event has no spread to measure; the largest variance that it can have, A(1 - A), is used.
    ``n_effective`` is the Kish count of the smaller class.
    """

    name: ClassVar[str] = "roc_auc"
    cites: ClassVar[tuple[str, ...]] = (DELONG,)

    def _values(self, scores_MN: Array, events: Events) -> Array:
        return _auc(Ranking.of(scores_MN, events))

    def _estimate(self, sample: Sample, threshold: float | None, level: float) -> Estimate:
        return self._estimates(sample.scores[None], sample.events, level)[0]

    def _estimates(self, scores_MN: Array, events: Events, level: float) -> list[Estimate]:
        ranking = Ranking.of(scores_MN, events)
        signal, background = ranking.signal_weights, ranking.background_weights
        values = _auc(ranking)
        # Placements: background below each signal event, and signal above each background event.
        below = 1.0 - _middle(ranking, ranking.background) / background.sum(axis=1, keepdims=True)
        above = _middle(ranking, ranking.signal) / signal.sum(axis=1, keepdims=True)
        bound = values * (1.0 - values)
        of_signal, of_background = kish(events.weights[events.signal]), kish(events.weights[~events.signal])
        variances = _variances(below, signal, bound, of_signal) + _variances(above, background, bound, of_background)
        count = min(of_signal, of_background)
        return [
            estimate(value, logit_interval(value, variance, count, level), count, level, "DeLong, weighted, on the logit")
            for value, variance in zip(values.tolist(), variances.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class AveragePrecision(Fom):
    """Precision averaged over recall in steps, Σ (R_n - R_{n-1}) P_n, over the unique scores from high to low.

    ``binarised``: of the predictions 0 and 1 at 0.5 (or at the threshold given) in place of the scores; then it is
    P R + (1 - R) π with precision P, recall R and the signal's share π of the sample, and says less.
    It depends on the sample's composition, which the interval takes as fixed.

    Interval: infinitesimal jackknife (Efron, doi 10.1137/1.9781611970319), stratified by class, on the logit scale as
    proposed by Boyd, Eng and Page (ECML 2013). Where the variance vanishes (perfect order): Clopper–Pearson with
    the effective size of the smaller class. ``n_effective`` is the Kish count of the smaller class.
    """

    binarised: bool = False
    name: ClassVar[str] = "average_precision"
    cites: ClassVar[tuple[str, ...]] = ("10.1007/978-3-642-40994-3_29", "10.1137/1.9781611970319")

    def __post_init__(self) -> None:
        if not isinstance(self.binarised, bool):
            raise SpecError(f"average_precision: binarised = {self.binarised!r}", "must be true or false")

    @property
    def cuts(self) -> bool:
        return self.binarised

    def _values(self, scores_MN: Array, events: Events) -> Array:
        scores = _binary(scores_MN, NATURAL_THRESHOLD) if self.binarised else scores_MN
        return _average_precision(Ranking.of(scores, events))

    def _estimate(self, sample: Sample, threshold: float | None, level: float) -> Estimate:
        cut = None
        if self.binarised:
            cut = NATURAL_THRESHOLD if threshold is None else threshold
            sample = Sample(_binary(sample.scores, cut), sample.events)
        ranking, signal, background = _ranked_weights(sample)
        value = float(_average_precision(ranking)[0])
        on_signal, on_background = _influence(ranking, signal)
        bound = value * (1.0 - value)
        variance = _variance(on_signal, signal, bound) + _variance(on_background, background, bound)
        count = min(kish(signal), kish(background))
        ends = logit_interval(value, variance, count, level)
        return estimate(value, ends, count, level, "infinitesimal jackknife on the logit", cut)


def _ranked_weights(sample: Sample) -> tuple[Ranking, Array, Array]:
    """One ranking, and the weights (N,) of signal and of background in its order."""
    ranking = Ranking.of(sample.scores[None], sample.events)
    return ranking, ranking.signal_weights[0], ranking.background_weights[0]


def _middle(ranking: Ranking, cumulated: Array) -> Array:
    """Weight above each event, with half of what ties with it, (M, N)."""
    middle: Array = 0.5 * (ranking.before_ties(cumulated) + ranking.through_ties(cumulated))
    return middle


def _auc(ranking: Ranking) -> Array:
    background_above = _middle(ranking, ranking.background) / ranking.background_total
    lost: Array = (ranking.signal_weights / ranking.signal_total * background_above).sum(axis=1)
    return np.clip(1.0 - lost, 0.0, 1.0)


def _precision(ranking: Ranking) -> tuple[Array, Array]:
    """Precision at each event's score, and the weight of all events kept there, (M, N)."""
    kept_signal = ranking.through_ties(ranking.signal)
    kept = kept_signal + ranking.through_ties(ranking.background)
    return np.divide(kept_signal, kept, out=np.zeros_like(kept), where=kept > 0), kept


def _average_precision(ranking: Ranking) -> Array:
    precision, _ = _precision(ranking)
    area: Array = (ranking.signal_weights * precision).sum(axis=1) / ranking.signal_total[:, 0]
    return np.clip(area, 0.0, 1.0)


def _influence(ranking: Ranking, signal: Array) -> tuple[Array, Array]:
    """How the area answers to a little more weight on each event, as a signal and as a background event, (N,) each.

    An event changes the precision at its own score and at all lower ones: with P = S/(S + B), dP/dS = B/(S + B)² and
    dP/dB = -S/(S + B)². A signal event also adds its own term. The constant that centres each class is left out.
    """
    (precision,), (kept,) = _precision(ranking)
    share = np.divide(signal, kept, out=np.zeros_like(signal), where=kept > 0)
    through_signal = _from_here_down(ranking, share * (1.0 - precision))
    through_background = _from_here_down(ranking, share * precision)
    # Both as means over their own class, which is what `_variance` takes: a background event's pull is scaled by B/S.
    total = signal.sum()
    return precision + through_signal, -through_background * ((kept[-1] - total) / total)


def _from_here_down(ranking: Ranking, terms: Array) -> Array:
    """Sum of ``terms`` (N,) over all events at an equal or lower score."""
    cumulated = np.cumsum(terms)[None]
    lower: Array = (cumulated[:, -1:] - ranking.before_ties(cumulated))[0]
    return lower


def _variance(per_event: Array, weights: Array, bound: float) -> float:
    """Variance of the weighted mean of ``per_event`` (N,) over events of positive weight; ``bound`` for a single event."""
    return float(_variances(per_event[None], weights[None], np.asarray([bound]), kish(weights))[0])


def _variances(per_event: Array, weights: Array, bounds: Array, count: float) -> Array:
    """`_variance` of each row, (M,): ``per_event`` and ``weights`` are (M, N), ``bounds`` (M,), ``count`` is Kish's of every row."""
    if count <= 1.0 + 1e-9:
        return bounds
    shares = weights / weights.sum(axis=1, keepdims=True)
    means = (shares * per_event).sum(axis=1, keepdims=True)
    spread: Array = ((shares * (per_event - means)) ** 2).sum(axis=1)
    return spread * count / (count - 1.0)


def _binary(scores: Array, threshold: float) -> Array:
    return (scores >= threshold).astype(np.float64)
