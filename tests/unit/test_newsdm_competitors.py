"""The conventional competitors: thresholds, fractions, intervals, and features that a rotation leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raresearch.errors import DataError
from raresearch.experiments.newsdm.competitors import Sample, competitors, passing, threshold_of
from raresearch.experiments.newsdm.features import features
from raresearch.experiments.newsdm.shift import shifts
from raresearch.experiments.newsdm.simulator import simulate
from raresearch.types import ONE_SIGMA


def sample(n, seed, preset="default"):
    events = simulate({"data.preset": preset}, np.random.default_rng(seed), n)
    return Sample(events["frames"], events["class"])


@pytest.fixture(scope="module")
def rows():
    return competitors(sample(1200, 1), sample(600, 2), sample(600, 3))


def test_there_is_a_row_for_each_method_split_and_class(rows):
    keys = {(r.method, r.split, r.species) for r in rows}
    assert len(keys) == len(rows) == 2 * 2 * 3


def test_the_threshold_keeps_30_percent_of_100_kev_on_validation_and_is_carried_to_test(rows):
    for method in ("barycentre shift", "boosted trees"):
        mine = [r for r in rows if r.method == method]
        assert len({r.threshold for r in mine}) == 1
        (chosen,) = (r for r in mine if (r.split, r.species) == ("validation", "C100keV"))
        assert 0.30 <= chosen.value <= 0.30 + 2 / chosen.of


def test_fractions_are_counts_with_clopper_and_pearson_s_interval(rows):
    for row in rows:
        assert row.value == row.passed / row.of
        interval = stats.binomtest(row.passed, row.of).proportion_ci(ONE_SIGMA, method="exact")
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_trees_on_pictures_reject_more_fog_than_the_shift(rows):
    fog = {r.method: r for r in rows if (r.split, r.species) == ("validation", "fog")}
    assert fog["boosted trees"].high < fog["barycentre shift"].low


def test_the_shift_s_fractions_are_those_of_its_lengths(rows):
    validation = sample(600, 2)
    length = shifts(validation.frames, 28.0).length
    (row,) = (r for r in rows if (r.method, r.split, r.species) == ("barycentre shift", "validation", "fog"))
    assert row.passed == (length[validation.class_number == 0] >= row.threshold).sum()


def test_thresholds_keep_at_least_what_is_asked_even_with_ties():
    assert threshold_of(np.array([1.0, 1.0, 1.0, 2.0]), 0.3) == 1.0
    assert threshold_of(np.arange(100.0), 0.3) == 70.0
    assert threshold_of(np.array([5.0]), 0.3) == 5.0


def test_without_test_events_nothing_is_said_of_test():
    score, number = np.arange(6.0), np.array([0, 1, 2, 0, 1, 2])
    assert {r.split for r in passing("any", {"validation": (score, number)})} == {"validation"}


def test_a_missing_class_is_named():
    good = sample(60, 1)
    bad = Sample(good.frames[good.class_number != 1], good.class_number[good.class_number != 1])
    with pytest.raises(DataError, match="C30keV"):
        competitors(good, bad)


def test_features_are_finite_and_a_quarter_turn_leaves_them():
    frames = sample(40, 4).frames
    plain, turned = features(frames), features(np.rot90(frames, axes=(2, 3)))
    assert np.isfinite(plain).all()
    np.testing.assert_allclose(plain, turned, rtol=1e-3, atol=1e-3)


def test_features_do_not_see_the_background():
    frames = sample(40, 5).frames
    brighter = np.where(frames > 245, 255, frames.astype(int) + 10).astype(np.uint8)
    unsaturated = frames.max(axis=(1, 2, 3)) <= 245
    np.testing.assert_allclose(features(frames)[unsaturated], features(brighter)[unsaturated], rtol=1e-4, atol=1e-4)


def test_no_events_make_no_shifts():
    assert shifts(np.empty((0, 8, 40, 40), np.uint8), 28.0).length.shape == (0,)
