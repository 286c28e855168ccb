"""What comes from a store, a checkpoint or a YAML file is data: none of it runs, none of it leads out of its folder."""

import ast
import io
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raresearch as rs
from raresearch.errors import SpecError, StoreError, UserError
from raresearch.spec import load
from raresearch.store.store import Store

STUDY = """
study: safe
experiment: toy
seed: 2
fixed: {data.events: 400, train.epochs: 2, train.batch_size: 64, model.hidden: [3]}
space: {train.learning_rate: {choice: [0.01]}}
repeats: 2
objective: roc_auc
selection: {last_k: {k: 1}}
keep: {weights: kept}
execution: {backend: local}
"""
PACKAGE = Path(rs.__file__).parent


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "something was executed"


def test_the_bomb_would_go_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


@pytest.fixture
def study(tmp_path):
    (tmp_path / "safe.yaml").write_text(STUDY)
    return rs.run(tmp_path / "safe.yaml", out=tmp_path / "run")


def landing(study, name):
    return next(study.folder.glob(f"cells/*/{name}"))


@pytest.mark.parametrize("name", ["weights.safetensors", "scores-*-validation*.arrow", "cells.parquet", "epochs.parquet"])
def test_a_pickle_in_place_of_a_stored_file_is_refused_and_never_runs(study, canary, name):
    row = study.cells().to_pylist()[0]
    events = row["validation_events"]
    path = study.folder / "cells" / row["landing"] / (f"scores-{events}.arrow" if "scores" in name else name)
    assert path.is_file(), name
    path.write_bytes(pickle.dumps(Bomb(canary)))
    store = Store.open(study.folder)

    def read():
        store.cells()
        store.epochs()
        store.scores(row["landing"], events)
        store.weights(row["landing"], row["cell"], 2)

    with pytest.raises(StoreError, match="damaged"):
        read()


def test_object_columns_and_pickled_arrays_are_refused(tmp_path, canary):
    content = io.BytesIO()
    np.savez(content, x=np.array([Bomb(canary)], dtype=object))
    (tmp_path / "events.npz").write_bytes(content.getvalue())
    (tmp_path / "schema.yaml").write_text(
        "classes: [b, s]\nsignal: [s]\nbackground: [b]\nclass: {column: x, values: {b: 0, s: 1}}\n"
        "tensors: {f: {columns: [x]}}\n"
    )
    line = ["ingest", tmp_path / "events.npz", "--schema", tmp_path / "schema.yaml", "--out", tmp_path / "out"]
    out = subprocess.run([sys.executable, "-m", "raresearch.cli", *map(str, line)], capture_output=True, text=True, check=False)
    assert out.returncode == 2, out.stdout + out.stderr


def test_python_in_parquet_metadata_stays_bytes(study, canary):
    path = landing(study, "cells.parquet")
    table = pq.ParquetFile(path).read()
    bomb = {b"ARROW:extension:metadata": pickle.dumps(Bomb(canary)), b"ARROW:extension:name": b"ray.data.arrow_pickled_object"}
    fields = [field.with_metadata(bomb) if field.name == "error" else field for field in table.schema]
    pq.write_table(table.cast(pa.schema(fields)), path)
    Store.open(study.folder).cells()


@pytest.mark.parametrize(
    "text",
    [
        "study: !!python/object/apply:os.system ['touch CANARY']\nexperiment: toy\n",
        "study: safe\nexperiment: !!python/name:os.system\n",
        "study: safe\nexperiment: toy\nfixed: !!python/object/new:os.system ['touch CANARY']\n",
        "study: safe\nexperiment: toy\nseed: !!python/object/apply:subprocess.call [['touch', 'CANARY']]\n",
    ],
)
def test_yaml_tags_are_refused(tmp_path, canary, text):
    (tmp_path / "evil.yaml").write_text(text.replace("CANARY", str(canary)))
    with pytest.raises(SpecError):
        load(tmp_path / "evil.yaml")


@pytest.mark.parametrize("name", ["../out", "a/b", "/etc", "..", "a\\b", "~root", "a b", "$(touch x)"])
def test_names_that_become_paths_are_plain_words(tmp_path, name):
    for text in (
        f"study: {name!r}\nexperiment: toy\n",
        f"study: safe\nexperiment: toy\nstages: {{{name!r}: {{}}, refit: {{best: 1}}}}\n",
    ):
        (tmp_path / "evil.yaml").write_text(text)
        with pytest.raises(UserError):
            load(tmp_path / "evil.yaml")


def test_no_module_unpickles_or_evaluates():
    """The one `exec` runs a user's own experiment file, which is code. Pickles cross only between Ray's own processes and, the one
    `loads`, from a report to the encoders that it started: through their pipe, never from a file."""
    forbidden = {"pickle.load", "pickle.loads", "torch.load", "joblib.load", "eval", "marshal.loads", "yaml.load", "os.system"}
    found = []
    for path in PACKAGE.rglob("*.py"):
        if "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                pickled = any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in node.keywords)
                if name in forbidden or name == "exec" or pickled or (name.endswith(("load", "loads")) and "pickle" in name):
                    found.append(f"{path.relative_to(PACKAGE)}: {name}")
    assert sorted(found) == ["plugins.py: exec", "report/encoders.py: pickle.loads"]


def test_everything_that_a_run_leaves_obeys_the_umask(tmp_path):
    (tmp_path / "safe.yaml").write_text(STUDY)
    folder = tmp_path / "run"
    before = os.umask(0o077)
    try:
        study = rs.run(tmp_path / "safe.yaml", out=folder)
        study.select().unseal(reason="a test")
        study.report()
    finally:
        os.umask(before)
    paths = [folder, *folder.rglob("*")]
    assert len(paths) > 20
    readable = [p for p in paths if not p.is_symlink() and stat.S_IMODE(p.stat().st_mode) & 0o077]
    assert readable == []


def test_a_damaged_study_file_is_one_line(study):
    (study.folder / "study.json").write_bytes(pickle.dumps(1))
    with pytest.raises(StoreError, match="not readable as JSON"):
        rs.open(study.folder)
    (study.folder / "study.json").write_text("[1]")
    with pytest.raises(StoreError, match="not readable as JSON"):
        rs.open(study.folder)
