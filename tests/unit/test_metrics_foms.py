"""Figures of merit on samples whose answers are known, at their edges, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from raresearch.errors import DataError, SpecError, UserError
from raresearch.metrics import base, foms
from raresearch.metrics.intervals import wilson
from raresearch.testing.fom_contract import contract_sample

SEPARATED = (np.array([0.9, 0.8, 0.8, 0.7] * 5 + [0.4, 0.3, 0.2, 0.1] * 10), np.repeat([1, 0], [20, 40]))


def counted(kept_signal: int, signal: int, kept_background: int, background: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores 0.9 (kept) and 0.1, labels: a sample with given efficiencies at one cut."""
    parts = [np.repeat([0.9, 0.1], [k, n - k]) for k, n in ((kept_signal, signal), (kept_background, background))]
    return np.concatenate(parts), np.repeat([1, 0], [signal, background])


@pytest.fixture
def used() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, labels, weights = contract_sample()
    kept = labels >= 0
    return scores[kept], labels[kept], weights[kept]


def test_significance_is_root_n_when_perfect_and_root_half_n_without_a_cut() -> None:
    perfect = foms.Significance(n_signal=976, n_background=976)(*SEPARATED)
    assert perfect.value == pytest.approx(math.sqrt(976))
    assert perfect.threshold == 0.7
    assert perfect.low < perfect.value == perfect.high
    useless = foms.Significance(n_signal=976, n_background=976)([0.3, 0.3], [1, 0])
    assert useless.value == pytest.approx(math.sqrt(976 / 2))


def test_significance_follows_equation_4_1_with_the_numbers_of_the_boosted_trees() -> None:
    # PandaX-II: eps_s 0.907 and n = 976 give S 26.2 where eps_b is 0.263 (0.77 of 2.93 events)
    scores, labels = counted(907, 1000, 263, 1000)
    found = foms.Significance(n_signal=976, n_background=976)(scores, labels, threshold=0.5)
    assert found.value == pytest.approx(0.907 * 976 / math.sqrt((0.907 + 0.263) * 976))
    assert found.value == pytest.approx(26.2, abs=0.05)


@pytest.mark.parametrize("kept_background", [0, 4, 30])
def test_the_ends_of_significance_are_wilsons_shifts_in_quadrature(kept_background: int) -> None:
    found = foms.Significance(100, 100)(*counted(45, 50, kept_background, 60), threshold=0.5)
    eps_s, eps_b = 0.9, kept_background / 60
    (s_low, s_high), (b_low, b_high) = wilson(45, 50), wilson(kept_background, 60)

    def s(signal: float, background: float) -> float:
        return float(10 * signal / math.sqrt(signal + background))

    value = s(eps_s, eps_b)
    assert found.low == pytest.approx(value - math.hypot(value - s(s_low, eps_b), value - s(eps_s, b_high)))
    assert found.high == pytest.approx(value + math.hypot(value - s(s_high, eps_b), value - s(eps_s, b_low)))


def test_significance_is_zero_where_a_frozen_cut_keeps_nothing() -> None:
    found = foms.Significance()(*SEPARATED, threshold=0.99)
    assert (found.value, found.low, found.n_effective) == (0.0, 0.0, 0.0)
    assert found.high > 0


def test_xi_is_the_ratio_of_efficiencies_at_the_cut() -> None:
    found = foms.Xi()(*counted(90, 100, 70, 100), threshold=0.5)
    assert found.value == pytest.approx(1.0757, abs=5e-5)
    assert found.n_effective == pytest.approx(70)
    assert not found.lower_limit


def test_xi_with_few_background_events_left_is_one_of_eight_per_cent() -> None:
    # 37 of 32 000 background events kept: sqrt is known to half of 1/sqrt(37)
    found = foms.Xi()(*counted(3500, 10_000, 37, 32_000), threshold=0.5)
    assert (found.high - found.low) / 2 / found.value == pytest.approx(0.5 / math.sqrt(37), rel=0.05)


