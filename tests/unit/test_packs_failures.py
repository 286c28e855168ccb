"""One member's misfortune is its own."""

import numpy as np
import pytest
import torch
from torch import nn

from raresearch.experiment import parameters
from raresearch.testing.toy import Toy
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep
from raresearch.types import Cell


def fold():
    rng = np.random.default_rng(0)

    def sample(n, sealed=False):
        label = (rng.random(n) < 0.5).astype(np.int8)
        x = (rng.normal(size=(n, 2)) + label[:, None]).astype(np.float32)
        return Sample({"point": x}, None if sealed else label, None if sealed else np.ones(n))

    return FoldData(sample(100), sample(60), sample(50, sealed=True), "v", "t")


def cells(experiment, rates, **values):
    config = {**parameters(experiment), "train.epochs": 3, **values}
    return [Cell({**config, "train.learning_rate": r}, 0, s, 3, {"data": "d"}) for s, r in enumerate(rates)]


def run(experiment, chosen, **limits):
    found, data = {}, fold()
    work = Work(
        experiment=experiment,
        study_seed=3,
        keep=Keep(),
        data=lambda cell: data,
        land=lambda records: found.update({r.cell.key: r for r in records}),
        report=lambda cell, epoch: None,
        memory=1 << 30,
        **limits,
    )
    train_pack(chosen, work)
    return [found[c.key] for c in chosen]


class Normalised(Toy):
    """Not a plain perceptron."""

    def model(self, config):
        return nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 1))


@pytest.mark.parametrize(("experiment", "optimizer"), [(Toy(), "adam"), (Normalised(), "sgd")])
def test_a_loss_that_is_not_finite_fails_its_member_alone(experiment, optimizer):
    good = cells(experiment, [1e-2, 1e-3], **{"train.optimizer": optimizer})
    (bad,) = cells(experiment, [1e38], **{"train.optimizer": optimizer})
    untouched = run(experiment, good)
    together = run(experiment, [good[0], bad, good[1]])
    assert together[1].outcome.state == "failed"
    assert "not finite" in together[1].outcome.error
    for mine, reference in zip((together[0], together[2]), untouched, strict=True):
        for name, (_, logits) in reference.scores.items():
            assert np.array_equal(mine.scores[name][1], logits)


class Moody(Toy):
    """Cannot be built for about half of the seeds."""

    def model(self, config):
        if torch.rand(()) < 0.5:
            raise ValueError("not today")
        return super().model(config)


def test_a_network_that_cannot_be_built_fails_its_cell_alone():
    records = run(Moody(), cells(Moody(), [1e-3] * 8), width=3)
    states = [r.outcome.state for r in records]
    assert set(states) == {"done", "failed"}
    assert all("not today" in r.outcome.error for r in records if r.outcome.state == "failed")


class Branching(Toy):
    """A network that looks at its numbers: vmap cannot follow it."""

    def model(self, config):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(2, 1)

            def forward(self, x):
                return self.layer(x) if x.sum() > 0 else -self.layer(x)

        return Net()


class Own(Toy):
    def optimizer(self, parameters, config):
        return torch.optim.SGD(parameters, 0.1)


@pytest.mark.parametrize("experiment", [Branching(), Own()])
def test_what_cannot_be_stacked_trains_alone(experiment):
    assert [r.outcome.state for r in run(experiment, cells(experiment, [1e-3] * 3))] == ["done"] * 3


class Raising(Toy):
    def loss(self, output, batch, config):
        raise KeyError("a loss of one's own")


def test_an_exception_of_a_users_loss_fails_the_cells_and_says_where():
    records = run(Raising(), cells(Raising(), [1e-3] * 2))
    assert [r.outcome.state for r in records] == ["failed", "failed"]
    assert "a loss of one's own" in records[0].outcome.error
    assert "test_packs_failures.py" in records[0].outcome.error


def test_what_is_not_a_lack_of_memory_is_not_taken_for_one(monkeypatch):
    from raresearch.training import mlp

    def broken(self):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(mlp.MlpStack, "epoch", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        run(Toy(), cells(Toy(), [1e-3] * 3))
