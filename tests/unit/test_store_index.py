"""The index of a store with many landings: the same answers, and nothing lost where it is old, damaged or forbidden."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from raresearch.errors import StoreError
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


def keys(root: Path) -> list[str]:
    return [str(row["cell"]) for row in Store.open(root).cells().to_pylist()]


def test_a_worker_that_begins_among_many_landings_reads_those_that_no_worker_before_it_has_read(
    root: Path, monkeypatch
) -> None:
    assert Store.open(root).landed_among([*keys(root), "f" * 24]) == set(keys(root))
    Store.open(root).land([record(CELLS)])
    opened: list[str] = []
    read = index.landed

    def counted(path: Path, kind: str):
        opened.append(kind)
        return read(path, kind)

    monkeypatch.setattr(index, "landed", counted)
    assert Store.open(root).landed_among([record(CELLS).cell.key, "f" * 24]) == {record(CELLS).cell.key}
    assert opened == ["done"], "only the new landing is read by itself"


def test_a_worker_does_not_take_a_cell_that_was_removed_for_done(root: Path) -> None:
    first, *others = keys(root)
    Store.open(root).landed_among([])
    row = next(row for row in Store.open(root).cells().to_pylist() if row["cell"] == first)
    shutil.rmtree(root / "cells" / row["landing"])
    assert Store.open(root).landed_among([first, *others]) == set(others)


@pytest.mark.parametrize(
    "damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"PAR1 no more"), lambda p: p.write_bytes(b"")]
)
def test_without_its_index_a_worker_reads_the_landings(damage, root: Path) -> None:
    Store.open(root).landed_among([])
    damage(root / "index" / "done.parquet")
    assert Store.open(root).landed_among(keys(root)) == set(keys(root))


def test_a_failed_cell_is_not_done_until_it_is(root: Path) -> None:
    failed = record(CELLS)
    worker = Store.open(root)
    Store.open(root).land([CellRecord(failed.cell, Outcome(failed.cell.key, "failed", error="NaN"))])
    assert worker.landed_among([failed.cell.key]) == set()
    Store.open(root).land([failed])
    assert worker.landed_among([failed.cell.key]) == {failed.cell.key}
    assert Store.open(root).landed_among([failed.cell.key]) == {failed.cell.key}


def test_news_are_what_landed_since_and_nothing_is_kept_of_them(root: Path) -> None:
    store = Store.open(root)
    assert store.news() == {}
    assert store.news() == {}
    new, failed = record(CELLS), record(CELLS + 1)
    Store.open(root).land([new, CellRecord(failed.cell, Outcome(failed.cell.key, "failed", error="NaN"))])
    Store.open(root).land([failed])
    found = store.news()
    assert {key: o.state for key, o in found.items()} == {new.cell.key: "done", failed.cell.key: "done"}
    assert found == {key: o for key, o in Store.open(root).outcomes().items() if key in found}
    assert store.news() == {}
    assert store._read == {}


def test_a_damaged_landing_is_named_once_and_the_next_news_come_all_the_same(root: Path) -> None:
    store = Store.open(root)
    store.news()
    (root / "cells" / "broken").mkdir()
    (root / "cells" / "broken" / "cells.parquet").write_text("no Parquet")
    with pytest.raises(StoreError, match="broken"):
        store.news()
    Store.open(root).land([record(CELLS)])
    assert list(store.news()) == [record(CELLS).cell.key]
