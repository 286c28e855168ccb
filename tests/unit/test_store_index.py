"""The index of a store with many landings: the same answers, and nothing lost where it is old, damaged or forbidden."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from raresearch.store import index
from raresearch.store.records import CellRecord
from raresearch.store.store import FEW, Store
from raresearch.types import Cell, Outcome

CELLS = FEW + 20


def record(seed: int, loss: float = 0.5) -> CellRecord:
    cell = Cell({"model.hidden": seed % 3}, 0, seed, 4, {"data": "x"})
    losses = {"val_loss": np.arange(4.0) + seed + loss - 0.5}
    return CellRecord(cell, Outcome(cell.key, "done", 4, 2, loss), losses, validation_events="v")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = Store.create(tmp_path / "run", "it", {})
    for seed in range(CELLS):
        store.land([record(seed)])
    return tmp_path / "run"


def answers(root: Path) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    store = Store.open(root)
    return store.cells().to_pylist(), store.epochs().to_pylist()


def test_with_and_without_the_index_the_answers_are_the_same(root: Path) -> None:
    before = answers(root)
    assert len(before[0]) == CELLS
    Store.open(root).index()
    assert {p.name for p in (root / "index").iterdir()} == {"cells.parquet", "epochs.parquet"}
    assert answers(root) == before


def test_what_landed_after_the_index_is_there_and_the_index_is_not_read_again(root: Path, monkeypatch) -> None:
    Store.open(root).index()
    Store.open(root).land([record(CELLS)])
    opened: list[str] = []
    read = index.landed

    def counted(path: Path, kind: str):
        opened.append(path.name)
        return read(path, kind)

    monkeypatch.setattr(index, "landed", counted)
    assert len(Store.open(root).cells()) == CELLS + 1
    assert len(opened) == 1, "only the new landing is read by itself"


def test_a_landing_that_was_removed_is_gone_though_the_index_names_it(root: Path) -> None:
    Store.open(root).index()
    store = Store.open(root)
    gone = store.landings()[3]
    key = next(row["cell"] for row in store.cells().to_pylist() if row["landing"] == gone.name)
    shutil.rmtree(gone)
    assert not Store.open(root).landed(key)
    cells, epochs = answers(root)
    assert (len(cells), len(epochs)) == (CELLS - 1, 4 * (CELLS - 1))


def test_a_cell_that_was_removed_and_trained_again_is_the_new_one_though_the_index_has_the_old(root: Path) -> None:
    Store.open(root).index()
    before = Store.open(root)
    gone = next(row for row in before.cells().to_pylist() if row["seed"] == 5)
    shutil.rmtree(root / "cells" / gone["landing"])
    Store.open(root).land([record(5, loss=7.5)])  # other bits: another machine, another torch
    cells, epochs = answers(root)
    (now,) = (row for row in cells if row["seed"] == 5)
    assert now["landing"] == gone["landing"], "it lands under the same name"
    assert now["best_val_loss"] == 7.5
    assert [row["val_loss"] for row in epochs if row["seed"] == 5] == [12.0, 13.0, 14.0, 15.0]
    assert len(cells) == CELLS


def test_an_index_without_marks_is_as_none(root: Path) -> None:
    before = answers(root)
    Store.open(root).index()
    for path in (root / "index").iterdir():
        table = pq.ParquetFile(path).read()
        assert table.schema.metadata
        pq.write_table(table.replace_schema_metadata(None).slice(0, 3), path)
    assert answers(root) == before


def test_a_damaged_index_is_as_none(root: Path) -> None:
    before = answers(root)
    Store.open(root).index()
    for path in (root / "index").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert answers(root) == before


def test_a_folder_that_cannot_be_written_is_read_all_the_same(root: Path) -> None:
    (root / "index").write_text("a file where the folder would be")
    Store.open(root).index()
    assert len(answers(root)[0]) == CELLS
