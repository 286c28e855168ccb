"""Read-outs: factors against the paper's arithmetic, a drift that is put in is found, tables need no more than events."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raresearch.errors import DataError
from raresearch.experiment import Findings
from raresearch.experiments.kamnet import sensitivity as s
from raresearch.experiments.kamnet.drift import Templates
from raresearch.experiments.kamnet.experiment import KamNet, KamNetBismuth, KamNetExcited
from raresearch.experiments.kamnet.matching import histogram, matched
from raresearch.experiments.kamnet.readouts import read_outs


def test_the_factors_are_those_that_the_paper_prints():
    assert s.simple_factor(0.9, 0.7) == pytest.approx(1.0757, abs=1e-4)
    assert float(s.mixed_factor(np.array(0.9), np.array(1 - 0.254))) == pytest.approx(0.9996, abs=2e-4)
    assert s.exposure_factor(157.0, 165.8) ** 2 == pytest.approx(1.1778, abs=1e-4)
    assert s.excited_acceptance({"2v_0+": 0.54, "2v_2+": 0.49, "2v_2+2": 0.56}) == pytest.approx(0.5396, abs=1e-4)


def test_the_best_factor_is_the_largest_of_a_plain_loop():
    rng = np.random.default_rng(1)
    signal, others = rng.normal(1.5, 1, 300), [rng.normal(0, 1, 200), rng.normal(0.4, 1, 250)]
    slow = []
    for cut in np.sort(signal)[:151]:
        accepted = (signal >= cut).mean()
        passed = np.mean([(o >= cut).mean() for o in others])
        slow.append(accepted / np.sqrt(0.582 * passed + 0.418 * accepted))
    assert s.best_factor(signal, others)[0] == pytest.approx(max(slow))


def test_an_expanded_radius_holds_as_many_film_events_after_the_cut_as_the_first_did_before():
    rng = np.random.default_rng(2)
    before = 190 - rng.exponential(15, 4000)
    after = before[rng.random(4000) < 0.41]
    radius = s.expanded_radius(before, after, 157.0)
    assert (after < radius).sum() == (before < 157.0).sum()
    assert np.isnan(s.expanded_radius(before[before > 160], after, 157.0))
    assert np.isnan(s.expanded_radius(before, after[:5], 157.0))


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.8])
def test_the_drift_fit_finds_the_fraction_that_was_put_in(fraction):
    rng = np.random.default_rng(3)
    templates = Templates.of(rng.normal(1, 1, 20_000), rng.normal(-0.5, 1.2, 20_000))
    pulls = []
    for _ in range(60):
        many = rng.binomial(400, fraction)
        fit = templates.fit(np.r_[rng.normal(-0.5, 1.2, many), rng.normal(1, 1, 400 - many)])
        pulls.append((fit.value - fraction) / max((fit.high - fit.low) / 2, 1e-3))
        assert fit.low <= fit.value <= fit.high
    # 60 pulls: their mean is known to .13, and .3 more where the fraction cannot fall below 0.
    assert abs(np.mean(pulls)) < 0.6
    assert 0.3 < np.std(pulls) < 1.4


def test_too_few_events_for_a_template_or_a_period_are_refused():
    with pytest.raises(DataError, match="templates"):
        Templates.of(np.zeros(3), np.zeros(300))
    with pytest.raises(DataError, match="period"):
        Templates.of(np.arange(300.0), np.arange(300.0)).fit(np.zeros(0))


@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([1.0, 5.0, 12.0]))
@settings(max_examples=40, deadline=None)
def test_matched_classes_agree_bin_by_bin_and_no_event_is_used_twice(seed, number, width):
    rng = np.random.default_rng(seed)
    hits = [rng.poisson(mean, 600) for mean in (330, 350, 345)]
    numbers = (2 * number, number, number)
    rows = matched(hits, numbers, width, rng)
    if rows is None:
        return
    assert [len(r) for r in rows] == list(numbers)
    assert all(len(np.unique(r)) == len(r) for r in rows)
    counts, _ = histogram([h[r] for h, r in zip(hits, rows, strict=True)], width)
    apart = np.cumsum(counts[0]) / 2 - np.cumsum(counts[1])
    assert np.abs(apart).max() <= 1.5 + 1e-9  # rounding of single events


def sample_of(scores, label, number, observers):
    n = len(scores)
    return SimpleNamespace(
        event_id=np.arange(n), scores=scores, label=label, weight=np.ones(n), class_number=number, observers=observers
    )


def scored(classes, signal, seed):
    """Events of every class, the signal's scores higher by one."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(len(classes)), 150)
    label = np.where(np.isin(number, [classes.index(n) for n in signal]), 1, -1)
    label[number == 1] = 0 if label[number == 1][0] == -1 else label[number == 1]
    radius = np.where(
        np.array(classes)[number] == "Bi214_film", rng.uniform(120, 190, len(number)), rng.uniform(0, 157, len(number))
    )
    observers = {"hits": rng.poisson(350, len(number)).astype(float), "energy": np.full(len(number), 2.5), "radius": radius}
    scores = rng.normal(label == 1, 1)
    return sample_of(scores, label, number, observers)


