"""Operating points fix what they say, their intervals cover it, and efficiency curves equal counting by hand."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from raresearch.ensembles.curves import efficiency_curve
from raresearch.ensembles.evaluation import Labelled
from raresearch.ensembles.operating import fix_acceptance, fix_background, kept_fractions, mask, maximise
from raresearch.errors import DataError, SpecError
from raresearch.metrics.foms import RocAuc, Significance

CLASSES = ("fog", "C30keV", "C100keV")
TOYS = 2000
ERROR = 3 * np.sqrt(0.683 * 0.317 / TOYS)


def sample(scores, label, class_number=None, weight=None, **observers):
    n = len(scores)
    return Labelled(
        np.arange(n),
        np.asarray(scores, dtype=float),
        np.asarray(label, dtype=np.int8),
        np.ones(n) if weight is None else np.asarray(weight, dtype=float),
        np.asarray(label if class_number is None else class_number),
        {name: np.asarray(v, dtype=float) for name, v in observers.items()},
    )


def toy(rng, n):
    label = np.repeat([1, 0], n)
    return sample(rng.normal(size=2 * n) + label, label)


def test_a_fixed_acceptance_of_a_class_by_name_keeps_that_share_of_it():
    scores = np.arange(20) / 20
    chosen = sample(scores, [1] * 20, class_number=[1, 2] * 10)
    point = fix_acceptance(chosen, 0.3, "C100keV", CLASSES)
    mine = scores[1::2]
    assert (mine >= point.threshold).sum() == 3
    assert point.threshold in mine
    assert point.fixed.value == pytest.approx(0.3)
    assert kept_fractions(chosen, point.threshold, CLASSES)["C100keV"].value == pytest.approx(0.3)


def test_a_fixed_background_keeps_no_more_than_the_rate():
    scores = np.arange(100) / 100
    for rate, kept in ((0.05, 5), (0.059, 5), (0.5, 50)):
        point = fix_background(sample(scores, [0] * 100), rate)
        assert (scores >= point.threshold).sum() == kept


def test_ties_are_kept_or_dropped_together():
    tied = sample([0.9, 0.5, 0.5, 0.5, 0.1] * 2, [0] * 10)
    assert fix_background(tied, 0.5).threshold == 0.9
    assert fix_background(tied, 0.8).threshold == 0.5
    assert fix_acceptance(tied, 0.3, "background").fixed.value == pytest.approx(0.8)


def test_weights_count_in_shares():
    heavy = sample([0.9, 0.8, 0.7, 0.6], [1] * 4, weight=[1, 1, 1, 7])
    assert fix_acceptance(heavy, 0.3).threshold == 0.7
    assert fix_acceptance(heavy, 0.31).threshold == 0.6


@pytest.mark.parametrize("n", [10, 200])
def test_the_interval_of_the_true_acceptance_covers_at_small_counts_too(n):
    inside = threshold_inside = 0
    truth = 1 + norm.isf(0.8)
    for number in range(TOYS):
        point = fix_acceptance(toy(np.random.default_rng([n, number]), n), 0.8)
        true = norm.sf(point.threshold - 1)
        inside += point.fixed.low <= true <= point.fixed.high
        threshold_inside += point.low <= truth <= point.high
    assert inside / TOYS == pytest.approx(0.683, abs=ERROR)
    # Order statistics come in steps: at least the level, and by up to a step's probability more.
    assert threshold_inside / TOYS >= 0.683 - ERROR


@pytest.mark.parametrize("n", [40, 400])
def test_the_interval_of_the_true_background_rate_covers_at_small_counts_too(n):
    inside = 0
    for number in range(TOYS):
        point = fix_background(toy(np.random.default_rng([n, number]), n), 0.05)
        inside += point.fixed.low <= norm.sf(point.threshold) <= point.fixed.high
    assert inside / TOYS == pytest.approx(0.683, abs=ERROR)


def test_a_rate_of_less_than_one_event_is_refused():
    with pytest.raises(DataError, match=r"less than one of 100 background events; ask for at least 0\.01"):
        fix_background(toy(np.random.default_rng(0), 100), 0.001)


def test_maximising_a_figure_gives_its_threshold_with_a_bootstrap_interval():
    chosen = toy(np.random.default_rng(0), 300)
    point = maximise(chosen, Significance(), resamples=60)
    assert point.threshold == Significance()(chosen.scores, chosen.label, chosen.weight).threshold
    assert point.low <= point.threshold <= point.high
    assert point.low < point.high
    with pytest.raises(SpecError, match="has no threshold"):
        maximise(chosen, RocAuc())


def test_an_unknown_class_names_the_nearest_and_an_empty_one_is_refused():
    chosen = toy(np.random.default_rng(0), 5)
    with pytest.raises(DataError, match="did you mean 'C100keV'"):
        fix_acceptance(chosen, 0.3, "C100kev", CLASSES)
    with pytest.raises(DataError, match="no events of positive weight"):
        mask(chosen, 7)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, "x", True])
def test_senseless_fractions_are_refused(fraction):
    with pytest.raises(SpecError):
        fix_acceptance(toy(np.random.default_rng(0), 5), fraction)


def test_nan_scores_are_refused_and_counted():
    with pytest.raises(DataError, match="1 NaN among 3"):
        fix_acceptance(sample([0.1, np.nan, 0.3], [1, 1, 1]), 0.5)


def test_an_efficiency_curve_equals_counting_with_statsmodels_intervals():
    rng = np.random.default_rng(1)
    energy, scores, label = rng.uniform(0, 30, 500), rng.random(500), (rng.random(500) < 0.6).astype(int)
    curve = efficiency_curve(sample(scores, label, energy=energy), "energy", [0, 5, 10, 20], 0.4)
    for row in curve.rows():
        mine = (label == 1) & (energy >= row["from"]) & (energy < row["to"])
        passed = int((scores[mine] >= 0.4).sum())
        assert row["value"] == pytest.approx(passed / mine.sum())
        expected = proportion_confint(passed, int(mine.sum()), alpha=1 - 0.682689492137086, method="beta")
        assert (row["low"], row["high"]) == pytest.approx(expected, rel=1e-6)
    assert curve.outside == int(((label == 1) & (energy >= 20)).sum())


def test_equally_filled_bins_hold_every_event_and_empty_bins_say_nothing():
    rng = np.random.default_rng(2)
    chosen = sample(rng.random(100), [1] * 100, radius=rng.random(100))
    equal = efficiency_curve(chosen, "radius", 4, 0.5)
    assert [e.n_effective for e in equal.estimates] == pytest.approx([25] * 4)
    assert equal.outside == 0
    empty = efficiency_curve(chosen, "radius", [0, 1, 2], 0.5)
    assert empty.estimates[1] is None
    assert empty.rows()[1]["value"] is None


def test_a_curve_over_an_unknown_column_or_senseless_bins_is_refused():
    chosen = sample([0.1, 0.9], [1, 1], radius=[0.1, 0.2])
    with pytest.raises(DataError, match="did you mean 'radius'"):
        efficiency_curve(chosen, "radus", 2, 0.5)
    for bins in (0, [1], [2, 1], [0, np.nan]):
        with pytest.raises(SpecError):
            efficiency_curve(chosen, "radius", bins, 0.5)
