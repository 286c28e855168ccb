"""Upper limits with the asymptotic distributions of the profile likelihood ratio.

Cowan, Cranmer, Gross, Vitells, Eur. Phys. J. C 71 (2011) 1554, arXiv:1007.1727: test statistic q̃_μ (Eq. 16), Asimov data set
(Sec. 3.2), bands (Eq. 89); CL_s = CL_s+b / CL_b after Read, J. Phys. G 28 (2002) 2693.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from raresearch.errors import DataError
from raresearch.metrics.intervals import check_level
from raresearch.metrics.limits.fit import Fit, fit
from raresearch.metrics.limits.model import Models, Observations, background_only, expectation
from raresearch.types import Array

COWAN = "10.1140/epjc/s10052-011-1554-0"
READ = "10.1088/0954-3899/28/10/313"
_ROUNDS = 60


@dataclass(frozen=True)
class Limits:
    """Upper limits on μ expected without signal, each (B,): ``median``, and where the data fluctuate down (``low``, limits
    get stronger) or up (``high``) by one standard deviation."""

    median: Array
    low: Array
    high: Array


def expected_limits(models: Models, level: float = 0.9) -> Limits:
    """Expected CL_s upper limits at confidence ``level`` (0.9: CL_s = 0.1), from the background-only Asimov data set.

    The N-sigma limit is where √q_μ,A = Φ⁻¹(1 - α Φ(N)) + N with α = 1 - level: CL_s = (1 - Φ(√q_A - N)) / Φ(N).

    >>> models = Models.one([1.0], [[100.0]], [0.0])  # a counting experiment, background known: about 1.645 √b
    >>> round(float(expected_limits(models).median[0]), 3)
    17.354
    """
    check_level(level)
    found = [_limit(models, float(ndtri(1.0 - (1.0 - level) * ndtr(n)) + n)) for n in (0.0, -1.0, 1.0)]
    return Limits(*found)


def median_limits(models: Models, level: float = 0.9) -> Array:
    """`expected_limits(models).median` alone: a third of the time."""
    check_level(level)
    return _limit(models, float(ndtri(1.0 - 0.5 * (1.0 - level))))


def _limit(models: Models, wanted: float) -> Array:
    """(B,) the μ at which √q_μ,A = ``wanted``, by Newton's method on √q, which is nearly a straight line in μ."""
    data = background_only(models)
    best = fit(models, data, np.zeros(models.size))
    background = data.counts
    # q_A of a background that is known is smaller than s²μ²/b; this start lies on the low side, where the slope is steepest.
    information = (models.signal**2 / np.maximum(background, models.signal + 1e-300)).sum(axis=1)
    mu: Array = wanted / np.sqrt(information)
    active, at = np.arange(models.size), best
    for _ in range(_ROUNDS):
        part, counts = models.where(active), Observations(background[active])
        at = fit(part, counts, mu[active], at)
        q = 2.0 * (at.nll - best.nll[active])
        root = np.sqrt(np.maximum(q, 0.0))
        move = (wanted - root) * np.maximum(root, 1e-9) / np.maximum(at.slope, 1e-300)
        new = np.clip(mu[active] + move, 0.25 * mu[active], 4.0 * mu[active])
        done = np.abs(new - mu[active]) < 1e-8 * mu[active]
        mu[active] = new
        active, at = active[~done], _picked(at, ~done)
        if not len(active):
            return np.asarray(mu)
    raise DataError("limits", f"no limit was found for {len(active)} of {models.size} models", "look at their templates")


def _picked(at: Fit, rows: Array) -> Fit:
    gamma = at.gamma if len(at.gamma) == 1 else at.gamma[rows]
    return Fit(at.mu[rows], at.alpha[rows], gamma, at.nll[rows], at.slope[rows])


def test_statistic(models: Models, observed: Observations, mu: Array) -> Array:
    """q̃_μ (B,) at strengths ``mu`` (B,): 2 [ln L(μ̂) - ln L(μ)] with 0 <= μ̂ <= μ, else 0 (Eq. 16)."""
    free, held = fit(models, observed), fit(models, observed, mu)
    q = 2.0 * (held.nll - free.nll)
    return np.where(free.mu >= mu, 0.0, np.maximum(q, 0.0))


def asimov(models: Models, observed: Observations) -> Observations:
    """The background-only data set at the nuisance parameters that fit ``observed`` best without signal (Sec. 3.2)."""
    at = fit(models, observed, np.zeros(models.size))
    _, backgrounds = expectation(models, at.mu, at.alpha)
    return Observations(at.gamma * backgrounds.sum(axis=1), at.alpha, at.gamma)


def cls(models: Models, observed: Observations, mu: Array) -> tuple[Array, Array]:
    """CL_s (B,) at strengths ``mu`` (B,): as observed, and its median without signal."""
    q = test_statistic(models, observed, mu)
    q_asimov = np.maximum(test_statistic(models, asimov(models, observed), mu), 1e-300)
    root = np.sqrt(q_asimov)
    # Eq. 65 and 66: below q_A the statistic is (√q)², above it is linear in μ̂.
    distance = np.where(q <= q_asimov, np.sqrt(q) - root, (q - q_asimov) / (2.0 * root))
    observed_cls = ndtr(-(distance + root)) / ndtr(-distance)
    return np.asarray(observed_cls), np.asarray(2.0 * ndtr(-root))
