"""The store: what lands is there whole, what has not landed is not there at all."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raresearch.errors import StoreError
from raresearch.store.files import write_atomic
from raresearch.store.lease import lease, only_driver
from raresearch.store.ledger import append_ledger, read_ledger
from raresearch.store.records import CellRecord
from raresearch.store.store import Store
from raresearch.types import Cell, Outcome

IDENTITY = {"experiment": "toy", "version": "1", "data": "d", "folds": 1, "study_seed": 0}


def make_cell(seed=0, width=8, fold=0):
    return Cell({"model.hidden": (width,), "train.epochs": 5}, fold, seed, 5, IDENTITY)


def record(cell, epochs=3, state="done", events=7):
    rng = np.random.default_rng(cell.seed)
    if state == "failed":
        return CellRecord(cell, Outcome(cell.key, "failed", error="it burnt"))
    losses = rng.random(epochs)
    return CellRecord(
        cell=cell,
        outcome=Outcome(cell.key, "done", epochs, int(np.argmin(losses)) + 1, float(losses.min()), 0.5),
        epochs={"train_loss": losses + 0.1, "val_loss": losses, "val_accuracy": 1 - losses},
        scores={"d-validation": (np.arange(1, epochs + 1), rng.normal(size=(epochs, events)).astype(np.float32))},
        weights={2: {"layer.weight": rng.normal(size=(2, 3)).astype(np.float32)}},
        validation_events="d-validation",
        test_events="d-test",
    )


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "run", "identity", {"study": "toy"})


def test_what_lands_comes_back_bit_for_bit(store):
    records = [record(make_cell(s)) for s in range(3)]
    store.land(records)
    fresh = Store.open(store.root)
    assert fresh.outcomes() == {r.cell.key: r.outcome for r in records}
    epochs = fresh.epochs()
    landing = fresh.landings()[0].name
    keys, numbers, matrix = fresh.scores(landing, "d-validation")
    for r in records:
        mine = epochs.filter(pa.compute.equal(epochs["cell"], r.cell.key))
        assert mine["epoch"].to_pylist() == [1, 2, 3]
        np.testing.assert_array_equal(mine["val_loss"].to_numpy(), r.epochs["val_loss"])
        np.testing.assert_array_equal(matrix[keys == r.cell.key], r.scores["d-validation"][1])
        np.testing.assert_array_equal(fresh.weights(landing, r.cell.key, 2)["layer.weight"], r.weights[2]["layer.weight"])
    assert numbers.tolist() == [1, 2, 3] * 3


def test_the_order_of_landing_does_not_change_the_tables(tmp_path):
    records = [record(make_cell(s, w)) for s in range(3) for w in (8, 16)]
    one, other = (Store.create(tmp_path / n, "i", {}) for n in ("one", "other"))
    one.land(records)
    for r in reversed(records):
        other.land([r])
    assert one.epochs().equals(other.epochs())
    assert one.cells().drop_columns(["landing"]).equals(other.cells().drop_columns(["landing"]))


def test_landing_the_same_cell_twice_keeps_one(store):
    store.land([record(make_cell())])
    store.land([record(make_cell())])
    store.land([record(make_cell()), record(make_cell(1))])
    assert store.cells().num_rows == 2
    assert store.epochs().num_rows == 6


def test_a_retried_cell_counts_as_done(store):
    store.land([record(make_cell(), state="failed")])
    assert store.outcomes()[make_cell().key].state == "failed"
    assert not store.landed(make_cell().key)
    store.land([record(make_cell())])
    assert store.outcomes()[make_cell().key].state == "done"
    assert store.landed(make_cell().key)


def test_a_landing_that_fails_half_way_leaves_nothing(store):
    bad = record(make_cell())
    ragged = CellRecord(**{**bad.__dict__, "weights": {1: {"w": np.asarray(["no array of numbers"])}}})
    with pytest.raises(Exception):  # noqa: B017, PT011 -- whatever the library raises, nothing may remain
        store.land([ragged])
    assert store.landings() == []
    assert not list((store.root / ".tmp").iterdir())


def test_a_folder_of_another_study_is_refused(store):
    with pytest.raises(StoreError, match="another study"):
        Store.create(store.root, "another identity", {})


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        Store.create(tmp_path, "i", {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no study here"):
        Store.open(tmp_path)


def test_a_damaged_landing_is_named(store):
    store.land([record(make_cell())])
    path = store.landings()[0] / "cells.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"cells\.parquet.*damaged"):
        Store.open(store.root).cells()


def test_scores_that_were_not_kept_say_so(store):
    store.land([record(make_cell())])
    with pytest.raises(StoreError, match="not kept"):
        store.scores(store.landings()[0].name, "d-test")
    with pytest.raises(StoreError, match="not kept"):
        store.weights(store.landings()[0].name, make_cell().key, 1)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write(p):
        p.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomic(path, write)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def _hold(path, key, ready, seconds):
    with lease(path, key, lambda: False):
        ready.set()
        time.sleep(seconds)


def test_a_lease_is_held_by_one_process_and_dies_with_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    path, key = tmp_path / "leases", "a" * 24
    holder = context.Process(target=_hold, args=(path, key, ready, 600))
    holder.start()
    assert ready.wait(30)
    asked = []
    with lease(path, key, lambda: bool(asked.append(1)) or len(asked) > 3, poll=0.01) as ours:
        assert not ours, "another process holds it"
    with lease(path, "b" * 24, lambda: False) as ours:
        assert ours, "another key is free"
    os.kill(holder.pid, 9)
    holder.join()
    with lease(path, key, lambda: False) as ours:
        assert ours, "the operating system dropped the dead process's lease"


def _drive(path, ready, done):
    with only_driver(path) as alone:
        assert alone
        ready.set()
        done.wait(60)


def test_only_one_driver_at_a_time(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_drive, args=(tmp_path / "lock", ready, done))
    other.start()
    assert ready.wait(30)
    with only_driver(tmp_path / "lock") as alone:
        assert not alone
    done.set()
    other.join()
    with only_driver(tmp_path / "lock") as alone:
        assert alone


def test_the_ledger_is_a_chain_that_shows_tampering(tmp_path):
    first = append_ledger(tmp_path, {"reason": "one"})
    second = append_ledger(tmp_path, {"reason": "two"})
    assert second["previous"] == first["hash"]
    assert [e["reason"] for e in read_ledger(tmp_path)] == ["one", "two"]
    path = Path(tmp_path / "ledger.jsonl")
    for change in (lambda t: t.replace("one", "own"), lambda t: t.split("\n", 1)[1], lambda t: t[:-20]):
        text = path.read_text()
        path.write_text(change(text))
        with pytest.raises(StoreError, match="altered"):
            read_ledger(tmp_path)
        path.write_text(text)
    assert len(read_ledger(tmp_path)) == 2
