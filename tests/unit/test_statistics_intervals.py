"""Bootstraps cover as they say; variance is split as it was put together; optimism is what selecting on noise gains."""

import numpy as np
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM

from raresearch.errors import DataError, SelectionError, SpecError
from raresearch.metrics.foms import Recall, RocAuc
from raresearch.statistics.bootstrap import event_draws, event_noise, hierarchical, over_events, over_repeats, resample
from raresearch.statistics.optimism import optimism
from raresearch.statistics.panel import Block, Panel
from raresearch.statistics.variance import components, split

TOYS = 2000
ERROR = 3 * np.sqrt(0.683 * 0.317 / TOYS)


def recall_panel(rng, signal, repeats, spread):
    """Recall at 0.5 of repeats whose shift scatters; background far below."""
    z = 0.6 + rng.normal(size=signal) + spread * rng.normal(size=(repeats, 1))
    scores = np.c_[1 / (1 + np.exp(-z)), np.full((repeats, 2), 0.01)]
    label = np.array([1] * signal + [0, 0], dtype=np.int8)
    return Panel((Block("toy", scores, label, np.ones(len(label)), np.arange(len(label))),))


def coverage(interval, truth, signal, repeats, spread, toys=TOYS):
    inside = 0
    for toy in range(toys):
        found = interval(recall_panel(np.random.default_rng([signal, repeats, toy]), signal, repeats, spread), toy)
        inside += found.low <= truth <= found.high
    return inside / toys


def test_student_over_repeats_covers_for_three_repeats():
    inside = 0
    for toy in range(TOYS):
        found = over_repeats(np.random.default_rng(toy).normal(size=3))
        inside += found.low <= 0 <= found.high
    assert inside / TOYS == pytest.approx(0.683, abs=ERROR)


@pytest.mark.parametrize(("signal", "repeats"), [(25, 4), (100, 3)])
def test_the_hierarchical_interval_covers_other_trainings_on_other_events(signal, repeats):
    # True recall: P(0.6 + N(0,1) + 0.5 N(0,1) > 0).
    from scipy.stats import norm

    truth = norm.cdf(0.6 / np.sqrt(1 + 0.5**2))
    found = coverage(lambda p, toy: hierarchical(p, Recall(), resamples=40, seed=toy), truth, signal, repeats, 0.5, 2000)
    # A share of 25 events comes in steps of 4 %, so coverage is not exact; it must not be short by more than toys' error + 3 %.
    assert 0.683 - 0.03 - 3 * np.sqrt(0.683 * 0.317 / 2000) < found < 0.80


def test_over_events_covers_these_trainings_on_other_events():
    from scipy.stats import norm

    found = coverage(lambda p, toy: over_events(p, Recall(), resamples=60, seed=toy), norm.cdf(0.6), 60, 1, 0.0, 2000)
    assert found == pytest.approx(0.683, abs=0.03 + 3 * np.sqrt(0.683 * 0.317 / 2000))


def test_events_alone_are_too_narrow_for_other_trainings():
    from scipy.stats import norm

    truth = norm.cdf(0.6 / np.sqrt(2))
    found = coverage(lambda p, toy: over_events(p, Recall(), resamples=40, seed=toy), truth, 200, 3, 1.0, 200)
    assert found < 0.5


def test_a_resample_keeps_every_class_at_its_number():
    label = np.array([1, 1, 0, 0, 0, -1])
    drawn = label[resample(label, np.random.default_rng(0))]
    assert sorted(drawn.tolist()) == sorted(label.tolist())


def test_event_noise_is_parted_into_common_and_own():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(50_000, 1)) + 2 * rng.normal(size=(50_000, 6))
    noise = event_noise(draws)
    assert noise.common == pytest.approx(1, rel=0.05)
    assert noise.own == pytest.approx(4, rel=0.05)
    assert event_noise(draws[:, :1]).own == 0


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    panel = recall_panel(np.random.default_rng(0), 40, 3, 0.5)
    one, again, other = (hierarchical(panel, Recall(), seed=s) for s in (1, 1, 2))
    assert one == again
    assert one != other


def test_one_repeat_says_that_its_spread_is_unknown():
    panel = recall_panel(np.random.default_rng(0), 40, 1, 0.5)
    assert "one repeat" in hierarchical(panel, Recall()).method
    with pytest.raises(SpecError, match="two at least"):
        over_repeats(np.array([1.0]))
    with pytest.raises(SpecError, match="at least 20"):
        event_draws([panel], RocAuc(), 5, np.random.default_rng(0))


def balanced_anova(y):
    """Variances of a balanced two-way layout (C, F, S) by the textbook's expected mean squares."""
    c, f, s = y.shape
    m, mc, mf, mcf = y.mean(), y.mean((1, 2)), y.mean((0, 2)), y.mean(2)
    ms_c = f * s * ((mc - m) ** 2).sum() / (c - 1)
    ms_f = c * s * ((mf - m) ** 2).sum() / (f - 1)
    ms_cf = s * ((mcf - mc[:, None] - mf[None] + m) ** 2).sum() / ((c - 1) * (f - 1))
    ms_e = ((y - mcf[..., None]) ** 2).sum() / (c * f * (s - 1))
    return {
        "config": (ms_c - ms_cf) / (f * s),
        "fold": (ms_f - ms_cf) / (c * s),
        "config_fold": (ms_cf - ms_e) / s,
        "residual": ms_e,
    }


