"""Limits without asymptotic formulae: toy experiments. Slow, and what the formulae are checked against."""

from __future__ import annotations

import numpy as np

from raresearch.metrics.limits.asymptotic import test_statistic
from raresearch.metrics.limits.model import Models, Observations, expectation
from raresearch.types import Array


def toys(models: Models, mu: float, n: int, rng: np.random.Generator) -> Observations:
    """``n`` toy experiments of a single model at strength ``mu``: counts and both kinds of constraints are drawn."""
    many = models.repeated(n)
    signal, backgrounds = expectation(many, np.full(n, mu), np.zeros((n, len(models.relative))))
    counts = rng.poisson(signal + backgrounds.sum(axis=1)).astype(np.float64)
    alpha = rng.standard_normal((n, len(models.relative)))
    if models.tau is None:
        return Observations(counts, alpha)
    return Observations(counts, alpha, rng.poisson(np.broadcast_to(models.tau, counts.shape)) / np.maximum(models.tau, 1e-12))


def toy_cls(models: Models, mu: float, n: int, rng: np.random.Generator, quantile: float = 0.5) -> tuple[float, float]:
    """CL_s at ``mu`` for the median (or another ``quantile``) background-only experiment, from ``n`` toys of each kind, and its
    binomial standard error. At the expected limit it is 1 - level if the asymptotic formulae hold."""
    many, strengths = models.repeated(n), np.full(n, mu)
    without = test_statistic(many, toys(models, 0.0, n, rng), strengths)
    with_signal = test_statistic(many, toys(models, mu, n, rng), strengths)
    seen = float(np.quantile(without, quantile))
    both, alone = _share(with_signal >= seen), _share(without >= seen)
    error = np.hypot(_error(both, n), both / alone * _error(alone, n)) / alone
    return both / alone, float(error)


def _share(passed: Array) -> float:
    return float(np.mean(passed))


def _error(share: float, n: int) -> float:
    return float(np.sqrt(share * (1.0 - share) / n))
