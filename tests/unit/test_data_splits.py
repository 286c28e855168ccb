"""Splits and folds follow the event id."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.data.splits import Fractions, assign, assign_stratified, folds, fractions_from, stratified_thresholds, uniform
from raresearch.errors import DataError, UserError

EIGHTY = Fractions(0.8, 0.1, 0.1)


def slow_uniform(event_id: int, seed: int) -> float:
    """The twin of `uniform`: SplitMix64's mixer with Python's integers."""
    mask = (1 << 64) - 1

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    key = mix((seed * 0x9E3779B97F4A7C15) & mask)
    return (mix(mix(event_id & mask) ^ key) >> 11) / 2**53


def test_the_hash_equals_its_slow_twin():
    ids = np.array([0, 1, 2, 17_898, -1, -5, 2**62, -(2**63), 2**63 - 1])
    for seed in (0, 1, 12345, 2**40):
        np.testing.assert_array_equal(uniform(ids, seed), [slow_uniform(int(i), seed) for i in ids])


def test_the_mixer_is_splitmix64s():
    # First output of SplitMix64 started at 0, a published test value: the mixer applied to the golden increment.
    from raresearch.data.splits import _mix

    assert int(_mix(np.array([0x9E3779B97F4A7C15], dtype=np.uint64))[0]) == 0xE220A8397B1DCDAF


def test_the_hash_of_running_numbers_is_flat_and_uncorrelated_between_seeds():
    a, b = uniform(np.arange(200_000), 0), uniform(np.arange(200_000), 1)
    counts = np.histogram(a, bins=100, range=(0, 1))[0]
    chi2 = ((counts - 2000) ** 2 / 2000).sum()
    assert 50 < chi2 < 170  # 99 degrees of freedom, far beyond four sigma on both sides
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.01
    assert abs(np.corrcoef(a[1:], b[:-1])[0, 1]) < 0.01


def test_an_event_keeps_its_split_whatever_else_is_in_the_sample():
    few, many = np.arange(500), np.arange(20_000)
    np.testing.assert_array_equal(assign(few, EIGHTY, 3), assign(many, EIGHTY, 3)[:500])
    shuffled = np.random.default_rng(0).permutation(many)
    np.testing.assert_array_equal(assign(shuffled, EIGHTY, 3), assign(many, EIGHTY, 3)[shuffled])


def test_nominal_fractions_are_met_within_binomial_error():
    shares = np.bincount(assign(np.arange(100_000), EIGHTY, 0)) / 100_000
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=5 * np.sqrt(0.16 / 100_000))


def test_another_seed_is_another_split():
    assert (assign(np.arange(1000), EIGHTY, 0) != assign(np.arange(1000), EIGHTY, 1)).any()


def test_without_a_test_fraction_no_event_is_tested():
    split = assign(np.arange(300_000), Fractions(0.7, 0.3, 0.0), 0)
    assert set(split.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("train", "validation", "test"), [(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.7, 0.3, 0.0), (1 / 3, 1 / 3, 1 / 3)]
)
def test_each_class_is_split_exactly_in_proportion(train, validation, test):
    rng = np.random.default_rng(1)
    ids, fractions = rng.choice(10**9, 5000, replace=False), Fractions(train, validation, test)
    classes = rng.choice(3, 5000, p=[0.9, 0.09, 0.01])
    thresholds = stratified_thresholds(ids, classes, 3, fractions, 7)
    split = assign_stratified(ids, classes, thresholds, 7)
    for c in range(3):
        counts = np.bincount(split[classes == c], minlength=3)
        assert np.all(np.abs(counts - counts.sum() * np.array([train, validation, test])) < 1)


def test_stratified_splits_of_most_events_survive_when_events_are_added():
    ids = np.arange(10_000)
    classes = (uniform(ids, 99) < 0.1).astype(int)

    def split(n: int) -> np.ndarray:
        return assign_stratified(ids[:n], classes[:n], stratified_thresholds(ids[:n], classes[:n], 2, EIGHTY, 0), 0)

    assert (split(9000) != split(10_000)[:9000]).mean() < 0.02


def test_a_class_without_events_has_the_nominal_thresholds():
    thresholds = stratified_thresholds(np.arange(10), np.zeros(10, int), 2, EIGHTY, 0)
    np.testing.assert_allclose(thresholds[1], [0.8, 0.9])


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ((0.8, 0.1, 0.2), "fractions"),
        ((0.0, 0.5, 0.5), "fractions.train"),
        ((0.9, 0.0, 0.1), "fractions.validation"),
        ((1.2, -0.1, -0.1), "fractions.train"),
        ((float("nan"), 0.5, 0.5), "fractions.train"),
        (("0.8", 0.1, 0.1), "fractions.train"),
        ((True, 0.5, 0.5), "fractions.train"),
    ],
)
def test_fractions_that_make_no_sense_are_refused_by_name(values, place):
    with pytest.raises(UserError) as caught:
        Fractions(*values)
    assert caught.value.place == place


def test_fractions_come_from_a_list_or_a_mapping():
    assert fractions_from([0.8, 0.1, 0.1]) == fractions_from({"train": 0.8, "validation": 0.1, "test": 0.1}) == EIGHTY
    with pytest.raises(DataError):
        fractions_from([0.8, 0.2])


def test_event_ids_that_are_not_whole_numbers_are_refused():
    with pytest.raises(DataError, match="whole numbers"):
        uniform(np.array([0.5]), 0)


@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_folds_are_exactly_stratified_in_each_class_and_in_total(k):
    rng = np.random.default_rng(k)
    ids, classes = rng.choice(10**9, 1237, replace=False), rng.choice(4, 1237, p=[0.7, 0.2, 0.07, 0.03])
    fold = folds(ids, classes, k, 0)
    for part in [fold, *(fold[classes == c] for c in range(4))]:
        counts = np.bincount(part, minlength=k)
        assert counts.max() - counts.min() <= 1


def test_folds_follow_the_event_id_not_the_order():
    ids, classes = np.arange(999), np.arange(999) % 2
    order = np.random.default_rng(0).permutation(999)
    np.testing.assert_array_equal(folds(ids[order], classes[order], 5, 1), folds(ids, classes, 5, 1)[order])


def test_folds_do_not_follow_the_splits():
    ids = np.arange(10_000)
    fold, split = folds(ids, np.zeros(10_000, int), 5, 0), assign(ids, EIGHTY, 0)
    np.testing.assert_allclose(np.bincount(fold[split == 2], minlength=5) / (split == 2).sum(), 0.2, atol=0.06)


def test_more_folds_than_events_of_a_class_are_refused():
    with pytest.raises(DataError, match="3 events for 5 folds"):
        folds(np.arange(103), np.r_[np.zeros(100, int), np.ones(3, int)], 5, 0)
    with pytest.raises(DataError, match="at least 2"):
        folds(np.arange(10), np.zeros(10, int), 1, 0)