def layout(rng, c, f, s, sigmas):
    y = sigmas[0] * rng.normal(size=(c, 1, 1)) + sigmas[1] * rng.normal(size=(1, f, 1))
    y = y + sigmas[2] * rng.normal(size=(c, f, 1)) + sigmas[3] * rng.normal(size=(c, f, s))
    config, fold, _ = np.indices((c, f, s))
    return y, config.ravel(), fold.ravel()


def test_components_equal_the_analysis_of_variance_of_a_balanced_study():
    y, config, fold = layout(np.random.default_rng(0), 5, 4, 3, (1, 2, 0.5, 1))
    found = components(y.ravel(), {"config": config, "fold": fold, "config_fold": config * 4 + fold})
    assert found == pytest.approx(balanced_anova(y))


def test_components_equal_restricted_maximum_likelihood_of_a_balanced_one_way_layout():
    rng = np.random.default_rng(1)
    config = np.repeat(np.arange(12), 5)
    y = rng.normal(size=12)[config] * 1.5 + rng.normal(size=60)
    fit = MixedLM(y, np.ones((60, 1)), groups=config).fit(reml=True)
    found = components(y, {"config": config})
    assert found["config"] == pytest.approx(float(fit.cov_re[0, 0]), rel=1e-3)
    assert found["residual"] == pytest.approx(float(fit.scale), rel=1e-3)


def test_components_are_unbiased_where_a_third_of_the_cells_failed():
    truth, total = {"config": 1.0, "fold": 0.25, "config_fold": 0.25, "residual": 1.0}, []
    for toy in range(400):
        rng = np.random.default_rng([4, toy])
        y, config, fold = layout(rng, 6, 4, 4, (1, 0.5, 0.5, 1))
        there = rng.random(y.size) > 0.33
        factors = {"config": config, "fold": fold, "config_fold": config * 4 + fold}
        total.append(list(components(y.ravel()[there], {n: v[there] for n, v in factors.items()}).values()))
    mean, error = np.mean(total, axis=0), np.std(total, axis=0) / 20
    assert (np.abs(mean - list(truth.values())) < 3.5 * error).all()


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(SelectionError, match="cannot be told apart"):
        components(np.arange(4.0), {"config": np.arange(4)})


def test_a_split_leaves_out_what_the_study_cannot_tell():
    y = np.array([1.0, 2.0, 4.0, 5.0])
    one_config = split(y, np.zeros(4), np.zeros(4), 0.2, 0.1)
    assert one_config.config is None
    assert one_config.fold is None
    assert one_config.seed == pytest.approx(y.var(ddof=1) - 0.2)
    no_repeats = split(y, np.arange(4), np.zeros(4), 0.0, 0.1)
    assert no_repeats.seed is None
    assert no_repeats.events == 0.1


def test_a_negative_component_is_zero_and_named():
    y = np.array([1.0, 5.0, 1.1, 4.9, 0.9, 5.1])
    found = split(y, np.repeat([0, 1, 2], 2), np.zeros(6), 0.0, 0.0)
    assert found.config == 0
    assert found.clipped == ("config",)


def test_choosing_the_best_of_many_coins_is_optimistic_by_what_it_gains():
    # 40 "configs" whose per-event values are pure noise of mean 0: chosen on one half, worth 0 on the other.
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 500))
    label = np.tile([1, 0], 250)

    def trial(chosen, held):
        means = values[:, chosen[0]].mean(axis=1)
        best = int(means.argmax())
        return float(means[best]), float(values[best, held[0]].mean())

    found = optimism(trial, [label], "max", rounds=60)
    assert found.reported > 0.08
    assert found.optimism == pytest.approx(found.reported - found.held_out)
    assert found.optimism > 10 * found.error
    turned = optimism(lambda c, h: tuple(-v for v in trial(c, h)), [label], "min", rounds=60)
    assert turned.optimism == pytest.approx(found.optimism)


def test_what_was_not_chosen_on_anything_has_no_optimism():
    values = np.random.default_rng(1).normal(size=2000)
    found = optimism(lambda c, h: (values[c[0]].mean(), values[h[0]].mean()), [np.tile([1, 0], 1000)], "max", rounds=200)
    assert abs(found.optimism) < 4 * found.error


def test_optimism_of_too_few_events_or_rounds_is_refused():
    with pytest.raises(DataError, match="twenty of each class"):
        optimism(lambda c, h: (0.0, 0.0), [np.array([1, 0, 0, 0])], "max", rounds=20)
    with pytest.raises(SpecError, match="at least 2"):
        optimism(lambda c, h: (0.0, 0.0), [np.array([1, 0])], "max", rounds=1)