def test_xi_ignores_cuts_that_keep_fewer_background_events_than_asked() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [500, 500])
    scores = rng.normal(size=1000) + 3 * labels
    thresholds = [foms.Xi(min_background=k)(scores, labels).threshold for k in (1, 10, 100)]
    kept = [int((scores[labels == 0] >= t).sum()) for t in thresholds]
    assert all(n >= k for n, k in zip(kept, (1, 10, 100), strict=True))
    assert thresholds[0] > thresholds[1] > thresholds[2]


def test_xi_counts_weighted_background_by_its_effective_number() -> None:
    # The background above 0.8 is twelve events, one of which outweighs the others: not ten effective ones.
    scores = np.r_[np.full(50, 0.9), np.full(12, 0.85), np.full(88, 0.1)]
    labels = np.repeat([1, 0], [50, 100])
    weights = np.ones(150)
    assert foms.Xi(10)(scores, labels, weights).threshold == 0.85
    weights[50] = 8.0
    assert foms.Xi(10)(scores, labels, weights).threshold == 0.1


@pytest.mark.parametrize("fom", [foms.Xi(0), foms.Xi(1), foms.Xi(10)])
def test_xi_without_background_left_is_a_lower_limit_and_never_infinite(fom) -> None:
    found = fom(*SEPARATED, threshold=0.7)
    assert found.lower_limit
    assert found.value == found.high == pytest.approx(1.0 * math.sqrt(40 / 2.302585), rel=1e-6)
    assert 0 < found.low < found.value
    assert found.n_effective == 0
    assert str(found).startswith("≥ ")


def test_xi_with_no_minimum_finds_the_lower_limit_by_itself_and_with_one_does_not() -> None:
    assert foms.Xi(0)(*SEPARATED).lower_limit
    one = foms.Xi(1)(scores := np.linspace(1, 0, 60), SEPARATED[1])
    assert not one.lower_limit
    assert one.value == pytest.approx(math.sqrt(40))
    assert one.n_effective == 1
    assert foms.Xi(0).values(scores[None], SEPARATED[1]) == pytest.approx([math.sqrt(40)])


def test_xi_takes_an_upper_limit_of_at_most_one_from_two_background_events() -> None:
    found = foms.Xi(0)([0.9, 0.9, 0.1, 0.1], [1, 1, 0, 0], threshold=0.5)
    assert (found.value, found.lower_limit) == (1.0, True)


def test_xi_refuses_a_sample_with_less_background_than_its_minimum() -> None:
    with pytest.raises(DataError, match="3 background events, but min_background is 10"):
        foms.Xi()([0.1, 0.2, 0.3, 0.9], [0, 0, 0, 1])


def test_rejection_is_the_background_below_the_tenth_percentile_of_the_signal() -> None:
    rng = np.random.default_rng(1)
    signal, background = rng.normal(1, 1, 4001), rng.normal(-1, 1, 3000)  # 4001: the percentile is an event's score
    found = foms.Rejection(0.9)(np.r_[signal, background], np.repeat([1, 0], [4001, 3000]))
    cut = np.quantile(signal, 0.1)
    assert found.threshold == cut
    assert found.value == pytest.approx(np.mean(background < cut))


def test_rejection_of_all_background_is_one_with_the_lower_end_of_zero_counts() -> None:
    found = foms.Rejection()(*SEPARATED, threshold=0.7)
    assert (found.value, found.high, found.n_effective) == (1.0, 1.0, 0.0)
    assert found.low == pytest.approx(0.15866 ** (1 / 40), abs=1e-4)


def test_acceptance_keeps_as_much_signal_as_the_rejection_allows() -> None:
    scores, labels = np.linspace(1, 0, 200), np.tile([1, 0], 100)
    found = foms.Acceptance(0.9)(scores, labels)
    background = scores[labels == 0]
    assert np.mean(background >= found.threshold) <= 0.1
    lower = scores[scores < found.threshold][0]
    assert found.value == pytest.approx(0.11)  # ten background events and the signal event just above the eleventh
    assert np.mean(background >= lower) > 0.1


