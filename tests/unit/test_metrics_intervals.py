"""Intervals agree with statsmodels and scipy, and say what they do at zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from raresearch.errors import DataError, SpecError
from raresearch.metrics.efficiency import efficiency
from raresearch.metrics.intervals import (
    bootstrap,
    clopper_pearson,
    logit_interval,
    poisson,
    poisson_upper_limit,
    quantile_ranks,
    quantile_z,
    wilson,
)
from raresearch.metrics.sample import kish
from raresearch.types import ONE_SIGMA

COUNTS = [(k, n) for n in (1, 7, 50, 1000) for k in sorted({0, 1, n // 3, n - 1, n})]


@pytest.mark.parametrize("level", [ONE_SIGMA, 0.9, 0.99])
@pytest.mark.parametrize(("ours", "theirs"), [(clopper_pearson, "beta"), (wilson, "wilson")])
def test_binomial_intervals_equal_those_of_statsmodels(ours, theirs, level) -> None:
    for k, n in COUNTS:
        expected = proportion_confint(k, n, alpha=1 - level, method=theirs)
        assert [float(x) for x in ours(k, n, level)] == pytest.approx(list(expected), abs=1e-9), (k, n)


def test_binomial_intervals_work_on_arrays_as_on_single_counts() -> None:
    k, n = np.array([c[0] for c in COUNTS]), np.array([c[1] for c in COUNTS])
    for interval in (clopper_pearson, wilson):
        low, high = interval(k, n)
        singles = np.array([[float(x) for x in interval(a, b)] for a, b in COUNTS])
        assert np.array_equal(low, singles[:, 0])
        assert np.array_equal(high, singles[:, 1])


@pytest.mark.parametrize("interval", [clopper_pearson, wilson])
def test_no_trials_mean_that_nothing_is_known(interval) -> None:
    assert [float(x) for x in interval(0, 0)] == [0.0, 1.0]


@pytest.mark.parametrize("interval", [clopper_pearson, wilson])
@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (math.nan, 5), (1, math.nan)])
def test_impossible_counts_are_refused(interval, k, n) -> None:
    with pytest.raises(DataError, match="passed <= trials"):
        interval(k, n)


def test_clopper_pearson_covers_at_least_its_level_for_every_proportion() -> None:
    n = 20
    low, high = clopper_pearson(np.arange(n + 1), n)
    for p in np.linspace(0.001, 0.999, 333):
        inside = (low <= p) & (p <= high)
        assert stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= ONE_SIGMA - 1e-12


def test_wilson_covers_its_level_on_average_over_proportions() -> None:
    for n in (5, 20, 200):
        low, high = wilson(np.arange(n + 1), n)
        proportions = np.linspace(0.0005, 0.9995, 1000)
        coverage = [stats.binom.pmf(np.arange(n + 1), n, p)[(low <= p) & (p <= high)].sum() for p in proportions]
        assert np.mean(coverage) == pytest.approx(ONE_SIGMA, abs=0.025)


def test_garwood_gives_the_tabulated_ends_and_covers() -> None:
    # 68.27 % central intervals for 0, 1 and 10 counts (e.g. Gehrels, ApJ 303, 336, 1986, tables 1 and 2)
    assert [float(x) for x in poisson(0)] == pytest.approx([0.0, 1.841], abs=1e-3)
    assert [float(x) for x in poisson(1)] == pytest.approx([0.173, 3.300], abs=1e-3)
    assert [float(x) for x in poisson(10)] == pytest.approx([6.891, 14.267], abs=1e-3)
    k = np.arange(200)
    low, high = poisson(k)
    for mean in np.linspace(0.05, 40, 200):
        assert stats.poisson.pmf(k, mean)[(low <= mean) & (mean <= high)].sum() >= ONE_SIGMA - 1e-9


def test_the_poisson_upper_limit_leaves_the_tail_it_says() -> None:
    for k in (0, 1, 5, 40):
        assert stats.poisson.cdf(k, float(poisson_upper_limit(k, 0.9))) == pytest.approx(0.1)


@pytest.mark.parametrize("count", [-1, math.nan])
def test_negative_counts_are_refused(count) -> None:
    for function in (poisson, poisson_upper_limit):
        with pytest.raises(DataError, match="never negative"):
            function(count)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, math.nan])
def test_levels_outside_zero_to_one_are_refused(level) -> None:
    for interval in (clopper_pearson, wilson):
        with pytest.raises(SpecError, match="level"):
            interval(1, 2, level)
    for function in (poisson, poisson_upper_limit):
        with pytest.raises(SpecError, match="level"):
            function(1, level)
    with pytest.raises(SpecError, match="level"):
        quantile_z(level)


@pytest.mark.parametrize("target", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("n", [5, 40, 1000])
def test_quantile_ranks_are_those_of_the_binomial_distribution(target: float, n: int) -> None:
    tail = 0.5 - ONE_SIGMA / 2
    tight = [k for k in range(1, n + 1) if stats.binom.cdf(k - 1, n, target) <= tail]
    loose = [k for k in range(1, n + 1) if stats.binom.sf(k - 1, n, target) <= tail]
    expected = (max(tight) / n if tight else 0.0, min(loose) / n if loose else math.inf)
    assert quantile_ranks(target, n) == pytest.approx(expected)


def test_a_logit_interval_is_the_normal_one_where_the_error_is_small_and_stays_inside_otherwise() -> None:
    assert logit_interval(0.6, 1e-8, 100) == pytest.approx((0.6 - 1e-4, 0.6 + 1e-4), abs=1e-7)
    low, high = logit_interval(0.99, 0.01, 100, 0.99)
    assert 0.0 < low < 0.99 < high < 1.0


def test_the_bootstrap_of_a_mean_gives_its_standard_error_and_repeats_under_its_seed() -> None:
    x = np.random.default_rng(4).normal(size=400)
    first, second = (bootstrap(lambda e: x[e].mean(), np.zeros(400), np.random.default_rng(8), 2000) for _ in range(2))
    assert first == second
    half = (float(first.high) - float(first.low)) / 2
    assert half == pytest.approx(x.std(ddof=1) / 20, rel=0.06)


def test_the_bootstrap_keeps_the_size_of_each_class() -> None:
    labels = np.array([1, 0, 0, 1, 0])
    sizes = []
    bootstrap(lambda e: sizes.append(labels[e].sum()) or 0.0, labels, np.random.default_rng(1), 50)
    assert set(sizes) == {2}


def test_the_bootstrap_refuses_what_it_cannot_use() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(DataError, match="NaN on 10 of 10"):
        bootstrap(lambda e: math.nan, np.zeros(3), rng, 10)
    with pytest.raises(DataError, match="at least one event"):
        bootstrap(lambda e: 0.0, np.zeros(0), rng)
    with pytest.raises(SpecError, match="resamples"):
        bootstrap(lambda e: 0.0, np.zeros(3), rng, 1)


def test_effective_counts_of_equal_weights_are_counts_and_of_tiny_or_huge_weights_too() -> None:
    passed = np.array([True, True, False, True, False])
    for scale in (1.0, 0.1, 1e-250, 1e250):
        weights = np.full(5, scale)
        assert kish(weights) == pytest.approx(5)
        assert efficiency(passed, weights) == pytest.approx((0.6, 5.0, 3.0))


def test_an_efficiency_has_the_variance_of_its_weighted_fraction() -> None:
    rng = np.random.default_rng(6)
    passed, weights = rng.random(500) < 0.2, rng.exponential(size=500)
    found = efficiency(passed, weights)
    fractions = [(weights[e] @ passed[e]) / weights[e].sum() for e in (rng.integers(500, size=500) for _ in range(4000))]
    assert found.value * (1 - found.value) / found.trials == pytest.approx(np.var(fractions), rel=0.1)


def test_a_rare_region_sampled_with_small_weights_counts_its_many_events() -> None:
    # 10^4 events of weight 1 outside, 10^4 of weight 10^-4 inside: the inside is known to 1 %, not to 100 %.
    passed = np.repeat([False, True], 10_000)
    found = efficiency(passed, np.where(passed, 1e-4, 1.0))
    error = math.sqrt(found.value * (1 - found.value) / found.trials) / found.value
    assert error == pytest.approx(math.sqrt(1e-4 + 1e-4), rel=0.01)
