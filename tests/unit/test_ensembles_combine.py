"""Combination of members' scores and calibration, against slow twins and scikit-learn."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from raresearch.ensembles.calibrate import Calibration, calibrate
from raresearch.ensembles.combine import COMBINATIONS, additive, combine, finish, mixture_weights
from raresearch.ensembles.stacking import logistic
from raresearch.errors import SelectionError


@pytest.fixture
def members():
    rng = np.random.default_rng(0)
    label = rng.choice(np.array([1, 0, -1], dtype=np.int8), size=400)
    logits = rng.normal(size=(5, 400)) + rng.uniform(0.1, 0.6, (5, 1)) * np.where(label == 1, 1, -1)
    return logits.astype(np.float32), label, rng.exponential(size=400) + 0.1


def slow_median(scores, weights):
    """Of one event: where half the weight is reached; between two scores where it is reached exactly."""
    ranked = sorted(zip(scores, weights, strict=True))
    half, below = sum(weights) / 2, 0.0
    for place, (score, weight) in enumerate(ranked):
        below += weight
        if abs(below - half) < 1e-9:
            return (score + ranked[place + 1][0]) / 2
        if below > half:
            return score
    raise AssertionError


def test_equal_weights_give_the_plain_mean_and_median(members):
    logits = members[0].astype(np.float64)
    assert combine("scores", members[0], [1] * 5) == pytest.approx(expit(logits).mean(axis=0))
    assert combine("logits", members[0], [2] * 5) == pytest.approx(expit(logits.mean(axis=0)))
    assert combine("median", members[0], [1] * 5) == pytest.approx(np.median(expit(logits), axis=0))
    assert combine("median", members[0][:4], [1] * 4) == pytest.approx(np.median(expit(logits[:4]), axis=0))


@pytest.mark.parametrize("name", [n for n in COMBINATIONS if n != "weighted"])
def test_a_weight_of_two_counts_as_the_member_twice(members, name):
    logits = members[0]
    assert combine(name, logits, [2, 1, 1, 1, 1]) == pytest.approx(combine(name, logits[[0, 0, 1, 2, 3, 4]], [1] * 6))


def test_the_weighted_median_equals_its_slow_twin(members):
    logits, weights = members[0][:, :50], [1.0, 2.0, 1.0, 3.0, 1.0]
    expected = [slow_median(expit(logits[:, n].astype(float)).tolist(), weights) for n in range(50)]
    assert combine("median", logits, weights) == pytest.approx(expected)


def test_ranks_are_blind_to_a_members_scale_and_fixed_on_validation(members):
    logits = members[0]
    stretched = logits * np.array([[1], [5], [0.1], [2], [1]], dtype=np.float32)
    assert combine("ranks", stretched, [1] * 5) == pytest.approx(combine("ranks", logits, [1] * 5))
    # A single new event gets the same score alone as among others.
    new = np.full((5, 3), 0.3, dtype=np.float32)
    assert combine("ranks", new[:, :1], [1] * 5, logits)[0] == combine("ranks", new, [1] * 5, logits)[2]


@pytest.mark.parametrize("name", ["scores", "logits", "ranks"])
def test_what_is_built_member_by_member_equals_the_combination(members, name):
    weights = np.array([3, 0.5, 1, 2, 1])
    mean = weights @ additive(name, members[0]) / weights.sum()
    assert finish(name, mean) == pytest.approx(combine(name, members[0], weights))


def test_a_median_cannot_be_built_member_by_member(members):
    with pytest.raises(SelectionError, match="member by member"):
        additive("median", members[0])


def test_an_unknown_combination_names_the_nearest(members):
    with pytest.raises(SelectionError, match="'median'"):
        combine("medain", members[0], [1] * 5)


def test_mixture_weights_have_the_least_log_loss_of_all_weights(members):
    logits, label, weight = members
    fitted = mixture_weights(logits, label, weight)
    counted = label >= 0
    p = expit(np.where(label == 1, logits, -logits).astype(float))[:, counted]

    def loss(weights):
        return -(weight[counted] * np.log(weights @ p)).sum()

    assert fitted.sum() == pytest.approx(1)
    rng = np.random.default_rng(1)
    for other in [*rng.dirichlet(np.ones(5), 300), *np.eye(5)]:
        assert loss(fitted) <= loss(other) + 1e-6
        assert loss(fitted) <= loss(0.99 * fitted + 0.01 * other) + 1e-6


def test_weights_cannot_be_fitted_without_labels(members):
    with pytest.raises(SelectionError, match="no labelled events"):
        mixture_weights(members[0], np.full(400, -1), members[2])


def test_isotonic_calibration_equals_scikit_learns(members):
    logits, label, weight = members
    scores = np.round(combine("scores", logits, [1] * 5), 2)  # with ties
    counted = label >= 0
    twin = IsotonicRegression(out_of_bounds="clip").fit(scores[counted], label[counted], sample_weight=weight[counted])
    ours = calibrate("isotonic", scores, label, weight)
    new = np.linspace(0, 1, 333)
    assert ours(new) == pytest.approx(twin.predict(new), abs=1e-6)


def test_platt_calibration_equals_an_unpenalised_logistic_regression(members):
    logits, label, weight = members
    scores = combine("logits", logits, [1] * 5)
    counted = label >= 0
    twin = LogisticRegression(C=1e8, tol=1e-10).fit(
        logit(scores[counted])[:, None], label[counted], sample_weight=weight[counted]
    )
    slope, offset = calibrate("platt", scores, label, weight).parameters
    assert slope == pytest.approx(float(twin.coef_[0, 0]), rel=1e-3)
    assert offset == pytest.approx(float(twin.intercept_[0]), abs=2e-3)


def test_temperature_undoes_a_stretch_of_the_logit():
    rng = np.random.default_rng(2)
    z = rng.normal(size=40_000) * 2
    label = (rng.random(40_000) < expit(z)).astype(np.int8)
    (factor,) = calibrate("temperature", expit(3 * z), label, np.ones(40_000)).parameters
    assert factor == pytest.approx(1 / 3, rel=0.05)


def test_calibration_keeps_the_order_of_events(members):
    logits, label, weight = members
    scores = combine("scores", logits, [1] * 5)
    for kind in ("isotonic", "temperature", "platt"):
        assert (np.diff(calibrate(kind, scores, label, weight)(np.sort(scores))) >= 0).all()


def test_calibration_survives_scores_of_exactly_zero_and_one():
    label = np.array([0, 1, 0, 1] * 10, dtype=np.int8)
    scores = np.array([0.0, 1.0, 0.3, 0.6] * 10)
    for kind in ("temperature", "platt", "isotonic"):
        assert np.isfinite(calibrate(kind, scores, label, np.ones(40))(np.array([0.0, 0.5, 1.0]))).all()


def test_calibration_refuses_one_class_and_unknown_names(members):
    logits, label, weight = members
    scores = combine("scores", logits, [1] * 5)
    with pytest.raises(SelectionError, match="signal and background"):
        calibrate("platt", scores, np.where(label == 1, -1, label), weight)
    with pytest.raises(SelectionError, match="'isotonic'"):
        calibrate("isotonik", scores, label, weight)


def test_a_calibration_is_hashable_and_equal_by_content():
    assert {Calibration("platt", (1.0, 0.0)), Calibration("platt", (1.0, 0.0))} == {Calibration("platt", (1.0, 0.0))}


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_the_stacking_regression_equals_scikit_learns_without_bounds(members, ridge):
    logits, label, weight = members
    x, y, w = logits.T[label >= 0].astype(float), label[label >= 0], weight[label >= 0]
    twin = LogisticRegression(C=1 / (ridge * w.sum()), tol=1e-10, max_iter=2000).fit(x, y, sample_weight=w)
    ours = logistic(x, y.astype(float), w, ridge, non_negative=False)
    assert ours[:-1] == pytest.approx(twin.coef_[0], abs=2e-4)
    assert ours[-1] == pytest.approx(twin.intercept_[0], abs=2e-4)


def test_non_negative_stacking_has_no_better_neighbour(members):
    logits, label, weight = members
    x = np.c_[logits.T[label >= 0], -logits[0][label >= 0]].astype(float)  # the last would want a negative weight
    y, w = label[label >= 0].astype(float), weight[label >= 0]
    fitted = logistic(x, y, w, 1e-3, non_negative=True)
    assert (fitted[:-1] >= 0).all()
    assert fitted[-2] == 0

    def loss(p):
        z = x @ p[:-1] + p[-1]
        return (w / w.sum()) @ (np.logaddexp(0, z) - y * z) + 0.5e-3 * p[:-1] @ p[:-1]

    rng = np.random.default_rng(0)
    for _ in range(300):
        moved = fitted + rng.normal(scale=0.01, size=len(fitted))
        moved[:-1] = np.maximum(moved[:-1], 0)
        assert loss(fitted) <= loss(moved) + 1e-9
