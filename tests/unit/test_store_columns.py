"""Reading a large store: columns without pandas, owners of rows by number, and what `watch` remembers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raresearch.api.watching import Watcher
from raresearch.ensembles.evaluation import ScoreReader
from raresearch.store import columns, values
from raresearch.store.store import Store, _owners

ALONE = """
import sys
from raresearch.store.columns import mask, places, unpacked, words
import pyarrow as pa
table = pa.Table.from_batches([], pa.schema([("a", pa.string())]))
a = words(["x", "y", "Ξ"])
n = places([2, 0])
assert a.take(n).to_pylist() == ["Ξ", "x"] and a.filter(mask([False, True, False])).to_pylist() == ["y"]
assert unpacked(n).tolist() == [2, 0]
assert "pandas" not in sys.modules, "pandas was imported"
"""


def test_columns_are_made_and_read_without_pandas():
    ran = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert not ran.returncode, ran.stderr


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "float32", "float64"])
def test_unpacked_numbers_are_those_that_arrow_gives(dtype):
    made = pa.array(np.arange(9, dtype=dtype))
    for column in (made, made[3:7], made[:0], pa.chunked_array([made[2:]]), pa.chunked_array([made[:4], made[4:]])):
        found = columns.unpacked(column)
        expected = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_missing_number_is_no_number():
    assert np.isnan(columns.unpacked(pa.array([1.0, None]))).tolist() == [False, True]


def test_owners_are_those_that_a_search_of_every_pair_finds():
    rng = np.random.default_rng(5)
    cells = pa.table({"cell": [f"c{n}" for n in range(20)], "landing": [f"l{n % 7}" for n in range(20)]})
    rows = pa.table(
        {"cell": [f"c{n}" for n in rng.integers(0, 25, 300)], "landing": [f"l{n}" for n in rng.integers(0, 9, 300)]}
    )
    pairs = list(zip(cells["cell"].to_pylist(), cells["landing"].to_pylist(), strict=True))
    mine = zip(rows["cell"].to_pylist(), rows["landing"].to_pylist(), strict=True)
    slow = [pairs.index(pair) if pair in pairs else -1 for pair in mine]
    assert -1 in slow
    assert max(slow) > 0
    assert _owners(cells, rows).tolist() == slow


def test_a_file_among_the_landings_and_a_missing_folder_are_no_landings(tmp_path):
    (tmp_path / "cells" / "b").mkdir(parents=True)
    (tmp_path / "cells" / "a").mkdir()
    (tmp_path / "cells" / "note.txt").write_text("")
    assert Store(tmp_path).landings() == [tmp_path / "cells" / "a", tmp_path / "cells" / "b"]
    assert Store(tmp_path / "nothing").landings() == []


def test_values_are_remembered_for_the_same_question_alone(tmp_path):
    values.remember(tmp_path, "auc of the best epoch", {"a": 0.5})
    assert values.remembered(tmp_path, "auc of the best epoch") == {"a": 0.5}
    assert values.remembered(tmp_path, "auc of the last epoch") == {}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"asked": "q"}', '{"asked": "q", "values": [1]}', '{"asked": "q", "values": {"a": "x"}}']
)
def test_damaged_remembered_values_are_none(tmp_path, content):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / values.FILE).write_text(content)
    assert values.remembered(tmp_path, "q") == {}


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    import raresearch as rs

    folder = tmp_path_factory.mktemp("watched")
    (folder / "s.yaml").write_text(
        "study: s\nexperiment: toy\nfixed: {data.events: 300, train.epochs: 2}\n"
        "space: {train.learning_rate: {choice: [0.01, 0.001]}}\nrepeats: 2\nobjective: roc_auc\nexecution: {backend: local}\n"
    )
    rs.run(folder / "s.yaml", out=folder / "run")
    return folder / "run"


def test_a_second_terminal_shows_what_the_first_evaluated_without_reading_scores(ran, monkeypatch):
    monkeypatch.setattr("raresearch.api.watching.LEAST", 2)
    first = Watcher(ran).look()
    kept = json.loads((ran / "index" / values.FILE).read_text())["values"]
    assert len(kept) == 4

    def refused(*_):
        raise AssertionError("the scores were read again")

    monkeypatch.setattr("raresearch.ensembles.evaluation.ScoreReader.values", refused)
    assert Watcher(ran).look().leaders == first.leaders


@pytest.fixture
def asked(ran, monkeypatch):
    """How many ensembles were evaluated, look by look; everything is remembered from one look before."""
    monkeypatch.setattr("raresearch.api.watching.LEAST", 1)
    Watcher(ran).look()
    found, values_of = [], ScoreReader.values
    monkeypatch.setattr(
        ScoreReader, "values", lambda self, chosen, fom: found.append(len(chosen)) or values_of(self, chosen, fom)
    )
    return found


def test_what_was_remembered_under_other_code_is_evaluated_again(ran, asked, monkeypatch):
    Watcher(ran).look()
    assert asked == []
    monkeypatch.setattr("raresearch.report.inputs.code", lambda: "another")
    Watcher(ran).look()
    assert asked == [4]


def test_the_value_of_a_cell_that_landed_again_is_not_remembered(ran, asked):
    again = next((ran / "cells").iterdir()) / "cells.parquet"
    inside = len(pq.ParquetFile(again).read())
    again.write_bytes(again.read_bytes())
    Watcher(ran).look()
    assert asked == [inside]
