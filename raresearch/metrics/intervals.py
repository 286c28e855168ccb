"""Intervals for proportions, counts and areas, each with its source and its policy at zero.

All are pure; counts may be arrays and need not be whole numbers (weighted samples bring effective counts).
``level`` is the central coverage, one sigma by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy  # `scipy.special` loads when it is used: a quarter of a second that `watch` and `status` need not pay

from raresearch.errors import DataError, SpecError
from raresearch.types import ONE_SIGMA, Array

CLOPPER_PEARSON = "10.1093/biomet/26.4.404"
WILSON = "10.1080/01621459.1927.10502953"


class Interval(NamedTuple):
    """Two ends of the same shape as the counts given (0-d for single numbers)."""

    low: Array
    high: Array


def check_level(level: float) -> float:
    """The level itself; SpecError outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise SpecError(f"level {level!r}", "an interval's coverage lies between 0 and 1", "one sigma is 0.6827")
    return float(level)


def quantile_z(level: float) -> float:
    """Half-width of the central interval of a standard normal: 1 for one sigma.

    >>> round(quantile_z(0.95), 3)
    1.96
    """
    return float(scipy.special.ndtri(0.5 + check_level(level) / 2))


def clopper_pearson(passed: npt.ArrayLike, trials: npt.ArrayLike, level: float = ONE_SIGMA) -> Interval:
    """Exact binomial interval: covers at least ``level`` for every true proportion (Biometrika 26, 404, 1934).

    ``passed`` of ``trials`` events, any broadcastable shapes. Zero passed: the lower end is 0 and the upper end
    1 - (alpha/2)^(1/n); all passed: mirrored; no trials: (0, 1), nothing is known. DataError for impossible counts.

    >>> low, high = clopper_pearson(0, 100, 0.95)
    >>> float(low), round(float(high), 5)
    (0.0, 0.03622)
    >>> [round(float(x), 4) for x in clopper_pearson(7, 10)]
    [0.4917, 0.8583]
    """
    k, n = _counts(passed, trials)
    alpha = 1.0 - check_level(level)
    # A zero shape parameter is outside the beta distribution; those ends are set by the policy, whatever is put here.
    low = scipy.special.betaincinv(np.where(k > 0, k, 1.0), n - k + 1.0, alpha / 2)
    high = scipy.special.betaincinv(k + 1.0, np.where(n > k, n - k, 1.0), 1.0 - alpha / 2)
    return Interval(np.where(k > 0, low, 0.0), np.where(n > k, high, 1.0))


def wilson(passed: npt.ArrayLike, trials: npt.ArrayLike, level: float = ONE_SIGMA) -> Interval:
    """Score interval (JASA 22, 209, 1927): coverage scatters around ``level``, its average over proportions is close to it.

    Zero passed: (0, z²/(n + z²)); all passed: mirrored; no trials: (0, 1). DataError for impossible counts.

    >>> [round(float(x), 4) for x in wilson(7, 10)]
    [0.5425, 0.8212]
    >>> [round(float(x), 5) for x in wilson(0, 99)]
    [0.0, 0.01]
    """
    k, n = _counts(passed, trials)
    z2 = quantile_z(level) ** 2
    safe = np.where(n > 0, n, 1.0)
    centre = (k + z2 / 2) / (safe + z2)
    half = np.sqrt(z2 * (k * (safe - k) / safe + z2 / 4)) / (safe + z2)
    empty = n == 0
    low = np.where(empty | (k == 0), 0.0, np.maximum(centre - half, 0.0))
    high = np.where(empty | (k == n), 1.0, np.minimum(centre + half, 1.0))
    return Interval(low, high)


def poisson(count: npt.ArrayLike, level: float = ONE_SIGMA) -> Interval:
    """Garwood's exact interval for the mean of a Poisson count (Biometrika 28, 437, 1936).

    Zero observed: the lower end is 0 and the upper end -ln(alpha/2). DataError for negative counts.

    >>> [round(float(x), 3) for x in poisson(0)]
    [0.0, 1.841]
    >>> [round(float(x), 3) for x in poisson(4)]
    [2.086, 7.163]
    """
    k = np.asarray(count, dtype=np.float64)
    if not np.all(k >= 0):
        raise DataError("poisson interval", "a count is never negative or NaN")
    alpha = 1.0 - check_level(level)
    low = scipy.special.gammaincinv(np.where(k > 0, k, 1.0), alpha / 2)
    return Interval(np.where(k > 0, low, 0.0), np.asarray(scipy.special.gammaincinv(k + 1.0, 1.0 - alpha / 2)))


