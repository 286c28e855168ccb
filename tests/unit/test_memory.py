"""What a training takes of memory: measured where it had its worker to itself, unknown elsewhere, and never part of a result."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from raresearch.experiment import Experiment, parameters
from raresearch.store.records import CellRecord
from raresearch.store.store import Store
from raresearch.training import memory
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep
from raresearch.types import Cell, Outcome

MIB = 2**20
WIDE = 1024


class Wide(Experiment):
    """A layer of `WIDE` numbers for each event of a batch."""

    name = "wide"

    def model(self, config):
        return nn.Sequential(nn.Linear(2, WIDE), nn.ReLU(), nn.Linear(WIDE, 1))


def data(events=4096):
    rng = np.random.default_rng(1)

    def sample(n, sealed=False):
        label = None if sealed else (rng.random(n) < 0.5).astype(np.int8)
        return Sample({"x": rng.normal(size=(n, 2)).astype(np.float32)}, label, None if sealed else np.ones(n))

    return FoldData(sample(events), sample(64), sample(64, sealed=True), "v", "t")


def cell(seed=0, **values):
    config = {**parameters(Wide()), "train.epochs": 1, "train.batch_size": 256, **values}
    return Cell(config, 0, seed, 1, {"data": "d"})


def memories(cells):
    records = {}
    train_pack(
        cells,
        Work(
            experiment=Wide(),
            study_seed=3,
            keep=Keep(),
            data=lambda cell: data(),
            land=lambda found: records.update({r.cell.key: r for r in found}),
            report=lambda cell, epoch: None,
            memory=1 << 30,
        ),
    )
    assert all(r.outcome.state == "done" for r in records.values()), [r.outcome.error for r in records.values()]
    return [records[c.key].memory for c in cells]


def of_batches():
    """What trainings in turn took, in a worker that keeps freed memory: of batches of 4096, 256, 4096 and 4096 events."""
    from raresearch.execution.allocator import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    sizes = (4096, 256, 4096, 4096)
    print(json.dumps(memories([cell(n, **{"train.batch_size": b, "train.micro_batches": 2}) for n, b in enumerate(sizes)])))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system does not say")
def test_larger_batches_take_more_memory_and_the_trainings_before_hide_none_of_it():
    # A process of its own, where nothing else allocates.
    out = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    first, small, second, third = json.loads(out.stdout)
    layer = 2048 * WIDE * 4  # of one piece: what goes into the activation and comes out of it is held for the gradient
    assert min(first, second, third) > 2 * layer
    assert max(first, second, third) < 16 * layer, "and little else: not what torch itself takes"
    assert small < 2 * layer


def test_a_training_with_the_worker_to_itself_is_measured_and_those_of_a_pack_are_not():
    (alone,) = memories([cell()])
    assert alone is not None
    assert alone > 0
    assert memories([cell(0), cell(1)]) == [None, None]
    in_turn = memories([cell(n, **{"train.micro_batches": 2}) for n in range(2)])
    assert all(each is not None for each in in_turn)


def test_where_the_system_does_not_say_a_peak_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    assert memory.gauge(torch.device("cpu"))() is None


def landed(store, seed, memory):
    one = Cell({"train.epochs": 1}, 0, seed, 1, {"data": "d"})
    store.land([CellRecord(one, Outcome(one.key, "done", 1, 1, 0.5, 2.0), {"val_loss": np.array([0.5])}, memory=memory)])
    return one.key


def test_stores_from_before_it_was_measured_open_and_take_further_cells(tmp_path):
    store = Store.create(tmp_path / "run", "identity", {"study": "toy"})
    old = landed(store, 0, None)
    (folder,) = store.landings()
    before = pq.read_table(folder / "cells.parquet").drop_columns(["memory"])
    pq.write_table(before, folder / "cells.parquet")
    opened = Store.open(tmp_path / "run")
    assert opened.cells()["memory"].to_pylist() == [None]
    new = landed(opened, 1, 3.0 * MIB)
    assert dict(zip(*(opened.cells()[n].to_pylist() for n in ("cell", "memory")), strict=True)) == {old: None, new: 3.0 * MIB}
    assert opened.outcomes().keys() == {old, new}


if __name__ == "__main__":
    of_batches()
