"""A member of a pack is what the same cell is alone: held against the plain loop of `training.single`."""

import numpy as np
import pytest
import torch
from torch import nn

from raresearch.experiment import Experiment, parameters
from raresearch.testing.toy import Toy
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep
from raresearch.training.single import train_cell
from raresearch.types import Cell

RATES = (1e-3, 1e-2, 5e-3)


class Images(Experiment):
    """A small convolutional network with batch normalisation and dropout of channels and of elements."""

    name = "images"
    defaults = {"model.dropout": 0.25}  # noqa: RUF012

    def model(self, config):
        p = config["model.dropout"]
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout2d(p),
            nn.Flatten(),
            nn.Linear(36, 7),
            nn.Tanh(),
            nn.Dropout(p),
            nn.Linear(7, 1),
        )


def events(n, shape, seed, sealed=False, spectators=0.0):
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.5).astype(np.int8)
    signal = label.reshape(-1, *[1] * len(shape))
    x = (rng.normal(size=(n, *shape)) + 0.7 * signal).astype(np.float32)
    label[rng.random(n) < spectators] = -1
    name = "point" if len(shape) == 1 else "image"
    return Sample({name: x}, None if sealed else label, None if sealed else rng.uniform(0.5, 1.5, n))


def fold(shape, n=165, seed=0):
    validation = events(90, shape, seed + 1, spectators=0.1)
    return FoldData(events(n, shape, seed), validation, events(70, shape, seed + 2, sealed=True), f"v{seed}", "t")


def cells(experiment, count, epochs=5, **values):
    config = {**parameters(experiment), "train.epochs": epochs, "train.precision": "float64", **values}
    return [
        Cell({**config, "train.learning_rate": RATES[s % 3]}, s % 2, s, epochs, {"data": "d", "experiment": experiment.name})
        for s in range(count)
    ]


def packed(experiment, chosen, data, **limits):
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
    return [found[c.key] for c in chosen]


def alone(experiment, chosen, data):
    return [train_cell(c, experiment, data[c.fold], 3, Keep(), lambda cell, epoch: None) for c in chosen]


def assert_agree(ours, reference, tolerance=1e-9):
    for mine, theirs in zip(ours, reference, strict=True):
        assert mine.outcome.state == theirs.outcome.state == "done"
        assert mine.outcome.stop_epoch == theirs.outcome.stop_epoch
        assert mine.outcome.best_epoch == theirs.outcome.best_epoch
        for column, values in theirs.epochs.items():
            np.testing.assert_allclose(mine.epochs[column], values, atol=tolerance, rtol=0, err_msg=column)
        for name, (epochs, logits) in theirs.scores.items():
            assert np.array_equal(mine.scores[name][0], epochs)
            np.testing.assert_allclose(mine.scores[name][1], logits, atol=1e-5, err_msg=name)  # kept in float32


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"model.dropout": 0.3},
        {"train.optimizer": "adamw", "train.weight_decay": 0.1},
        {"train.optimizer": "sgd", "train.weight_decay": 0.01},
        {"train.optimizer": "rmsprop", "train.weight_decay": 0.01},
        {"train.scaling": "standard", "train.batch_size": 50},
    ],
    ids=lambda v: ",".join(f"{k}={x}" for k, x in v.items()) or "plain",
)
def test_perceptrons_of_a_pack_are_those_trained_alone(values):
    experiment, data = Toy(), [fold((2,)), fold((2,), n=160, seed=9)]
    chosen = cells(experiment, 6, **{"model.hidden": (8, 5), **values})
    assert_agree(packed(experiment, chosen, data), alone(experiment, chosen, data))


def test_convolutional_networks_of_a_pack_are_those_trained_alone():
    experiment, data = Images(), [fold((2, 6, 6))] * 2
    chosen = cells(experiment, 4)
    assert_agree(packed(experiment, chosen, data), alone(experiment, chosen, data))


def test_members_stop_at_the_epoch_at_which_they_would_stop_alone():
    experiment, data = Toy(), [fold((2,))] * 2
    chosen = cells(experiment, 7, epochs=40, **{"train.patience": 2})
    records = packed(experiment, chosen, data, width=3)
    assert_agree(records, alone(experiment, chosen, data))
    assert len({r.outcome.stop_epoch for r in records}) > 2, "this must be a test of stragglers"


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.LeakyReLU(0.1), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.SiLU()], ids=lambda a: type(a).__name__
)
def test_the_backward_pass_written_out_is_autograds(activation):
    class Net(Toy):
        def model(self, config):
            return nn.Sequential(nn.Linear(2, 6), activation, nn.Dropout(0.2), nn.Linear(6, 5), activation, nn.Linear(5, 1))

    data = [fold((2,))] * 2
    chosen = cells(Net(), 3, epochs=2)
    assert_agree(packed(Net(), chosen, data), alone(Net(), chosen, data), tolerance=1e-12)


def test_a_random_augmentation_draws_what_it_would_draw_alone():
    class Shaken(Toy):
        def augment(self, inputs, config):
            return {n: t + 0.1 * torch.randn_like(t) for n, t in inputs.items()}

    data = [fold((2,))] * 2
    chosen = cells(Shaken(), 3, epochs=2)
    assert_agree(packed(Shaken(), chosen, data), alone(Shaken(), chosen, data))
