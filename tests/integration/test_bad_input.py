"""Bad input: exit status 2, one line that names the place and the remedy, nothing half-written."""

import os
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raresearch.cli import main

STUDY = """
study: mine
experiment: EXPERIMENT
seed: 1
fixed: {data.events: 400, train.epochs: 1}
space:
  model.hidden: {choice: {A: [4]}}
objective: roc_auc
execution: {backend: local}
"""

FILES = """
import raresearch as rs


class Mine(rs.Experiment):
    name = "mine"
    defaults = {"model.hidden": (4,)}
    described = {"model.hidden": "neurons"}

    def schema(self):
        return rs.Schema((rs.TensorField("features", (2,), columns=("x", "y")),), ("b", "s"), ("s",), ("b",))

    def dataset(self, config):
        return rs.Files((PATH,), {
            "class": {"column": "label", "values": {"b": 0, "s": 1}},
            "tensors": {"features": {"columns": ["x", "y"]}},
        })

    def model(self, config):
        from torch import nn
        return nn.Linear(2, 1)
"""


def run(arguments, capsys):
    """Exit status and the lines on standard error."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return exit_.value.code, [line for line in captured.err.splitlines() if not line.startswith("[ ")]


def refused(arguments, capsys, *words):
    """The one line of a refusal, which must hold ``words``."""
    status, lines = run(arguments, capsys)
    assert status == 2, lines
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], f"{word!r} is not in: {lines[0]}"
    return lines[0]


def study_file(folder, text=STUDY, experiment="toy"):
    path = folder / "mine.yaml"
    path.write_text(text.replace("EXPERIMENT", experiment))
    return path


def data_study(folder, data):
    (folder / "mine.py").write_text(FILES.replace("PATH", repr(str(data))))
    return study_file(folder, experiment="./mine.py")


def events(n=300, **changes):
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=n), "y": rng.normal(size=n), "label": (np.arange(n) % 3 == 0).astype(np.int64)}
    return columns | changes


def write_csv(path, columns):
    names = list(columns)
    rows = zip(*(columns[n] for n in names), strict=True)
    path.write_text("\n".join([",".join(names), *(",".join(str(v) for v in row) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("repeats", "seed: 1", "seed: 1\nrepeat: 3"), ("mine.yaml:", "repeat", "repeats")),
        (("type", "seed: 1", "seed: one"), ("mine.yaml:", "seed")),
        (("experiment", "experiment: toy", "experiment: toi"), ("toi", "toy")),
        (("fom", "objective: roc_auc", "objective: roc_acu"), ("roc_acu", "roc_auc")),
        (("axis name", "model.hidden:", "model.hiden:"), ("model.hiden", "model.hidden")),
        (("range", "{choice: {A: [4]}}", "{int: [5, 2]}"), ("mine.yaml:", "model.hidden")),
        (("option", "objective: roc_auc", "objective: {rejection: {acceptence: 0.9}}"), ("acceptence", "acceptance")),
        (("rule", "objective: roc_auc", "objective: roc_auc\nselection: {top_k: {k: 0}}"), ("k",)),
        (("column", "objective: roc_auc", "objective: roc_auc\nselection: {best_epoch: {by: test_loss}}"), ("test_loss",)),
        (("broken", "space:", "space: ["), ("mine.yaml:",)),
    ],
    ids=lambda p: p[0].replace(" ", "-"),
)
def test_a_mistake_in_the_yaml_names_its_place(tmp_path, capsys, change, words):
    text = STUDY.replace("EXPERIMENT", "toy").replace(change[1], change[2])
    assert text != STUDY.replace("EXPERIMENT", "toy")
    refused(["run", study_file(tmp_path, text), "--out", tmp_path / "run"], capsys, *words)
    assert not (tmp_path / "run").exists()


def test_an_unknown_scale_and_a_bad_set(tmp_path, capsys):
    path = study_file(tmp_path)
    refused(["run", path, "--scale", "demo"], capsys, "demo")
    refused(["run", path, "--set", "train.epoch=3"], capsys, "train.epoch", "train.epochs")
    refused(["run", tmp_path / "none.yaml"], capsys, "none.yaml")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (lambda: {k: v for k, v in events().items() if k != "y"}, ("'y'",)),
        (lambda: events(x=np.where(np.arange(300) == 7, np.nan, 1.0)), ("features", "NaN", "first in row 7 (x)")),
        (lambda: events(x=np.where(np.arange(300) == 7, np.inf, 1.0)), ("features", "infinite", "(x)")),
        (lambda: events(label=np.zeros(300, dtype=np.int64)), ("signal",)),
        (lambda: events(label=np.full(300, 5)), ("5",)),
        (lambda: {k: v[:0] for k, v in events().items()}, ("mine.csv",)),
    ],
    ids=["missing-column", "nan", "inf", "one-class", "unknown-class", "no-rows"],
)
def test_events_that_cannot_be_used(tmp_path, capsys, columns, words):
    path = data_study(tmp_path, write_csv(tmp_path / "mine.csv", columns()))
    refused(["run", path, "--out", tmp_path / "run"], capsys, *words)
    assert not (tmp_path / "run").exists(), "nothing half-written"


def test_an_empty_file(tmp_path, capsys):
    (tmp_path / "mine.csv").touch()
    refused(["run", data_study(tmp_path, tmp_path / "mine.csv"), "--out", tmp_path / "run"], capsys, "mine.csv")


def truncated_parquet(path):
    pq.write_table(pa.table(events()), path)
    path.write_bytes(path.read_bytes()[:-200])


def truncated_hdf5(path):
    with h5py.File(path, "w") as file:
        for name, column in events().items():
            file[name] = column
    path.write_bytes(path.read_bytes()[:1500])


def truncated_root(path):
    uproot = pytest.importorskip("uproot")
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {name: column.dtype for name, column in events().items()})
        tree.extend(events())
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize(
    ("name", "write"), [("mine.parquet", truncated_parquet), ("mine.h5", truncated_hdf5), ("mine.root", truncated_root)]
)
def test_a_truncated_file(tmp_path, capsys, name, write):
    write(tmp_path / name)
    refused(["run", data_study(tmp_path, tmp_path / name), "--out", tmp_path / "run"], capsys, name)
    assert not (tmp_path / "run").exists()


def test_the_folder_of_another_study(tmp_path, capsys):
    path = study_file(tmp_path)
    out = tmp_path / "run"
    assert run(["run", path, "--out", out], capsys)[0] == 0
    before = sorted(str(p) for p in out.rglob("*"))
    refused(["run", path, "--set", "seed=2", "--out", out], capsys, "another study", "--out")
    assert sorted(str(p) for p in out.rglob("*")) == before


def test_a_folder_that_holds_something_else(tmp_path, capsys):
    out = tmp_path / "home"
    out.mkdir()
    (out / "thesis.tex").write_text("...")
    refused(["run", study_file(tmp_path), "--out", out], capsys, "thesis.tex", "--out")
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    refused(["run", study_file(tmp_path), "--out", tmp_path / "file" / "run"], capsys, "file", "--out")


def test_a_folder_that_may_not_be_written(tmp_path, capsys, small_disk):
    # root may write into any folder, but not on a disk that is mounted read-only
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused(["run", study_file(tmp_path), "--out", small_disk / "run"], capsys, "disk", "--out")


def test_an_experiment_whose_simulator_fails(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from raresearch.testing.toy import Toy\n\n\nclass Hot(Toy):\n    name = 'hot'\n\n"
        "    def simulate(self, config, rng, n):\n        raise ValueError('too hot')\n"
    )
    refused(
        ["run", study_file(tmp_path, experiment="./mine.py"), "--out", tmp_path / "run"],
        capsys,
        "too hot",
        "mine.py:8",
        "hot.simulate",
    )
    assert not (tmp_path / "run").exists()


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", folder], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # this process keeps the lock file open


def test_a_full_disk_in_the_middle_of_a_run(tmp_path, capsys, small_disk):
    path = study_file(tmp_path)
    line = ["run", path, "--set", "repeats=40", "--set", "train.epochs=6", "--out", small_disk / "run"]
    refused(line, capsys, "disk is full")
    landed = list((small_disk / "run" / "cells").iterdir())
    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    status, _ = run(line, capsys)
    assert status == 0, "with space again the same line goes on"
    assert len(list((small_disk / "run" / "cells").iterdir())) > len(landed)


def test_questions_to_a_folder_without_a_study(tmp_path, capsys):
    for command in ("status", "select", "report"):
        refused([command, tmp_path], capsys, "no study here")
    refused(["unseal", tmp_path, "--reason", "why not"], capsys, "no study here")


def test_questions_that_do_not_fit(tmp_path, capsys):
    out = tmp_path / "run"
    assert run(["run", study_file(tmp_path), "--out", out], capsys)[0] == 0
    refused(["select", out, "--rule", "top_kk"], capsys, "top_kk", "top_k")
    refused(["select", out, "--rule", "best_epoch", "--by", "test_loss"], capsys, "test_loss", "validation")
    refused(["select", out, "--rule", "best_epoch", "--by", "val_los"], capsys, "val_los", "val_loss")
    refused(["select", out, "--k", "3"], capsys, "--rule")
    refused(["unseal", out, "--reason", "  "], capsys, "reason")
    assert not (out / "ledger.jsonl").exists(), "a refused look is no look"


def test_a_mistyped_option_is_one_line(capsys):
    refused(["run", "--scael", "demo"], capsys, "--scael")
    refused(["runn"], capsys, "runn")


def test_failed_cells_are_named_and_the_status_is_one(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(Path(__file__).with_name("burning_experiment.txt").read_text())
    text = STUDY.replace("{A: [4]}", "{good: [4], bad: [5]}").replace("objective", "repeats: 2\nobjective")
    status, lines = run(["run", study_file(tmp_path, text, "./mine.py"), "--out", tmp_path / "run"], capsys)
    assert status == 1
    assert len([line for line in lines if line.startswith("failed: bad")]) == 2
    assert "it burnt" in lines[0]
    assert "mine.py:" in lines[0]
