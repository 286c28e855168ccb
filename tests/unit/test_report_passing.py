"""What passes a moving cut, against an obvious twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raresearch.ensembles.evaluation import Labelled
from raresearch.ensembles.operating import fix_acceptance
from raresearch.metrics.intervals import clopper_pearson
from raresearch.report.passing import passing

GRID = np.array([0.05, 0.3, 0.5, 0.9, 1.0])
events = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from([1, 0, -1]), st.sampled_from([0.5, 1.0, 3.0])), min_size=2, max_size=40
)


def sample_of(scores, label, weight=None):
    n = len(scores)
    weight = np.ones(n) if weight is None else np.asarray(weight, dtype=float)
    return Labelled(
        np.arange(n), np.asarray(scores, dtype=float), np.asarray(label, dtype=np.int8), weight, np.zeros(n, int), {}
    )


def slow(sample, acceptance):
    """Try every score as a cut, from the highest: the first that keeps enough."""
    signal, background = (sample.weight * (sample.label == which) for which in (1, 0))
    for cut in sorted(set(sample.scores[sample.label >= 0]), reverse=True):
        kept = sample.scores >= cut
        if signal[kept].sum() >= acceptance * (1 - 1e-9) * signal.sum():
            s, b = signal[kept].sum(), background[kept].sum()
            return cut, s / signal.sum(), b / background.sum(), s / (s + b)
    raise AssertionError


@given(events)
def test_each_acceptance_is_met_by_the_highest_cut_that_keeps_enough(rows):
    scores, label, weight = zip(*rows, (5, 1, 1.0), (7, 0, 1.0), strict=True)
    sample = sample_of(scores, label, weight)
    found = passing(sample, GRID)
    for at, acceptance in enumerate(GRID):
        twin = slow(sample, acceptance)
        assert (found.threshold[at], found.acceptance[at], found.passed[at], found.precision[at]) == pytest.approx(twin)


def test_the_cut_is_that_of_a_fixed_acceptance():
    rng = np.random.default_rng(3)
    sample = sample_of(rng.normal(size=400), rng.integers(0, 2, 400), rng.uniform(0.2, 2, 400))
    found = passing(sample, np.array([0.3, 0.9]))
    assert found.threshold.tolist() == [fix_acceptance(sample, 0.3).threshold, fix_acceptance(sample, 0.9).threshold]


def test_the_interval_is_binomial_and_holds_the_fraction():
    rng = np.random.default_rng(4)
    label = np.repeat([1, 0], 200)
    found = passing(sample_of(rng.normal(size=400) + label, label), GRID)
    low, high = found.interval()
    k = found.passed * 200
    assert found.trials == 200
    assert np.allclose(low, np.minimum(clopper_pearson(k, 200)[0], found.passed))
    assert ((low <= found.passed) & (found.passed <= high)).all()
    assert high[0] > 0


def test_both_ends_of_the_interval_are_those_of_counting():
    label = np.repeat([1, 0], 200)
    found = passing(sample_of(np.random.default_rng(4).normal(size=400) + label, label), GRID[:-1])
    low, high = found.interval()
    for at, passed in enumerate(found.passed):
        ends = [float(end) for end in clopper_pearson(round(200 * passed), 200)]
        assert (low[at], high[at]) == pytest.approx(ends)
        assert low[at] < passed < high[at]
