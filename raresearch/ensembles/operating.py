"""Operating points: a threshold chosen on validation, how well validation fixes it, and efficiencies at it.

Legend: N events. Kept is score >= threshold. A class is given by its number, or by ``signal`` and ``background`` (labels).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy

from raresearch.ensembles.evaluation import Labelled
from raresearch.errors import DataError, SpecError
from raresearch.metrics.base import FigureOfMerit, on
from raresearch.metrics.efficiency import Efficiency, efficiency
from raresearch.metrics.intervals import check_level, clopper_pearson, quantile_ranks, wilson
from raresearch.metrics.sample import kish
from raresearch.types import ONE_SIGMA, Array, Estimate

#: sums of weights carry rounding; 0.9 must count as 0.9
ROUNDING = 1e-9
Species = int | str


@dataclass(frozen=True)
class OperatingPoint:
    """A frozen threshold. ``low`` and ``high`` enclose the threshold that infinitely many validation events would give.

    ``fixed`` is what it fixes (a fraction kept, or a figure of merit) with the interval of its TRUE value at this
    threshold: validation chose the cut from finitely many events. ``how`` says it in words.
    """

    threshold: float
    low: float
    high: float
    fixed: Estimate
    how: str


def maximise(
    sample: Labelled, fom: FigureOfMerit, resamples: int = 200, seed: int = 0, level: float = ONE_SIGMA
) -> OperatingPoint:
    """The threshold that makes ``fom`` best. The threshold's interval is a percentile bootstrap over events.

    Raises `SpecError` for a figure of merit that cuts nowhere, `DataError` as the figure does.
    """
    from raresearch.metrics.intervals import bootstrap

    if not fom.cuts:
        raise SpecError(f"fom {fom.name}", "has no threshold", "name one that cuts: significance, xi, rejection, acceptance")
    fixed = on(fom, sample.columns)(sample.scores, sample.label, sample.weight, level=level)

    def threshold(events: Array) -> float:
        mine = on(fom, {name: column[events] for name, column in sample.columns.items()})
        return float(mine(sample.scores[events], sample.label[events], sample.weight[events]).threshold or 0.0)

    low, high = bootstrap(threshold, sample.label, np.random.default_rng(seed), resamples, level)
    at = float(fixed.threshold or 0.0)
    return OperatingPoint(at, min(float(low), at), max(float(high), at), fixed, f"best {fom.name}")


def fix_acceptance(
    sample: Labelled, fraction: float, species: Species = "signal", classes: tuple[str, ...] = (), level: float = ONE_SIGMA
) -> OperatingPoint:
    """The highest threshold that keeps at least ``fraction`` of ``species`` (by weight), such as 0.3 of class "C100keV".

    The true fraction at the threshold is Beta-distributed whatever the scores' distribution (David and Nagaraja, Order
    Statistics, 2003, Sec. 7.1): its interval and the threshold's are exact for events of equal weight, with Kish's number
    of events otherwise. Where too few events enclose the quantile, the threshold's interval is open (infinite) there.
    """
    _check_fraction(fraction)
    scores, weights = _of(sample, species, classes)
    order = np.argsort(-scores, kind="stable")
    kept = np.cumsum(weights[order])
    threshold = _quantile(scores[order], kept, fraction)
    place = int(np.count_nonzero(scores >= threshold)) - 1  # equal scores are kept together
    n = kish(weights)
    rank = min(float(kept[place] / kept[-1]) * n, n)
    fixed = _true_fraction(rank, n, float(kept[place] / kept[-1]), level, threshold)
    tight, loose = quantile_ranks(fraction, n, level)
    high = _quantile(scores[order], kept, tight) if tight > 0 else np.inf
    low = _quantile(scores[order], kept, loose) if loose <= 1 else -np.inf
    return OperatingPoint(threshold, min(low, threshold), max(high, threshold), fixed, f"{fraction:g} of {species} kept")


def fix_background(
    sample: Labelled, rate: float, species: Species = "background", classes: tuple[str, ...] = (), level: float = ONE_SIGMA
) -> OperatingPoint:
    """The lowest threshold that keeps at most ``rate`` (a fraction, by weight) of ``species``.

    The interval of the true rate is Clopper–Pearson's Beta of the events above the threshold and the next one below.
    Raises `DataError` where the sample is too small for the rate: not one event may be kept.
    """
    _check_fraction(rate)
    scores, weights = _of(sample, species, classes)
    known = np.unique(scores)
    n, total = kish(weights), float(weights.sum())
    above = total - np.r_[0.0, np.cumsum(np.bincount(np.searchsorted(known, scores), weights))][:-1]  # kept at each score
    allowed = np.flatnonzero(above <= rate * total * (1 + ROUNDING))
    if not len(allowed):
        rule = f"a rate of {rate:g} is less than one of {n:.4g} {species} events"
        raise DataError(f"{species} rate {rate:g}", rule, f"ask for at least {1 / n:.2g}, or give more {species} events")
    place = int(allowed[0])
    threshold = float(known[place])
    value = float(above[place] / total)
    fixed = _true_fraction(value * n, n, value, level, threshold)
    order = np.argsort(-scores, kind="stable")
    kept = np.cumsum(weights[order])
    tight, loose = quantile_ranks(rate, n, level)
    high = _quantile(scores[order], kept, tight) if tight > 0 else np.inf
    low = _quantile(scores[order], kept, loose) if loose <= 1 else -np.inf
    return OperatingPoint(threshold, min(low, threshold), max(high, threshold), fixed, f"{rate:g} of {species} kept at most")


def kept_fractions(
    sample: Labelled, threshold: float, classes: tuple[str, ...] = (), level: float = ONE_SIGMA
) -> Mapping[str, Estimate]:
    """Class (its name, or number) → the fraction kept at ``threshold``, with Clopper–Pearson's interval."""
    found = {}
    for number in np.unique(sample.class_number):
        mine = sample.class_number == number
        name = classes[int(number)] if int(number) < len(classes) else str(number)
        if sample.weight[mine].any():
            found[name] = as_estimate(efficiency(sample.scores[mine] >= threshold, sample.weight[mine]), level, threshold)
    return found


