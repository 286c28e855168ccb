"""Rank statistics of hyperparameters, against scipy and against what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raresearch.report.axes import StudyAxis
from raresearch.report.influence import influence, share, spearman

NUMBER = StudyAxis("train.learning_rate", (0.0, 1.0), ("0", "1"), True, False)
KIND = StudyAxis("train.optimizer", ("adam", "sgd", "rmsprop"), ("adam", "sgd", "rmsprop"), False, False)


def test_the_share_is_the_kruskal_wallis_statistic_over_its_largest_value():
    rng = np.random.default_rng(0)
    values, group = rng.normal(size=60), rng.integers(0, 3, 60)
    h = stats.kruskal(*(values[group == g] for g in range(3))).statistic
    assert share(group, stats.rankdata(values)) == pytest.approx(h / 59)


def test_the_correlation_is_spearmans_and_its_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(0.5 / 2)  # of a bivariate normal with correlation 0.5
    inside = 0
    for _ in range(600):
        x = rng.normal(size=40)
        y = 0.5 * x + np.sqrt(0.75) * rng.normal(size=40)
        value, low, high = spearman(x, y)
        assert low <= value <= high
        inside += low <= truth <= high
    # 68.3 % of 600 within three binomial standard deviations
    assert abs(inside - 0.6827 * 600) < 3 * np.sqrt(600 * 0.6827 * 0.3173)
    assert spearman(x, y)[0] == pytest.approx(stats.spearmanr(x, y).statistic)


def test_an_axis_that_decides_stands_above_chance_and_one_that_does_not_seldom_does():
    rng = np.random.default_rng(2)
    x = rng.uniform(size=80)
    found = influence(NUMBER, x, (x - 0.5) ** 2 + 0.01 * rng.normal(size=80))
    assert found.share > 0.5 > found.chance  # a parabola, which a rank correlation cannot see
    assert abs(found.correlation) < 0.4
    above = sum((lambda i: i.share > i.chance)(influence(NUMBER, x, rng.normal(size=80))) for _ in range(100))
    assert above <= 14  # 5 expected; 15 or more has a chance of 1e-4


def test_an_axis_without_order_has_no_correlation():
    rng = np.random.default_rng(3)
    found = influence(KIND, rng.integers(0, 3, 30).astype(float), rng.normal(size=30))
    assert found.correlation is None
    assert found.n == 30


def test_configs_without_the_axis_are_left_out_and_too_few_say_nothing():
    x = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.nan])
    assert influence(NUMBER, x, np.arange(7.0)).n == 6
    assert influence(NUMBER, x[1:], np.arange(6.0)) is None
    assert influence(NUMBER, np.ones(10), np.arange(10.0)) is None
    assert influence(NUMBER, np.arange(10.0), np.ones(10)) is None
