"""Each fast figure of merit equals a slow, obvious twin: loops over thresholds and pairs of events, as in the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from raresearch.metrics import foms
from raresearch.metrics.areas import _influence, _ranked_weights, _variance
from raresearch.metrics.averaging import student_factor
from raresearch.metrics.sample import Sample
from raresearch.types import ONE_SIGMA

# Few different scores, so that ties are common; weight 0 too.
EVENT = st.tuples(
    st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.6, 0.9, 1.0]),
    st.sampled_from([1, 1, 0, 0, 0, -1]),
    st.sampled_from([0.0, 0.5, 1.0, 3.0]),
)


@st.composite
def samples(draw):
    events = draw(st.lists(EVENT, max_size=25))
    events += [(draw(EVENT)[0], 1, 1.0), (draw(EVENT)[0], 0, 1.0)]  # both classes are always there
    scores, labels, weights = (list(column) for column in zip(*draw(st.permutations(events)), strict=True))
    return scores, labels, weights


def kept_weights(sample, threshold):
    """Weights of signal and background at or above the threshold, as lists."""
    signal = [w for s, y, w in zip(*sample, strict=True) if y == 1 and s >= threshold]
    background = [w for s, y, w in zip(*sample, strict=True) if y == 0 and s >= threshold]
    return signal, background


def slow_efficiencies(sample, threshold):
    kept, whole = kept_weights(sample, threshold), kept_weights(sample, -math.inf)
    return sum(kept[0]) / sum(whole[0]), sum(kept[1]) / sum(whole[1])


def slow_count(weights):
    return sum(weights) ** 2 / sum(w * w for w in weights) if sum(weights) else 0.0


def thresholds(sample):
    return sorted({s for s, y, _ in zip(*sample, strict=True) if y >= 0}, reverse=True)


def slow_significance(sample, threshold, n_signal, n_background):
    eps_s, eps_b = slow_efficiencies(sample, threshold)
    total = eps_s * n_signal + eps_b * n_background
    return eps_s * n_signal / math.sqrt(total) if total else 0.0


def slow_xi(sample, threshold):
    eps_s, eps_b = slow_efficiencies(sample, threshold)
    count = slow_count(kept_weights(sample, -math.inf)[1])
    return eps_s / math.sqrt(eps_b if eps_b else min(1.0, -math.log(0.1) / count))


def pairs(sample):
    """(won, weight) of each pair of a signal and a background event."""
    events = list(zip(*sample, strict=True))
    for s, y, w in events:
        if y == 1:
            yield from (((s > t) + 0.5 * (s == t), w * v) for t, z, v in events if z == 0)


def slow_average_precision(sample):
    area, recall = 0.0, 0.0
    for t in thresholds(sample):
        signal, background = kept_weights(sample, t)
        now = slow_efficiencies(sample, t)[0]
        if now > recall:
            area += (now - recall) * sum(signal) / (sum(signal) + sum(background))
        recall = now
    return area


@given(samples())
@settings(deadline=None)
def test_significance_is_the_best_of_a_loop_over_thresholds(sample) -> None:
    totals = [sum(w) for w in kept_weights(sample, -math.inf)]
    for fom, counts in ((foms.Significance(), totals), (foms.Significance(5.0, 70.0), (5.0, 70.0))):
        found = fom(*sample)
        assert found.value == pytest.approx(max(slow_significance(sample, t, *counts) for t in thresholds(sample)))
        assert slow_significance(sample, found.threshold, *counts) == pytest.approx(found.value)


@given(samples(), st.sampled_from([0, 1, 2, 3]))
@settings(deadline=None)
def test_xi_is_the_best_of_a_loop_over_thresholds_with_enough_background(sample, least) -> None:
    if slow_count(kept_weights(sample, -math.inf)[1]) < least:
        return
    allowed = [t for t in thresholds(sample) if slow_count(kept_weights(sample, t)[1]) >= least - 1e-9]
    found = foms.Xi(min_background=least)(*sample)
    assert found.value == pytest.approx(max(slow_xi(sample, t) for t in allowed))
    assert slow_xi(sample, found.threshold) == pytest.approx(found.value)
    assert found.lower_limit == (sum(kept_weights(sample, found.threshold)[1]) == 0)


@given(samples(), st.sampled_from([0.0, 0.3, 0.5, 0.95, 1.1]))
@settings(deadline=None)
def test_a_frozen_cut_gives_the_efficiencies_of_a_loop_over_events(sample, cut) -> None:
    eps_s, eps_b = slow_efficiencies(sample, cut)
    assert foms.Recall()(*sample, threshold=cut).value == pytest.approx(eps_s)
    assert foms.Acceptance()(*sample, threshold=cut).value == pytest.approx(eps_s)
    assert foms.Rejection()(*sample, threshold=cut).value == pytest.approx(1 - eps_b)
    assert foms.Xi()(*sample, threshold=cut).value == pytest.approx(slow_xi(sample, cut))
    assert foms.Significance(9.0, 4.0)(*sample, threshold=cut).value == pytest.approx(slow_significance(sample, cut, 9.0, 4.0))


@given(samples(), st.sampled_from([0.1, 0.5, 0.9]))
@settings(deadline=None)
def test_rejection_cuts_at_the_highest_threshold_with_enough_signal(sample, acceptance) -> None:
    cut = max(t for t in thresholds(sample) if slow_efficiencies(sample, t)[0] >= acceptance - 1e-9)
    found = foms.Rejection(acceptance)(*sample)
    assert found.threshold == cut
    assert found.value == pytest.approx(1 - slow_efficiencies(sample, cut)[1])


@given(samples(), st.sampled_from([0.1, 0.5, 0.9]))
@settings(deadline=None)
def test_acceptance_cuts_at_the_lowest_threshold_with_enough_rejection(sample, rejection) -> None:
    cuts = [t for t in thresholds(sample) if slow_efficiencies(sample, t)[1] <= 1 - rejection + 1e-9]
    found = foms.Acceptance(rejection)(*sample)
    assert found.value == pytest.approx(slow_efficiencies(sample, min(cuts))[0] if cuts else 0.0)
    assert found.threshold == (min(cuts) if cuts else pytest.approx(max(thresholds(sample)), abs=1e-9))


@given(samples())
@settings(deadline=None)
def test_roc_auc_is_the_weighted_share_of_pairs_that_signal_wins(sample) -> None:
    won = list(pairs(sample))
    assert foms.RocAuc()(*sample).value == pytest.approx(sum(a * w for a, w in won) / sum(w for _, w in won))


@given(samples())
@settings(deadline=None)
def test_average_precision_is_the_sum_over_steps_of_recall(sample) -> None:
    assert foms.AveragePrecision()(*sample).value == pytest.approx(slow_average_precision(sample))
    scores, labels, weights = sample
    binary = ([float(s >= 0.5) for s in scores], labels, weights)
    assert foms.AveragePrecision(binarised=True)(*sample).value == pytest.approx(slow_average_precision(binary))


@given(samples())
@settings(deadline=None)
def test_accuracy_and_precision_are_loops_over_events(sample) -> None:
    events = [(s, y, w) for s, y, w in zip(*sample, strict=True) if y >= 0]
    right = sum(w for s, y, w in events if (s >= 0.5) == (y == 1))
    assert foms.Accuracy()(*sample).value == pytest.approx(right / sum(w for _, _, w in events))
    signal, background = kept_weights(sample, 0.5)
    kept = sum(signal) + sum(background)
    assert foms.Precision()(*sample).value == pytest.approx(sum(signal) / kept if kept else 0.0)


@given(samples())
@settings(deadline=None, max_examples=60)
def test_every_interval_is_finite_and_holds_its_value(sample) -> None:
    figures = [getattr(foms, name)() for name in foms.__all__ if name != "Xi"]
    for fom in (*figures, foms.Xi(0), foms.AveragePrecision(True)):
        found = fom(*sample)
        assert found.low <= found.value <= found.high < math.inf, fom.name
        if fom.name not in ("xi", "significance"):
            assert found.low >= 0, fom.name
            assert found.high <= 1, fom.name


def slow_delong(scores, labels):
    """DeLong's variance by its definition: sample variances of the placements of each class."""
    signal, background = scores[labels == 1], scores[labels == 0]
    wins = (signal[:, None] > background) + 0.5 * (signal[:, None] == background)
    return wins.mean(axis=1).var(ddof=1) / len(signal) + wins.mean(axis=0).var(ddof=1) / len(background)