def test_acceptance_is_zero_above_all_scores_where_ties_at_the_top_hold_too_much_background() -> None:
    scores, labels = counted(50, 100, 50, 100)
    found = foms.Acceptance(0.9)(scores, labels)
    assert found.value == 0.0
    assert found.threshold == np.nextafter(0.9, 1)
    assert foms.Acceptance(0.9).values(scores[None], labels) == [0.0]


def test_acceptance_has_no_lower_end_where_the_background_ran_out() -> None:
    found = foms.Acceptance(0.999)(*SEPARATED)
    assert (found.value, found.low) == (1.0, 0.0)


def test_roc_auc_equals_scikit_learn_with_ties_and_weights(used) -> None:
    scores, labels, weights = used
    assert foms.RocAuc()(scores, labels).value == pytest.approx(sk.roc_auc_score(labels, scores), rel=1e-12)
    weighted = sk.roc_auc_score(labels, scores, sample_weight=weights)
    assert foms.RocAuc()(scores, labels, weights).value == pytest.approx(weighted, rel=1e-12)


def test_a_perfect_roc_auc_from_few_events_is_still_uncertain() -> None:
    found = foms.RocAuc()(*SEPARATED)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.15866 ** (1 / 20), abs=1e-4)
    inverted = foms.RocAuc()(-SEPARATED[0], SEPARATED[1])
    assert (inverted.value, inverted.low) == (0.0, 0.0)
    assert inverted.high == pytest.approx(1 - found.low)


def test_a_single_signal_event_gives_a_wide_roc_auc() -> None:
    found = foms.RocAuc()([0.6, 0.1, 0.2, 0.8, 0.3], [1, 0, 0, 0, 0])
    assert found.value == 0.75
    assert found.high - found.low > 0.5


def test_average_precision_equals_scikit_learn_ranked_and_binarised(used) -> None:
    scores, labels, weights = used
    for given in (None, weights):
        ranked = sk.average_precision_score(labels, scores, sample_weight=given)
        assert foms.AveragePrecision()(scores, labels, given).value == pytest.approx(ranked, rel=1e-12)
        binary = sk.average_precision_score(labels, scores >= 0.5, sample_weight=given)
        assert foms.AveragePrecision(True)(scores, labels, given).value == pytest.approx(binary, rel=1e-12)


def test_binarised_average_precision_is_the_papers_formula(used) -> None:
    scores, labels, _ = used
    precision, recall = foms.Precision()(scores, labels).value, foms.Recall()(scores, labels).value
    expected = precision * recall + (1 - recall) * labels.mean()
    assert foms.AveragePrecision(binarised=True)(scores, labels).value == pytest.approx(expected)


def test_binarised_average_precision_is_cut_where_it_is_told(used) -> None:
    scores, labels, _ = used
    expected = sk.average_precision_score(labels, scores >= 0.7)
    found = foms.AveragePrecision(binarised=True)(scores, labels, threshold=0.7)
    assert (found.value, found.threshold) == (pytest.approx(expected), 0.7)


def test_average_precision_of_a_net_that_says_nothing_is_the_prevalence() -> None:
    for binarised in (False, True):
        assert foms.AveragePrecision(binarised)([0.2] * 10, [1] * 3 + [0] * 7).value == pytest.approx(0.3)


def test_accuracy_recall_and_precision_equal_scikit_learn(used) -> None:
    scores, labels, weights = used
    pairs = ((foms.Accuracy, sk.accuracy_score), (foms.Recall, sk.recall_score), (foms.Precision, sk.precision_score))
    for ours, theirs in pairs:
        for given in (None, weights):
            for cut in (0.3, 0.5):
                expected = theirs(labels, scores >= cut, sample_weight=given)
                assert ours(threshold=cut)(scores, labels, given).value == pytest.approx(expected, rel=1e-12)
                assert ours()(scores, labels, given, threshold=cut).value == pytest.approx(expected, rel=1e-12)


