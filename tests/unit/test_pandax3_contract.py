"""PandaX-III keeps the contract of experiments; its networks take what they should; mistakes are named."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from raresearch.errors import SpaceError
from raresearch.experiment import Findings, parameters
from raresearch.experiments.pandax3.experiment import PandaX3
from raresearch.experiments.pandax3.inside import filter_groups
from raresearch.experiments.pandax3.model import flipped, normalised, resized, track_net
from raresearch.experiments.pandax3.simulator import simulate
from raresearch.spec import load
from raresearch.testing.experiment_contract import ExperimentContract
from raresearch.types import Config

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT.parent / "shared" / "papers" / "tables"
SMALL: Config = {"model.network": "tiny", "model.pixels": 64, "model.top_channels": 8}
PANDAX3 = PandaX3()


class TestPandaX3(ExperimentContract):
    experiment = PANDAX3
    config: ClassVar[Config] = SMALL
    events = 60


@pytest.mark.parametrize(
    ("name", "value"),
    [("radius", -1.0), ("resolution", 3.0), ("fraction_signal", 1.5), ("roi_low", 2600.0), ("window", 200.0)],
)
def test_impossible_values_are_refused_by_name(name, value):
    with pytest.raises(SpaceError, match=rf"data\.{name}"):
        simulate({f"data.{name}": value}, np.random.default_rng(0), 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [("network", "EfficientNetB9"), ("top_channels", -1), ("top_channels", 2.5), ("pixels", 100), ("pixels", True)],
)
def test_impossible_networks_are_refused_by_name(name, value):
    with pytest.raises(SpaceError, match=rf"model\.{name}"):
        track_net({**parameters(PANDAX3), **SMALL, f"model.{name}": value})


def test_an_inception_of_too_few_pixels_is_refused():
    with pytest.raises(SpaceError, match="from 128 up"):
        track_net({**parameters(PANDAX3), "model.network": "InceptionV3", "model.pixels": 64})


def test_images_of_a_network_sum_to_their_number_of_pixels_and_empty_ones_stay_finite():
    charge = torch.rand(3, 2, 64, 64) * 100
    charge[2] = 0
    sums = normalised(charge).flatten(1).sum(1)
    torch.testing.assert_close(sums, torch.tensor([8192.0, 8192.0, 0.0]))
    torch.testing.assert_close(normalised(charge), normalised(3 * charge))


def test_resizing_repeats_pixels():
    image = torch.rand(2, 2, 64, 64)
    twice = image.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    assert torch.equal(resized(image, 128), twice)
    assert resized(image, 64) is image


def test_flips_mirror_strips_of_each_plane_and_never_z():
    torch.manual_seed(1)
    image = torch.rand(400, 2, 64, 64)
    out = flipped(image)
    same = (out == image).flatten(2).all(2)
    mirrored = (out == image.flip(2)).flatten(2).all(2)
    assert bool((same ^ mirrored).all())
    # 800 draws of one half: 4 standard deviations; planes are drawn apart
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 800**0.5)
    assert float((mirrored[:, 0] != mirrored[:, 1]).float().mean()) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("channels", [2, 1792])
def test_the_last_convolution_has_n_channels_and_the_last_layer_n_weights(channels):
    network = track_net({**parameters(PANDAX3), **SMALL, "model.top_channels": channels})
    assert network.dense.weight.shape == (1, channels)
    assert network(torch.rand(2, 2, 64, 64)).shape == (2, 1)


def test_the_blocks_of_efficientnet_b4_are_those_of_table_2():
    with torch.device("meta"):
        network = track_net(parameters(PANDAX3))
        shapes = []
        for block in network.backbone.blocks:
            block.register_forward_hook(lambda _m, _i, output: shapes.append((output.shape[2], output.shape[1])))
        network.eval()
        network(torch.empty(1, 2, 64, 64))
    assert shapes == [(64, 24), (32, 32), (16, 56), (8, 112), (8, 160), (4, 272), (4, 448)]
    assert network.top[0].weight.shape == (1792, 448, 1, 1)


def test_filters_that_see_the_same_are_one_group():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 5, 1, 4, 4))
    maps = np.concatenate([a, 2 * a + 1, a + 0.01 * b, b, -b, b * 3, np.zeros_like(a)], axis=1)
    found = filter_groups(maps)
    assert found[0] == found[1] == found[2] != found[3]
    assert found[3] == found[5] >= 0
    assert found[4] == found[6] == -1


@dataclass
class Sample:
    event_id: np.ndarray
    scores: np.ndarray
    class_number: np.ndarray
    observers: dict = field(default_factory=dict)
    tensors: dict = field(default_factory=dict)


def test_read_outs_look_inside_where_there_are_weights_and_show_events_where_not():
    config = {**parameters(PANDAX3), **SMALL}
    drawn = simulate(config, np.random.default_rng(3), 24)
    events = Sample(np.arange(24), np.zeros(24), drawn["class"], tensors={"image": drawn["image"]})
    scored = Sample(np.arange(24), np.linspace(-1, 1, 24), drawn["class"], {n: drawn[n] for n in ("energy", "hits")})
    bare = Findings(config, {"validation": events}, {"validation": [scored]})
    (examples,) = PANDAX3.read_out(bare)
    assert len(examples.rows) == 6
    for row in examples.rows:
        number = int(row[2])
        assert row[4:6] == (drawn["energy"][number], drawn["hits"][number])
        assert row[5] >= np.count_nonzero(drawn["image"][number])  # a frame may cut pixels off
    torch.manual_seed(4)
    state = {n: t.numpy() for n, t in track_net(config).state_dict().items()}
    tables = PANDAX3.read_out(Findings(config, bare.events, bare.scored, state=lambda: state))
    stages, groups, last = tables[1:]
    assert [row[0] for row in stages.rows] == [f"Stage {n}" for n in range(1, 7)]
    assert sum(row[1] for row in groups.rows) == stages.rows[-1][1] == 64
    weight = state["dense.weight"].ravel()
    assert last.rows[0][:4] == (8, (weight > 0.5).sum(), (weight < -0.5).sum(), pytest.approx(np.abs(weight).max()))


def test_the_scan_has_the_paper_s_channels_and_sessions_and_rule():
    spec = load(ROOT / "search_spaces" / "pandax3_channels.yaml", "paper")
    assert (spec.repeats, spec.objective.name, spec.selection.name) == (6, "xi", "top_k")
    if not TABLES.exists():
        pytest.skip("the papers' tables are not beside the project")
    with (TABLES / "pandax3_channel_scan.csv").open(newline="") as file:
        table = {row["quantity"]: row["value"] for row in csv.DictReader(file)}
    assert spec.space.axes["model.top_channels"].values == tuple(int(n) for n in table["tested_n"].split(";"))


def test_reading_a_study_loads_neither_compiler_nor_networks():
    code = "import sys; from raresearch.experiments.pandax3.experiment import PandaX3; PandaX3().schema(); "
    code += "print([m for m in ('torch', 'timm', 'numba', 'ray', 'sklearn') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
