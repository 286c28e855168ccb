"""Scheduling changes no result: neither the pack's size nor its order, its neighbours or a retry change a cell's last bit."""

import numpy as np
import pytest
import torch
from torch import nn

from raresearch.experiment import Experiment, parameters
from raresearch.testing.toy import Toy
from raresearch.training import kernels, mlp
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.lanes import FoldTensors, Lane
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep
from raresearch.training.single import build_model
from raresearch.types import Cell


class Network(Experiment):
    """One of several networks over images of 2 x 5 x 5."""

    name = "network"
    defaults = {"model.kind": "convolution"}  # noqa: RUF012

    def model(self, config):
        return {
            "convolution": lambda: nn.Sequential(
                nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten(), nn.Linear(27, 1)
            ),
            "odd widths": lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(50, 33), nn.LayerNorm(33), nn.GELU(), nn.Linear(33, 5), nn.Sigmoid(), nn.Linear(5, 1)
            ),
        }[config["model.kind"]]()


def fold(shape, n, seed=0):
    rng = np.random.default_rng(seed)

    def sample(n, sealed=False):
        label = (rng.random(n) < 0.5).astype(np.int8)
        x = (rng.normal(size=(n, *shape)) + 0.5 * label.reshape(-1, *[1] * len(shape))).astype(np.float32)
        return Sample({"x": x}, None if sealed else label, None if sealed else rng.uniform(0.5, 1.5, n))

    return FoldData(sample(n), sample(71), sample(53, sealed=True), f"v{seed}", "t")


def cells(experiment, count, **values):
    config = {**parameters(experiment), "train.epochs": 3, "train.patience": 2, **values}
    rates = (1e-3, 1e-2)
    return [Cell({**config, "train.learning_rate": rates[s % 2]}, s % 2, s, 3, {"data": "d"}) for s in range(count)]


def run(experiment, chosen, data, **limits):
    found = {}
    train_pack(
        chosen,
        Work(
            experiment=experiment,
            study_seed=3,
            keep=Keep(),
            data=lambda cell: data[cell.fold],
            land=lambda records: found.update({r.cell.key: r for r in records}),
            report=lambda cell, epoch: None,
            memory=1 << 30,
            **limits,
        ),
    )
    return found


def assert_same_bits(ours, reference):
    assert set(ours) == set(reference)
    for key, record in reference.items():
        assert ours[key].outcome.error == record.outcome.error
        for column, values in record.epochs.items():
            assert np.array_equal(ours[key].epochs[column], values), column
        for name, (_, logits) in record.scores.items():
            assert np.array_equal(ours[key].scores[name][1], logits), name
        for epoch, state in record.weights.items():
            for name, array in state.items():
                assert np.array_equal(ours[key].weights[epoch][name], array), name


CASES = [
    (Toy(), (2,), {"model.hidden": (13, 5), "model.dropout": 0.2}),
    (Toy(), (2,), {"model.hidden": (32, 16, 8), "train.batch_size": 50}),
    (Network(), (2, 5, 5), {"model.kind": "convolution"}),
    (Network(), (2, 5, 5), {"model.kind": "odd widths"}),
]


@pytest.mark.parametrize(("experiment", "shape", "values"), CASES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_cell_does_not_depend_on_who_trains_beside_it(experiment, shape, values, precision):
    data = [fold(shape, 150), fold(shape, 149, seed=5)]
    chosen = cells(experiment, 9, **values, **{"train.precision": precision})
    reference = run(experiment, chosen, data)
    assert all(r.outcome.state == "done" for r in reference.values())
    assert_same_bits(run(experiment, chosen[::-1], data, width=4), reference)
    assert_same_bits(run(experiment, chosen, data, width=1), reference)
    assert_same_bits(run(experiment, chosen[2:5], data), {c.key: reference[c.key] for c in chosen[2:5]})


def test_these_networks_are_indeed_packed():
    widest = []

    class Counting(kernels.VmappedStack):
        def epoch(self):
            widest.append(len(self.lanes))
            return super().epoch()

    data = [fold((2, 5, 5), 100)] * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "VmappedStack", Counting)
        run(Network(), cells(Network(), 4), data)
    assert max(widest) == 4


def test_memory_that_runs_out_halves_the_pack_and_changes_nothing(monkeypatch):
    data = [fold((2,), 150)] * 2
    chosen = cells(Toy(), 9)
    reference = run(Toy(), chosen, data)
    whole, widths = mlp.MlpStack.epoch, []

    def short_of_memory(self):
        widths.append(len(self.lanes))
        if len(self.lanes) > 4 and self.lanes[0].epoch == 1:
            raise torch.OutOfMemoryError("injected")
        return whole(self)

    monkeypatch.setattr(mlp.MlpStack, "epoch", short_of_memory)
    assert_same_bits(run(Toy(), chosen, data), reference)
    assert max(widths) == 9
    assert widths[-1] <= 4


def test_members_that_stop_make_room_and_the_pack_shrinks(monkeypatch):
    data = [fold((2,), 150)] * 2
    chosen = cells(Toy(), 8, **{"train.epochs": 60})
    chosen = [Cell(c.config, c.fold, c.seed, 60, c.identity) for c in chosen]
    whole, widths = mlp.MlpStack.epoch, []

    def counting(self):
        widths.append(len(self.lanes))
        return whole(self)

    monkeypatch.setattr(mlp.MlpStack, "epoch", counting)
    found = run(Toy(), chosen, data, width=4)
    assert sum(widths) == sum(r.outcome.stop_epoch for r in found.values()), "nobody trains beyond its stop"
    assert max(widths) == 4
    assert widths[0] == 4
    assert widths == sorted(widths, reverse=True), "waiting cells take the places of stopped ones"


@pytest.mark.parametrize(("kind", "fills", "alone"), [("convolution", 1, 4), ("convolution", 10**9, 0), ("odd widths", 1, 0)])
def test_only_convolutions_that_fill_a_core_train_alone_and_to_the_same_bits_in_any_pack(monkeypatch, kind, fills, alone):
    monkeypatch.setattr(kernels, "FILLS_A_CORE", fills)
    chosen = cells(Network(), 4, **{"model.kind": kind})
    data, said = [fold((2, 5, 5), 90), fold((2, 5, 5), 90, seed=1)], []
    several = run(Network(), chosen, data, explain=lambda cell, why: said.append(why))
    assert len([why for why in said if "fills a core" in why]) == alone
    assert_same_bits(run(Network(), chosen[1:2], data), {chosen[1].key: several[chosen[1].key]})


def test_what_a_step_keeps_grows_with_its_batch_and_leaves_the_network_as_it_was():
    data, held = fold((2, 5, 5), 90), []
    for size in (10, 20):
        (cell,) = cells(Network(), 1, **{"train.batch_size": size})
        lane = Lane.of(cell, FoldTensors.of(data, cell.config, torch.device("cpu")), 3)
        model = build_model(lane, Network(), 3)
        before = {n: t.clone() for n, t in model.state_dict().items()}
        held.append(kernels._held(Network(), lane, model))
        assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    # Pictures, what the convolution gives (for the norm), its rectified and flat form (for the linear layer) at least.
    assert held[1] - held[0] >= 10 * 4 * (50 + 27 + 27)