def test_precision_of_nothing_kept_is_zero_with_everything_possible() -> None:
    found = foms.Precision()([0.1, 0.2], [1, 0])
    assert (found.value, found.low, found.high, found.n_effective) == (0.0, 0.0, 1.0, 0.0)
    assert foms.Precision().values([[0.1, 0.2]], [1, 0]) == [0.0]


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda: foms.Rejection(acceptance=1.0), "rejection: acceptance"),
        (lambda: foms.Rejection(acceptance="0.9"), "rejection: acceptance"),
        (lambda: foms.Acceptance(rejection=0.0), "acceptance: rejection"),
        (lambda: foms.Xi(min_background=-1), "xi: min_background"),
        (lambda: foms.Xi(min_background=2.5), "xi: min_background"),
        (lambda: foms.Accuracy(threshold=1.5), "accuracy: threshold"),
        (lambda: foms.Recall(threshold=math.nan), "recall: threshold"),
        (lambda: foms.Precision(threshold=-0.1), "precision: threshold"),
        (lambda: foms.Significance(n_signal=0), "significance: n_signal"),
        (lambda: foms.Significance(n_background=math.inf), "significance: n_background"),
        (lambda: foms.AveragePrecision(binarised="no"), "average_precision: binarised"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line_that_names_them(make, place) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value).startswith(place)
    assert "\n" not in str(caught.value)


def test_a_threshold_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(SpecError, match="no threshold"):
        foms.RocAuc()(*SEPARATED, threshold=0.5)
    with pytest.raises(SpecError, match="finite"):
        foms.Xi()(*SEPARATED, threshold=math.nan)


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "says"),
    [
        ([], [], None, "no events"),
        ([0.5, 0.5], [1, 1], None, "only signal events"),
        ([0.5, 0.5], [-1, -1], None, "no events"),
        ([0.5, 0.5], [1, 0], [1.0, 0.0], "only signal events"),
        ([0.5, 0.5], [1, 0], [1.0, -1.0], "1 weights are negative"),
        ([0.5, 0.5], [1, 0], [1.0, math.nan], "1 weights are negative, NaN"),
        ([0.5, 0.5], [1, 2], None, "labels must be 1"),
        ([0.5, math.inf], [1, 0], None, "1 infinite"),
        ([[0.5, 0.5]], [1, 0], None, "shape"),
        ([0.5, 0.5], [[1, 0]], None, "shape"),
    ],
)
def test_bad_events_are_refused_in_one_line(scores, labels, weights, says) -> None:
    for fom in (foms.Xi(0), foms.RocAuc(), foms.Accuracy()):
        with pytest.raises(DataError, match=says) as caught:
            fom(scores, labels, weights)
        assert str(caught.value).startswith(fom.name)
        assert "\n" not in str(caught.value)


def test_nan_scores_of_spectators_do_not_matter() -> None:
    assert foms.RocAuc()([0.9, 0.1, math.nan], [1, 0, -1]).value == 1.0


def test_values_in_many_chunks_equal_values_in_one(monkeypatch) -> None:
    rng = np.random.default_rng(2)
    scores, labels = rng.random((23, 50)).astype(np.float32), rng.integers(2, size=50)
    whole = foms.RocAuc().values(scores, labels)
    monkeypatch.setattr(base, "CHUNK", 200)
    assert np.array_equal(foms.RocAuc().values(scores, labels), whole)


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e200])
def test_the_unit_of_weights_does_not_matter(scale: float) -> None:
    scores, labels, weights = contract_sample()
    figures = (
        foms.Xi(),
        foms.Significance(10, 10),
        foms.Rejection(),
        foms.Acceptance(),
        foms.RocAuc(),
        foms.AveragePrecision(),
    )
    for fom in (*figures, foms.Precision(), foms.Accuracy(), foms.Recall()):
        one, other = fom(scores, labels, weights), fom(scores, labels, weights * scale)
        expected = (one.value, one.low, one.high, one.n_effective)
        assert (other.value, other.low, other.high, other.n_effective) == pytest.approx(expected, rel=1e-9), fom.name


def test_significance_scales_with_the_summed_weights_unless_counts_are_given() -> None:
    scores, labels, weights = contract_sample()
    one, four = foms.Significance()(scores, labels, weights), foms.Significance()(scores, labels, 4 * weights)
    assert four.value == pytest.approx(2 * one.value)
    assert four.low == pytest.approx(2 * one.low)
