"""NEWSnet in the trainer: it trains alone, and neither neighbours nor a repeat change its last bit."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.experiment import parameters
from raresearch.experiments.newsdm.experiment import NEWSdm
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep
from raresearch.types import Cell

NEWSDM = NEWSdm()
TINY = {
    "model.binning": 4,
    "model.stem": (2, 2),
    "model.filters_first": 2,
    "model.filters_second": 2,
    "model.shortcuts": 0,
    "train.epochs": 2,
    "train.batch_size": 16,
}


@pytest.fixture(scope="module")
def fold():
    def sample(seed, n):
        events = NEWSDM.simulate({}, np.random.default_rng(seed), n)
        label = NEWSDM.schema().labels(events["class"])
        return Sample({"frames": events["frames"], "beam": events["beam"]}, label, np.ones(n))

    return FoldData(sample(1, 40), sample(2, 24), Sample(dict(sample(3, 12).inputs)), "v", "t")


def cells(count, **more):
    config = {**parameters(NEWSDM), **TINY, **more}
    return [Cell(config, 0, seed, 2, {"data": "d"}) for seed in range(count)]


def trained(chosen, fold, why=None):
    found = {}
    train_pack(
        chosen,
        Work(
            experiment=NEWSDM,
            study_seed=3,
            keep=Keep(),
            data=lambda cell: fold,
            land=lambda records: found.update({r.cell.key: r for r in records}),
            report=lambda cell, epoch: None,
            memory=1 << 30,
            explain=lambda cell, reason: (why if why is not None else []).append(reason),
        ),
    )
    return {key: record.epochs["train_loss"].tolist() for key, record in found.items()}


def test_it_trains_alone_and_says_why(fold):
    why = []
    assert len(trained(cells(2), fold, why)) == 2
    assert set(why) == {"the experiment brings its own optimiser"}


def test_neighbours_and_repeats_change_nothing(fold):
    first, second = cells(2)
    together = trained([first, second], fold)
    turned = trained([second, first], fold)
    alone = trained([second], fold) | trained([first], fold)
    assert together == turned == alone
    assert together[first.key] != together[second.key]


def test_angles_come_from_the_cell_s_own_stream(fold):
    # with rotations drawn from elsewhere two runs of one cell would differ
    (cell,) = cells(1)
    assert trained([cell], fold) == trained([cell], fold)