def test_tables_say_what_each_class_and_the_control_do():
    experiment = KamNetBismuth()
    sample = scored(experiment.classes, experiment.signal, 4)
    config = dict(experiment.defaults)
    every = {name: Findings({**config, "model.network": name}, {}, {"validation": [sample]}) for name in ("kamnet", "cnn")}
    tables = {t.title: t for t in read_outs(Findings(config, {}, {"validation": [sample]}, every), experiment)}
    rows = {row[1]: row for row in tables["Rejection class by class"].rows}
    assert set(rows) == set(experiment.classes)
    assert rows["0vbb"][2] == pytest.approx(0.1, abs=0.01)
    assert rows["I130"][-1] == 0.272
    difference = tables["KamNet and the CNN over all detectors"].rows[-1]
    assert difference[:2] == ("kamnet - cnn", 0.0)
    assert {"Sensitivity to neutrinoless decay", "Fiducial volume", "Background by the drift of scores"} <= set(tables)
    third = tables["Background by the drift of scores"].rows[2]
    assert third[1] > 0.6


def test_excited_states_are_read_where_seventy_per_cent_of_the_background_are_rejected():
    experiment = KamNetExcited()
    sample = scored(experiment.classes, experiment.signal, 5)
    sample.label[sample.class_number == 0] = 0
    tables = {t.title: t for t in read_outs(Findings(dict(experiment.defaults), {}, {"validation": [sample]}), experiment)}
    rows = {row[0]: row for row in tables["Excited states"].rows}
    background = sample.scores[sample.class_number == 0]
    cut = np.sort(background)[round(0.7 * len(background)) - 1]
    assert rows["2v_0+"][1] == pytest.approx((sample.scores[sample.class_number == 1] > cut).mean(), abs=0.02)
    assert rows["all, Eq. 8"][1] == pytest.approx(rows["2v_0+"][1], abs=0.01)


def test_attention_of_kept_weights_averages_to_one():
    import torch

    experiment = KamNet()
    config = {**experiment.defaults, "model.temporal": "pointwise", "model.hidden": (3,), "model.join_slices": 7,
              "model.features": (3, 4), "model.bandwidths": (3, 2), "model.dense": (8,), "data.match_bin": 30.0}  # fmt: skip
    found = experiment.simulate(config, np.random.default_rng(6), 40)
    torch.manual_seed(6)
    state = {n: t.numpy() for n, t in experiment.model(config).state_dict().items()}
    label = experiment.schema().labels(found["class"])
    observers = {n: found[n] for n in ("hits", "energy", "radius")}
    sample = sample_of(np.arange(40.0), label, found["class"], observers)
    events = SimpleNamespace(event_id=np.arange(40), tensors={n: found[n] for n in ("cell", "charge")})
    findings = Findings(config, {"validation": events}, {"validation": [sample]}, state=lambda: state)
    table = next(t for t in read_outs(findings, experiment) if t.title == "Attention over time slices")
    attention = np.asarray([row[1:3] for row in table.rows], float)
    np.testing.assert_allclose(attention.mean(0), 1.0, rtol=1e-5)
    hits = np.asarray([row[3] for row in table.rows], float)
    assert hits.argmax() == 1  # the peak of the light, -9.5 to 1 ns