def as_estimate(found: Efficiency, level: float, threshold: float | None, method: str = "Clopper–Pearson") -> Estimate:
    """An efficiency with its interval."""
    low, high = found.interval(wilson if method == "Wilson" else clopper_pearson, level)
    return Estimate(found.value, low, high, found.trials, level, method, threshold=threshold)


def mask(sample: Labelled, species: Species, classes: tuple[str, ...] = ()) -> Array:
    """(N,) bool: the events of ``species``: "signal", "background", "all", a class's name or number.

    Raises `DataError` where the name is none of these, or no event of positive weight is one.
    """
    if species in ("signal", "background"):
        found = sample.label == (1 if species == "signal" else 0)
    elif species == "all":
        found = np.ones(len(sample.label), dtype=bool)
    elif isinstance(species, str):
        if species not in classes:
            from raresearch.errors import nearest

            raise DataError(
                f"class {species!r}", "there is no such class", nearest(species, [*classes, "signal", "background"])
            )
        found = sample.class_number == classes.index(species)
    else:
        found = sample.class_number == species
    if not (sample.weight * found).any():
        raise DataError(f"class {species!r}", "no events of positive weight are of this class", "name another class")
    return np.asarray(found)


def _of(sample: Labelled, species: Species, classes: tuple[str, ...]) -> tuple[Array, Array]:
    chosen = mask(sample, species, classes)
    scores, weights = sample.scores[chosen], sample.weight[chosen]
    if np.isnan(scores).any():
        rule = f"{int(np.isnan(scores).sum())} NaN among {len(scores)} scores"
        raise DataError(f"class {species!r}", rule, "drop the failed training")
    return scores, weights


def _true_fraction(rank: float, n: float, value: float, level: float, threshold: float) -> Estimate:
    """The true fraction above the ``rank``-th highest of ``n`` scores: Beta(rank, n - rank + 1)."""
    tail = 0.5 - check_level(level) / 2
    low, high = scipy.special.betaincinv(rank, n - rank + 1.0, [tail, 1.0 - tail])
    return Estimate(value, min(float(low), value), max(float(high), value), n, level, "order statistics", threshold=threshold)


def _quantile(falling: Array, kept: Array, fraction: float) -> float:
    """The score at which ``fraction`` of the weight is kept."""
    return float(falling[int(np.argmax(kept >= fraction * (1 - ROUNDING) * kept[-1]))])


def _check_fraction(fraction: float) -> None:
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise SpecError(f"fraction {fraction!r}", "must lie between 0 and 1, both excluded", "for example 0.9")
