"""Comparisons on toys with known truth, plans that hold what they promise, corrections against statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from raresearch.errors import DataError, SpecError
from raresearch.metrics.foms import Rejection, RocAuc
from raresearch.statistics.bootstrap import event_draws
from raresearch.statistics.comparison import compare, corrected, decide, shared_variance
from raresearch.statistics.multiple import adjust, benjamini_hochberg, holm
from raresearch.statistics.panel import Block, Panel, paired
from raresearch.statistics.planning import THREE_SIGMA, events_to_decide, power, repeats_to_decide

TOYS = 200


def toy_panel(rng, label, truth, repeats, quality=1.0, spread=0.1, ids=None):
    """Repeats whose quality scatters with ``spread`` and that see the same events through noise of their own."""
    each = quality + spread * rng.normal(size=(repeats, 1))
    scores = each * truth + 0.7 * rng.normal(size=(repeats, len(label)))
    ids = np.arange(len(label)) if ids is None else ids
    return Panel((Block("toy", 1 / (1 + np.exp(-scores)), label, np.ones(len(label)), ids),))


def toy_events(rng, n=300):
    label = np.repeat(np.array([1, 0], dtype=np.int8), [n // 2, n - n // 2])
    return label, np.where(label == 1, 1.0, -1.0) + rng.normal(size=n)


def test_truly_equal_configs_are_not_decided_in_95_percent_of_toys():
    undecided = 0
    for toy in range(TOYS):
        rng = np.random.default_rng([1, toy])
        label, truth = toy_events(rng)
        a, b = toy_panel(rng, label, truth, 4), toy_panel(rng, label, truth, 4)
        undecided += compare(a, b, RocAuc(), resamples=40, seed=toy).verdict == "not decided"
    assert undecided >= 0.95 * TOYS


def test_equal_values_are_decided_as_often_as_three_sigma_says():
    rng = np.random.default_rng(5)
    decided = sum(decide(rng.normal(size=5), rng.normal(size=5), 0.0).verdict != "not decided" for _ in range(4000))
    # 0.27 % expected, 10.8 ± 3.3; Welch's approximation errs to the safe side for five repeats of each.
    assert decided <= 21


@pytest.mark.parametrize("events", [0.0, 0.02])
def test_a_difference_of_one_sigma_of_seeds_is_found_with_the_stated_number_of_repeats(events):
    needed = repeats_to_decide(1.0, 1.0, 1.0, events)
    found = 0
    for toy in range(TOYS):
        rng = np.random.default_rng([2, toy])
        luck = np.sqrt(events) * rng.normal()
        a, b = 1.0 + luck + rng.normal(size=needed), rng.normal(size=needed)
        found += decide(a, b, events).verdict == "A better"
    # Stated: 9 times in 10; three binomial errors of 200 toys are 0.064.
    assert found / TOYS == pytest.approx(0.9, abs=0.064)


def test_one_repeat_fewer_than_stated_would_not_do():
    needed = repeats_to_decide(1.0, 1.0, 1.0)
    assert power(1.0, 1.0, 1.0, needed) >= 0.9 > power(1.0, 1.0, 1.0, needed - 1)
    assert power(0.0, 1.0, 1.0, 10) == pytest.approx(THREE_SIGMA / 2, rel=1e-6)  # for A, as often for B


@pytest.mark.parametrize("repeats", [4, 20])
def test_the_probability_and_the_interval_of_a_difference_hold_what_they_say(repeats):
    inside = right = 0
    for toy in range(2000):
        rng = np.random.default_rng([3, toy])
        truth = rng.normal() * 3  # a flat prior for the probability's sake
        found = decide(truth + rng.normal(size=repeats), 2 * rng.normal(size=repeats), 0.1)
        luck = np.sqrt(0.1) * rng.normal()
        inside += found.low + luck <= truth <= found.high + luck
        right += found.probability - (truth + luck > 0)
    # Welch's approximation errs to the safe side for few repeats: 0.70 to 0.72 at four of each.
    assert 0.683 - 3 * 0.0104 <= inside / 2000 <= 0.683 + 3 * 0.0104 + (0.02 if repeats == 4 else 0)
    assert abs(right) / 2000 < 0.02


def test_shared_events_cancel_in_the_difference():
    rng = np.random.default_rng(6)
    label, truth = toy_events(rng, 200)
    a, b = toy_panel(rng, label, truth, 6), toy_panel(rng, label, truth, 6)
    draws = event_draws([a, b], RocAuc(), 200, rng)
    alone = draws[0].mean(axis=1).var() + draws[1].mean(axis=1).var()
    assert shared_variance(*draws) < 0.3 * alone


def test_the_events_variance_leaves_out_what_each_repeat_makes_of_them():
    # A's draws are e_b + i_br with variances 1 and 4, B's have no common part: 1 is left of the difference's.
    found = []
    for toy in range(40):
        rng = np.random.default_rng([7, toy])
        a = rng.normal(size=(2000, 1)) + 2 * rng.normal(size=(2000, 5))
        found.append(shared_variance(a, 2 * rng.normal(size=(2000, 3))))
    assert np.mean(found) == pytest.approx(1.0, abs=3.5 * np.std(found) / np.sqrt(40))


def test_a_figure_to_be_small_turns_the_difference_around():
    class Loss(RocAuc):
        goal = "min"

    rng = np.random.default_rng(8)
    label, truth = toy_events(rng)
    good, bad = toy_panel(rng, label, truth, 10, 2.0), toy_panel(rng, label, truth, 10, 0.2)
    assert compare(good, bad, RocAuc(), resamples=40).verdict == "A better"
    found = compare(good, bad, Loss(), resamples=40)
    assert found.verdict == "B better"
    assert found.value_a > found.value_b


def test_fixed_ensembles_are_compared_by_events_alone_and_say_so():
    rng = np.random.default_rng(9)
    label, truth = toy_events(rng, 600)
    a, b = toy_panel(rng, label, truth, 1, 1.5), toy_panel(rng, label, truth, 1, 0.3)
    found = compare(a, b, RocAuc(), names=("deep", "flat"), resamples=100)
    assert found.verdict == "A better"
    assert found.spread_a == 0
    assert "deep is one fixed ensemble" in found.notes[0]
    assert found.repeats_needed is None


def test_too_few_events_are_told_from_too_few_repeats():
    few_events = decide(np.array([1.0, 1.01, 0.99]), np.array([0.0, 0.01, -0.01]), events=1.0)
    assert few_events.verdict == "not decided"
    assert few_events.more_repeats is None
    assert few_events.events_needed == pytest.approx(events_to_decide(1.0, 1.0))
    assert "times as many validation events" in str(few_events)
    few_repeats = decide(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0]), events=0.0)
    assert few_repeats.more_repeats == repeats_to_decide(1.0, 1.0, 1.0) - 3
    assert f"{few_repeats.more_repeats} more repeats" in str(few_repeats)
    assert "nothing to decide" in str(decide(np.array([1.0, 2.0]), np.array([1.0, 2.0]), 0.0))


def test_more_events_as_stated_make_the_plan_possible():
    factor = events_to_decide(1.0, 1.0)
    assert repeats_to_decide(1.0, 1.0, 1.0, 1.0 / factor * 1.01) is None
    assert repeats_to_decide(1.0, 1.0, 1.0, 1.0 / factor * 0.99) is not None


def test_events_in_another_order_are_matched_by_their_ids():
    rng = np.random.default_rng(10)
    label, truth = toy_events(rng, 100)
    a, b = toy_panel(rng, label, truth, 3), toy_panel(rng, label, truth, 3)
    order = rng.permutation(100)
    block = b.blocks[0]
    shuffled = Panel((Block("toy", block.scores[:, order], label[order], block.weight, block.event_id[order]),))
    assert np.array_equal(paired(a, shuffled)[1].blocks[0].scores, block.scores)
    assert compare(a, shuffled, Rejection(), resamples=20) == compare(a, b, Rejection(), resamples=20)


def test_different_events_are_refused_with_their_numbers():
    rng = np.random.default_rng(11)
    label, truth = toy_events(rng, 100)
    a = toy_panel(rng, label, truth, 3)
    b = toy_panel(rng, label, truth, 3, ids=np.arange(100) + 40)
    with pytest.raises(DataError, match="60 shared of 100 and 100") as error:
        compare(a, b, RocAuc())
    assert "\n" not in str(error.value)


def test_nan_scores_are_refused():
    scores = np.full((2, 4), np.nan)
    with pytest.raises(DataError, match="8 of 8 scores are NaN"):
        Panel((Block("toy", scores, np.array([1, 1, 0, 0]), np.ones(4), np.arange(4)),))


def test_corrections_equal_statsmodels():
    rng = np.random.default_rng(12)
    for n in (1, 2, 7, 300):  # few calls: each of statsmodels' collects garbage, half a second in a large process
        p = np.round(rng.random(n) ** 3, 3)  # with ties and zeros
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
        assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_corrected_verdicts_go_by_corrected_p():
    rng = np.random.default_rng(13)
    one = decide(np.array([1.0, 1.1, 0.9, 1.05]), np.array([0.0, 0.1, -0.1, 0.0]), 0.1)
    assert one.verdict == "A better"
    others = [decide(rng.normal(size=4), rng.normal(size=4), 1.0) for _ in range(60)]
    found = corrected([one, *others])
    assert found[0].p == pytest.approx(min(1, 61 * one.p))
    assert found[0].verdict == "not decided"
    assert "61 comparisons (holm)" in found[0].notes[-1]


def test_unknown_corrections_and_impossible_p_are_refused():
    with pytest.raises(SpecError, match="'holm'"):
        adjust([0.1], "hulm")
    with pytest.raises(SpecError, match="between 0 and 1"):
        holm([1.2])
