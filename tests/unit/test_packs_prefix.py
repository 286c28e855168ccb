"""An axis of budgets is read off one training, bit for bit what trainings of those budgets would be."""

import numpy as np
import pytest
import torch

from raresearch.experiment import parameters
from raresearch.planner import shorter_budgets
from raresearch.testing.toy import Toy
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep
from raresearch.types import Cell

BUDGETS = (2, 3, 5, 6)


def fold():
    rng = np.random.default_rng(0)

    def sample(n, sealed=False):
        label = (rng.random(n) < 0.5).astype(np.int8)
        x = (rng.normal(size=(n, 2)) + label[:, None]).astype(np.float32)
        return Sample({"point": x}, None if sealed else label, None if sealed else np.ones(n))

    return FoldData(sample(100), sample(60), sample(50, sealed=True), "v", "t")


DATA = fold()


def cells(experiment, seeds=3, **values):
    config = {**parameters(experiment), "train.learning_rate": 0.05, **values}
    return [Cell({**config, "train.epochs": e}, 0, s, e, {"data": "d"}) for s in range(seeds) for e in BUDGETS]


def run(experiment, chosen, shorter=None):
    found, trained = {}, []
    work = Work(
        experiment=experiment,
        study_seed=3,
        keep=Keep(),
        data=lambda cell: DATA,
        land=lambda records: found.update({r.cell.key: r for r in records}),
        report=lambda cell, epoch: trained.append((cell.key, epoch)),
        memory=1 << 30,
    )
    train_pack(chosen, work, shorter)
    return found, trained


def read_off(experiment, chosen):
    return run(experiment, *shorter_budgets(chosen))


@pytest.mark.parametrize("values", [{}, {"train.patience": 1}, {"model.dropout": 0.3}], ids=str)
def test_every_budget_is_the_training_that_stops_there(values):
    chosen = cells(Toy(), **values)
    together, trained = read_off(Toy(), chosen)
    assert len({key for key, _ in trained}) == 3, "one training a seed"
    for cell in chosen:
        apart = run(Toy(), [cell])[0][cell.key]
        mine = together[cell.key]
        assert mine.cell.epochs == cell.epochs
        assert mine.outcome.stop_epoch == apart.outcome.stop_epoch <= cell.epochs
        assert mine.outcome.best_epoch == apart.outcome.best_epoch
        assert mine.outcome.best_val_loss == apart.outcome.best_val_loss
        for column, series in apart.epochs.items():
            assert np.array_equal(mine.epochs[column], series)
        for name, (epochs, logits) in apart.scores.items():
            assert np.array_equal(mine.scores[name][0], epochs)
            assert np.array_equal(mine.scores[name][1], logits)
        assert set(mine.weights) == set(apart.weights) == {mine.outcome.best_epoch}
        for name, array in apart.weights[apart.outcome.best_epoch].items():
            assert np.array_equal(mine.weights[mine.outcome.best_epoch][name], array)


class Scheduled(Toy):
    """Its loss depends on the budget, as a schedule of the learning rate would."""

    def loss(self, output, batch, config):
        return super().loss(output, batch, config) * (1.0 / config["train.epochs"])


def test_a_training_that_knows_its_budget_is_not_read_off_another():
    chosen = cells(Scheduled(), 1)
    together, trained = read_off(Scheduled(), chosen)
    assert len({key for key, _ in trained}) == len(BUDGETS), "each is trained"
    for cell in chosen:
        assert np.array_equal(together[cell.key].epochs["val_loss"], run(Scheduled(), [cell])[0][cell.key].epochs["val_loss"])


def test_a_failure_after_a_budget_leaves_that_budget_done():
    class Late(Toy):
        def logit(self, output, config):
            logit = super().logit(output, config)
            return torch.where(logit.abs() > 5.0, torch.nan, logit)  # passed by the fourth epoch

    chosen = cells(Late(), 1)
    found, _ = read_off(Late(), chosen)
    apart = {c.key: run(Late(), [c])[0][c.key].outcome for c in chosen}
    assert {k: r.outcome.state for k, r in found.items()} == {k: o.state for k, o in apart.items()}
    assert {o.state for o in apart.values()} == {"done", "failed"}