def poisson_upper_limit(count: npt.ArrayLike, level: float = 0.9) -> Array:
    """One-sided upper limit on the mean of a Poisson count: 2.3 events where none was seen, at 90 %.

    >>> round(float(poisson_upper_limit(0)), 4)
    2.3026
    """
    k = np.asarray(count, dtype=np.float64)
    if not np.all(k >= 0):
        raise DataError("poisson limit", "a count is never negative or NaN")
    return np.asarray(scipy.special.gammaincinv(k + 1.0, check_level(level)))


def quantile_ranks(target: float, trials: float, level: float = ONE_SIGMA) -> tuple[float, float]:
    """Order statistics that enclose the cut of efficiency ``target``, as fractions k/n of the events kept.

    A cut at the k-th highest of n scores has a true efficiency that is distributed as Beta(k, n - k + 1), whatever the
    scores' distribution (David and Nagaraja, Order Statistics, 2003, section 7.1). The first fraction belongs to the
    largest k whose efficiency is below ``target`` with probability of at least (1 + level)/2, the second to the smallest k
    whose efficiency is above it. Policy where too few events decide: 0 and infinity, that side has no end.

    >>> quantile_ranks(0.9, 100), quantile_ranks(0.9, 10)
    ((0.87, 0.94), (0.8, inf))
    """
    tail = 0.5 - check_level(level) / 2
    reach = 20.0 + 10.0 * math.sqrt(trials * target * (1.0 - target))
    k = np.arange(max(1.0, math.floor(trials * target - reach)), min(trials, trials * target + reach) + 1e-9)
    below = scipy.special.betainc(k, trials - k + 1.0, target)  # falls with k
    tight, loose = k[1.0 - below <= tail], k[below <= tail]
    return float(tight[-1]) / trials if len(tight) else 0.0, float(loose[0]) / trials if len(loose) else math.inf


def logit_interval(value: float, variance: float, trials: float, level: float = ONE_SIGMA) -> tuple[float, float]:
    """Normal interval on the logit scale for an area in [0, 1] with a known variance; it cannot leave [0, 1].

    Policy at the borders, where the variance vanishes: at 1 (or 0) it is the Clopper–Pearson interval of ``trials`` out of
    ``trials`` (or none), with ``trials`` the effective size of the smaller class, so a perfect score from few events is
    still uncertain.

    >>> [round(x, 4) for x in logit_interval(0.9, 0.0009, 100)]
    [0.8657, 0.9263]
    >>> [round(x, 4) for x in logit_interval(1.0, 0.0, 10)]
    [0.8319, 1.0]
    """
    inside = value * (1.0 - value)
    if inside <= 1e-12 or variance <= 0.0:
        low, high = clopper_pearson(min(max(value, 0.0), 1.0) * trials, trials, level)
        return float(low), float(high)
    shift = quantile_z(level) * math.sqrt(variance) / inside
    centre = float(scipy.special.logit(value))
    return float(scipy.special.expit(centre - shift)), float(scipy.special.expit(centre + shift))


def bootstrap(
    statistic: Callable[[Array], float],
    strata: npt.ArrayLike,
    rng: np.random.Generator,
    resamples: int = 1000,
    level: float = ONE_SIGMA,
) -> Interval:
    """Percentile bootstrap over events (Efron 1979, doi 10.1214/aos/1176344552).

    ``statistic`` receives event numbers (N,) drawn with replacement; ``strata`` (N,) holds labels: events are drawn within
    equal labels, so that no resample loses a class. All randomness is ``rng``'s. DataError where there are no events or
    where the statistic is not a number on some resample: such resamples are never dropped silently.

    >>> x = np.arange(100.0)
    >>> low, high = bootstrap(lambda events: x[events].mean(), np.zeros(100), np.random.default_rng(1), 400)
    >>> bool(46 < low < 48 and 51 < high < 53)
    True
    """
    labels = np.asarray(strata)
    if labels.ndim != 1 or not len(labels):
        raise DataError("bootstrap", f"needs one label for each of at least one event, not shape {labels.shape}")
    if resamples < 2:
        raise SpecError(f"resamples {resamples!r}", "at least 2 are needed", "1000 is usual")
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    draws = np.empty(resamples)
    for r in range(resamples):
        draws[r] = statistic(np.concatenate([g[rng.integers(len(g), size=len(g))] for g in groups]))
    if np.isnan(draws).any():
        raise DataError("bootstrap", f"the statistic is NaN on {int(np.isnan(draws).sum())} of {resamples} resamples")
    tail = 0.5 - check_level(level) / 2
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(np.asarray(low), np.asarray(high))


def _counts(passed: npt.ArrayLike, trials: npt.ArrayLike) -> tuple[Array, Array]:
    k, n = np.broadcast_arrays(np.asarray(passed, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    # Effective counts carry rounding; anything beyond it is a mistake of the caller.
    if not np.all((k >= 0) & (k <= n * (1 + 1e-9))):
        raise DataError("binomial interval", "needs 0 <= passed <= trials, without NaN")
    return np.minimum(k, n), n
