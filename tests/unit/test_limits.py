"""Limits: closed forms, pyhf and its own published example, toys, and what is refused."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from raresearch.errors import DataError
from raresearch.metrics.limits import Models, Observations, background_only, cls, expected_limits, fit, toy_cls
from raresearch.metrics.limits.asymptotic import median_limits
from raresearch.metrics.limits.model import expectation

HELLO = Models.one([12.0, 11.0], [[50.0, 52.0]], [0.0], tau=[(50 / 3) ** 2, (52 / 7) ** 2])


def search_like(seed: int = 0, bins: int = 30) -> Models:
    rng = np.random.default_rng(seed)
    backgrounds = np.stack([rng.exponential(5.0, bins), rng.exponential(0.1, bins), rng.exponential(0.02, bins)])
    return Models.one(rng.exponential(0.2, bins), backgrounds, [0.1, 0.3, 0.5])


def stacked(models: list[Models]) -> Models:
    return Models(
        np.concatenate([m.signal for m in models]), np.concatenate([m.backgrounds for m in models]), models[0].relative
    )


def test_the_published_example_of_pyhf_comes_out() -> None:
    observed, median = cls(HELLO, Observations.one([51.0, 48.0]), np.array([1.0]))
    assert observed[0] == pytest.approx(0.05251497, rel=1e-3)
    assert median[0] == pytest.approx(0.06445321, rel=1e-3)


@pytest.mark.parametrize(("s", "b", "level"), [(1.0, 100.0, 0.9), (3.0, 2.5, 0.9), (0.01, 0.3, 0.95), (5.0, 1e5, 0.9)])
def test_a_counting_experiment_has_the_limit_of_its_closed_form(s: float, b: float, level: float) -> None:
    from scipy.stats import norm

    wanted = norm.ppf(1 - 0.5 * (1 - level))
    # q_A = 2 [μs - b ln(1 + μs/b)] for a known background
    closed = brentq(lambda x: math.sqrt(2 * (x - b * math.log1p(x / b))) - wanted, 1e-9, 100 * (1 + math.sqrt(b))) / s
    assert expected_limits(Models.one([s], [[b]], [0.0]), level).median[0] == pytest.approx(closed, rel=1e-6)


def test_a_large_counting_experiment_has_the_gaussian_limit_with_its_background_uncertain() -> None:
    b, relative = 1e6, 1e-4
    limit = expected_limits(Models.one([1.0], [[b]], [relative])).median[0]
    assert limit == pytest.approx(1.6449 * math.sqrt(b + (relative * b) ** 2), rel=2e-3)


def test_bands_of_a_gaussian_counting_experiment_are_those_of_cowan_et_al() -> None:
    from scipy.stats import norm

    found = expected_limits(Models.one([1.0], [[1e8]], [0.0]), 0.95)
    for limit, n in ((found.low, -1), (found.median, 0), (found.high, 1)):
        assert limit[0] / 1e4 == pytest.approx(norm.ppf(1 - 0.05 * norm.cdf(n)) + n, rel=1e-3)


@pytest.mark.parametrize("models", [search_like(), search_like(3, 12), HELLO], ids=["three", "few bins", "hello"])
def test_limits_are_those_of_pyhf(models: Models) -> None:
    pytest.importorskip("pyhf")
    from raresearch.metrics.limits.reference import pyhf_expected_limits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyhf's optimiser divides by zero on the way
        reference = pyhf_expected_limits(models)
    found = expected_limits(models)
    assert [found.median[0], found.low[0], found.high[0]] == pytest.approx(reference, rel=1e-3)


def test_many_models_at_once_are_each_alone() -> None:
    each = [search_like(seed) for seed in range(7)]
    alone = [median_limits(m)[0] for m in each]
    assert median_limits(stacked(each)) == pytest.approx(alone, rel=1e-8)


def _xlogx(n: float) -> float:
    return n * math.log(n) if n > 0 else 0.0


def _slow_nll(models: Models, observed: Observations, mu: float, theta: np.ndarray) -> float:
    """The likelihood written out, γ among the parameters, less its value where expectations equal counts."""
    p = len(models.relative)
    alpha, gamma = theta[:p], theta[p:] if models.tau is not None else np.ones(models.signal.shape[1])
    nll = 0.0
    for k in range(models.signal.shape[1]):
        background = sum(math.exp(alpha[j] * math.log1p(models.relative[j])) * models.backgrounds[0, j, k] for j in range(p))
        expected = mu * models.signal[0, k] + gamma[k] * background
        nll += expected - observed.counts[0, k] * (1 + math.log(expected)) + _xlogx(observed.counts[0, k])
        if models.tau is not None:
            nll += models.tau[k] * (gamma[k] - 1 - math.log(gamma[k]))
    return nll + 0.5 * float(alpha @ alpha)


@pytest.mark.parametrize("models", [search_like(1, 6), HELLO], ids=["three", "hello"])
@pytest.mark.parametrize("mu", [0.0, 0.7, 3.0])
def test_a_fit_with_the_strength_held_is_that_of_a_general_minimiser(models: Models, mu: float) -> None:
    counts = np.random.default_rng(5).poisson(models.backgrounds[0].sum(axis=0) + models.signal[0]).astype(float)
    observed = Observations(counts[None], np.zeros((1, len(models.relative))))
    found = fit(models, observed, np.array([mu]))
    size = len(models.relative) + (0 if models.tau is None else len(counts))
    start = np.r_[np.zeros(len(models.relative)), np.ones(size - len(models.relative))]
    bounds = [(-5, 5)] * len(models.relative) + [(1e-6, 10)] * (size - len(models.relative))
    slow = minimize(lambda t: _slow_nll(models, observed, mu, t), start, bounds=bounds, tol=1e-12)
    assert found.nll[0] == pytest.approx(slow.fun, abs=1e-6)


def test_the_slope_of_a_fit_is_its_derivative_in_the_strength() -> None:
    models, h = search_like(2), 1e-4
    data = background_only(models)
    low, mid, high = (fit(models, data, np.array([m])) for m in (1 - h, 1.0, 1 + h))
    assert mid.slope[0] == pytest.approx((high.nll[0] - low.nll[0]) / (2 * h), rel=1e-5)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_free_fit_is_never_worse_than_one_with_the_strength_held(seed: int) -> None:
    models = search_like(seed % 7, 8)
    signal, backgrounds = expectation(models, np.array([2.0]), np.zeros((1, 3)))
    counts = np.random.default_rng(seed).poisson(signal + backgrounds.sum(axis=1)).astype(float)
    observed = Observations(counts, np.random.default_rng(seed).normal(size=(1, 3)))
    free = fit(models, observed)
    assert free.mu[0] >= 0
    for mu in (0.0, 0.5, 1.0, 2.0, 5.0):
        assert free.nll[0] <= fit(models, observed, np.array([mu])).nll[0] + 1e-7


def test_asymptotic_limits_are_those_of_toys_where_counts_are_not_tiny() -> None:
    models = Models.one(np.array([2.0, 1.0, 0.5]), np.array([[4.0, 8.0, 20.0], [2.0, 1.0, 1.0]]), [0.1, 0.3])
    limit = float(expected_limits(models).median[0])
    found, error = toy_cls(models, limit, 8000, np.random.default_rng(1))
    # The median of counts moves in steps, so the toys' CLs is not asked to be 0.1 to their statistical error alone.
    assert found == pytest.approx(0.1, abs=4 * error + 0.01)
    stronger, _ = toy_cls(models, 2 * limit, 4000, np.random.default_rng(1))
    assert stronger < 0.02


@given(st.floats(0.2, 5.0), st.floats(1.0, 3.0))
@settings(max_examples=20, deadline=None)
def test_more_background_and_less_signal_make_the_limit_worse(scale: float, more: float) -> None:
    m = search_like(4, 10)
    here = median_limits(Models(m.signal, scale * m.backgrounds, m.relative))[0]
    assert median_limits(Models(m.signal, scale * more * m.backgrounds, m.relative))[0] >= here * (1 - 1e-9)
    assert median_limits(Models(m.signal / more, scale * m.backgrounds, m.relative))[0] == pytest.approx(here * more, rel=1e-6)


def test_a_bin_without_background_gives_a_finite_limit() -> None:
    found = expected_limits(Models.one([1.0, 0.0], [[0.0, 5.0]], [0.2])).median[0]
    # No event is expected: q_A = 2 μ s, so that the limit is z²/2 signal events.
    assert found == pytest.approx(1.6449**2 / 2, rel=1e-3)


def test_models_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="no signal event"):
        Models.one([0.0, 0.0], [[1.0, 1.0]], [0.1])
    with pytest.raises(DataError, match="negative, NaN"):
        Models.one([1.0, 1.0], [[1.0, -1.0]], [0.1])
    with pytest.raises(DataError, match="are needed"):
        Models.one([1.0, 1.0], [[1.0, 1.0, 1.0]], [0.1])
    with pytest.raises(DataError, match="one number a bin"):
        Models.one([1.0, 1.0], [[1.0, 1.0]], [0.1], tau=[1.0])