def test_the_error_of_roc_auc_is_delongs() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([1, 0], [300, 700])
    scores = np.round(rng.normal(size=1000) + labels, 1)
    found = foms.RocAuc()(scores, labels)
    # on the logit scale the interval is symmetric, and its half-width is the error over A(1 - A)
    half = 0.5 * (math.log(found.high / (1 - found.high)) - math.log(found.low / (1 - found.low)))
    assert half * found.value * (1 - found.value) == pytest.approx(math.sqrt(slow_delong(scores, labels)), rel=1e-6)


def test_the_influence_on_average_precision_is_its_derivative_by_each_weight() -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat([1, 0], [12, 18])
    scores, weights = np.round(rng.normal(size=30) + labels, 1), rng.exponential(size=30) + 0.1
    order = np.argsort(-scores, kind="stable")
    scores, labels, weights = scores[order], labels[order], weights[order]
    fom = foms.AveragePrecision()
    step = 1e-6
    derivative = np.array(
        [
            (fom(scores, labels, weights + step * row).value - fom(scores, labels, weights - step * row).value) / (2 * step)
            for row in np.eye(30)
        ]
    )
    ranking, signal, background = _ranked_weights(Sample.of("test", scores, labels, weights))
    variance = sum(_variance(i, w, 1.0) for i, w in zip(_influence(ranking, signal), (signal, background), strict=True))
    expected = 0.0
    for label in (0, 1):
        d, w = derivative[labels == label], weights[labels == label]
        count = w.sum() ** 2 / (w @ w)
        expected += ((w * (d - (w @ d) / w.sum())) ** 2).sum() * count / (count - 1)
    assert variance == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("level", [0.05, ONE_SIGMA, 0.95, 0.9999])
def test_students_factor_in_closed_form_is_scipys(level):
    freedom = [*range(1, 40), 99, 166, 499, 1000]
    assert [student_factor(n, level) for n in freedom] == pytest.approx(special.stdtrit(freedom, 0.5 + level / 2), rel=1e-9)
