"""KamNet keeps the contract of experiments; its parts agree with slow twins; mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from raresearch.errors import DataError, SpaceError
from raresearch.experiments.kamnet.experiment import KamNet, KamNetBismuth, KamNetExcited
from raresearch.experiments.kamnet.hitmaps import dense
from raresearch.experiments.kamnet.model import HitMap, network
from raresearch.experiments.kamnet.temporal import (
    ConvCell,
    PlanarAttention,
    PointAttention,
    attend,
    distinct,
    spherical_padding,
)
from raresearch.spec import load
from raresearch.testing.experiment_contract import ExperimentContract

STUDIES = Path(__file__).resolve().parents[2] / "search_spaces"
SMALL = {
    "data.match_bin": 30.0,
    "model.temporal": "pointwise",
    "model.hidden": (3,),
    "model.join_slices": 7,
    "model.features": (3, 4),
    "model.bandwidths": (3, 2),
    "model.dense": (8,),
}


class TestKamNet(ExperimentContract):
    experiment = KamNet()
    config: ClassVar = SMALL


class TestConventional(ExperimentContract):
    experiment = KamNetBismuth()
    config: ClassVar = {**SMALL, "model.network": "cnn", "model.filters": (4, 4), "data.match_bin": 60.0}


class TestExcited(ExperimentContract):
    experiment = KamNetExcited()
    config: ClassVar = {**SMALL, "model.input": "hits", "data.match_bin": 30.0}


@pytest.fixture(scope="module")
def events():
    return KamNet().simulate({"data.match_bin": 30.0}, np.random.default_rng(1), 24)


def inputs(events):
    return tuple(torch.tensor(events[n].astype(np.float32)) for n in ("cell", "charge"))


def test_maps_made_on_the_device_are_the_slow_ones(events):
    slow = dense(events["cell"], events["charge"])
    np.testing.assert_allclose(HitMap(1, 1, True)(*inputs(events)).numpy(), slow, rtol=1e-6)
    joined = slow.reshape(24, 14, 2, 19, 2, 19, 2).sum((2, 4, 6))
    np.testing.assert_allclose(HitMap(2, 2, True)(*inputs(events)).numpy(), joined, rtol=1e-5)
    counted = HitMap(1, 1, False)(*inputs(events)).numpy()
    np.testing.assert_array_equal(counted, (slow > 0).astype(np.float32))


def test_the_published_sizes_are_reached_by_the_defaults():
    torch.manual_seed(0)
    small = {"model.bandwidths": (3, 3, 2, 2)}  # fewer degrees have as many weights, and need no large tables
    model = network({**KamNet.defaults, **small})
    layers = [tuple(c.convolution.weight.shape) for c in model.temporal.layers]
    assert layers == [(48, 13, 5, 5), (88, 34, 3, 3)]
    assert tuple(model.temporal.weight.shape) == (28, 22, 38, 38)
    features = [layer.weight.shape[1] for layer in (model.spherical.first, *model.spherical.others)]
    assert features == [36, 63, 74, 124]
    assert [layer.out_features for layer in model.dense] == [864, 432, 216, 54]


def test_a_step_of_the_convlstm_is_the_textbooks():
    torch.manual_seed(1)
    cell = ConvCell(2, 3, 1)
    x, hidden, state = torch.randn(1, 2, 4, 6), torch.randn(1, 3, 4, 6), torch.randn(1, 3, 4, 6)
    new_hidden, new_state = cell(x, hidden, state)
    weight, bias = cell.convolution.weight.detach()[..., 0, 0].numpy(), cell.convolution.bias.detach().numpy()
    column = np.r_[x[0, :, 2, 5].numpy(), hidden[0, :, 2, 5].numpy()]
    enter, forget, leave, new = np.split(weight @ column + bias, 4)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    slow_state = sigmoid(forget) * state[0, :, 2, 5].numpy() + sigmoid(enter) * np.tanh(new)
    np.testing.assert_allclose(new_state[0, :, 2, 5].detach().numpy(), slow_state, rtol=1e-5)
    np.testing.assert_allclose(new_hidden[0, :, 2, 5].detach().numpy(), sigmoid(leave) * np.tanh(slow_state), rtol=1e-5)


def test_attention_is_a_softmax_along_time_of_three_factors():
    generator = np.random.default_rng(2)
    hidden, weight = generator.normal(size=(2, 5, 3)), generator.normal(size=(5, 3))
    context, score = attend(torch.tensor(hidden), torch.tensor(weight))
    for event in range(2):
        for channel in range(3):
            exponent = np.exp([hidden[event, t, channel] * weight[t, channel] * hidden[event, -1, channel] for t in range(5)])
            share = exponent / exponent.sum()
            np.testing.assert_allclose(score[event, :, channel].numpy(), share, rtol=1e-9)
            assert float(context[event, channel]) == pytest.approx(float(share @ hidden[event, :, channel]))


def test_padding_goes_around_in_azimuth_and_across_the_poles():
    x = torch.arange(24.0).reshape(1, 1, 4, 6)
    padded = spherical_padding(x, 1)[0, 0]
    assert padded.shape == (6, 8)
    torch.testing.assert_close(padded[1:-1, 1:-1], x[0, 0])
    assert padded[0, 1:-1].tolist() == [3.0, 4.0, 5.0, 0.0, 1.0, 2.0]  # the first ring, half a turn away
    assert padded[-1, 1:-1].tolist() == [21.0, 22.0, 23.0, 18.0, 19.0, 20.0]
    assert padded[1, 0] == x[0, 0, 0, 5]


def test_recomputed_gates_give_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(3)
        layer = PlanarAttention(4, (6, 6), (2, 3), (3, 1), recompute)
        maps = torch.randn(2, 4, 6, 6)
        layer(maps).square().sum().backward()
        gradients.append([p.grad.clone() for p in layer.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_pixels_of_one_history_are_followed_once_and_nothing_changes():
    torch.manual_seed(4)
    maps = torch.poisson(torch.full((3, 5, 6, 6), 0.1))
    rows = maps.flatten(2).transpose(1, 2).reshape(-1, 5)
    different, which = distinct(rows)
    assert len(different) == len(torch.unique(rows, dim=0)) < len(rows)
    assert torch.equal(different[which], rows)
    layer = PointAttention(5, (3,), counts=True)
    once = layer(maps)
    layer.counts = False
    torch.testing.assert_close(once, layer(maps))
    assert float(once[(maps == 0).all(1)[:, None].expand_as(once)].detach().abs().max()) == 0.0


@pytest.mark.parametrize("kind", ["kamnet", "cnn"])
def test_a_batch_of_one_event_trains_and_scores_do_not_depend_on_neighbours(events, kind):
    torch.manual_seed(5)
    experiment, config = KamNet(), {**KamNet.defaults, **SMALL, "model.network": kind, "model.filters": (4, 4)}
    model = experiment.model(config)
    cell, charge = inputs(events)
    for rows in (slice(0, 16), slice(0, 1)):
        assert torch.isfinite(experiment.forward(model, {"cell": cell[rows], "charge": charge[rows]}, config)).all()
    model.eval()
    every = experiment.forward(model, {"cell": cell, "charge": charge}, config)
    alone = experiment.forward(model, {"cell": cell[3:4], "charge": charge[3:4]}, config)
    torch.testing.assert_close(every[3:4], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.network", "rnn"),
        ("model.temporal", "spatial"),
        ("model.input", "time"),
        ("model.join_slices", 3),
        ("model.join_pixels", 0),
        ("model.bandwidths", (2, 3)),
        ("model.bandwidths", (40, 2)),
        ("model.bandwidths", (3,)),
        ("model.hidden", ()),
        ("model.oversampling", 0),
        ("model.dropout_dense", 1.0),
    ],
)
def test_networks_that_cannot_be_are_named(name, value):
    with pytest.raises(SpaceError, match=name):
        network({**KamNet.defaults, **SMALL, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data.mix", ()),
        ("data.mix", ("C11:1",)),
        ("data.mix", ("C10:many",)),
        ("data.mix", ("C10:-1",)),
        ("data.mix", ("C10:1", "C10:1")),
        ("data.energy_low", 4.0),
        ("data.balloon_radius", 700.0),
        ("data.match_bin", 0.5),
    ],
)
def test_detectors_that_cannot_be_are_named(name, value):
    with pytest.raises(SpaceError, match=name):
        KamNet().simulate({name: value}, np.random.default_rng(0), 10)


def test_events_too_bright_for_their_lists_are_refused():
    with pytest.raises(DataError, match="kamnet"):
        KamNetBismuth().simulate({"data.photocoverage": 0.9, "data.mix": ("0vbb:1",)}, np.random.default_rng(0), 5)


@pytest.mark.parametrize("study", ["pressure", "benchmark", "0vbb", "excited"])
@pytest.mark.parametrize("scale", ["demo", "paper"])
def test_every_study_is_sound_at_both_scales(study, scale):
    spec = load(STUDIES / f"kamnet_{study}.yaml", scale)
    assert str(spec.experiment) in {"kamnet", "kamnet_0vbb", "kamnet_excited"}
    assert any(item.startswith("electron:") for item in spec.fixed.get("data.mix", KamNet.defaults["data.mix"]))
