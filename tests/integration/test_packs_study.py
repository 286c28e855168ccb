"""Whole studies with packs: the store does not know how they were scheduled."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import raresearch as rs
from raresearch.api.run import Progress

STUDY = """
study: packs
experiment: toy
seed: 5
fixed: {data.events: 600, data.block: 300, train.epochs: 12, train.patience: 4, train.learning_rate: 0.01}
space:
  model.hidden: {choice: {small: [8], wide: [13, 5]}}
  train.weight_decay: {choice: [0.0, 0.01]}
repeats: 4
folds: 2
searcher: grid
objective: roc_auc
keep: {scores: all, weights: best}
execution: {backend: local}
"""
SCHEDULING = ("seconds", "memory", "worker", "pack", "landing")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "packs.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def reference(study, tmp_path_factory):
    return rs.run(study, out=tmp_path_factory.mktemp("run") / "reference")


def scores(opened):
    found = {}
    for row in opened.cells().to_pylist():
        for events in (row["validation_events"], row["test_events"]):
            for key, epoch, logits in zip(*opened.store.scores(row["landing"], events), strict=True):
                if key == row["cell"]:
                    found[key, int(epoch), events] = logits.copy()
    return found


def assert_same(opened, reference):
    drop = list(SCHEDULING)
    assert opened.failed() == []
    assert opened.cells().drop_columns(drop).equals(reference.cells().drop_columns(drop))
    assert opened.epochs().equals(reference.epochs())
    ours, theirs = scores(opened), scores(reference)
    assert set(ours) == set(theirs)
    assert all(np.array_equal(ours[k], theirs[k]) for k in theirs)


@pytest.mark.parametrize("pack", ["off", "3"])
def test_the_size_of_packs_is_not_in_the_tables(study, reference, tmp_path, pack):
    other = rs.run(study, out=tmp_path / "run", sets=[f"train.pack={pack}"])
    cells, expected = (
        [{k: v for k, v in r.items() if k not in (*SCHEDULING, "values")} for r in o.cells().to_pylist()]
        for o in (other, reference)
    )
    assert cells == expected
    assert other.epochs().equals(reference.epochs())


def test_another_size_of_packs_resumes_the_same_folder(study, reference, tmp_path):
    rs.run(study, out=tmp_path / "run", sets=["train.pack=off"])
    again = rs.run(study, out=tmp_path / "run", sets=["train.pack=2"])
    assert len(again.cells()) == len(reference.cells())


def test_a_killed_run_resumed_in_other_packs_has_the_same_tables(study, reference, tmp_path):
    """Landings are made small and slow here, so that the kill meets a study half done."""
    out = tmp_path / "run"
    code = f"""
import time, raresearch as rs
from raresearch.store.store import Store
land = Store.land
def slow(self, records):
    land(self, records)
    if records: time.sleep(0.3)
Store.land = slow
rs.run({str(study)!r}, out={str(out)!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and len(list((out / "cells").glob("*"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    landed = len(rs.open(out).cells())
    assert 0 < landed < len(reference.cells())
    assert_same(rs.run(study, out=out), reference)


def test_an_axis_of_epochs_trains_its_longest_budget_only(study, tmp_path):
    text = STUDY.replace("train.patience: 4", "train.patience: 0").replace("train.epochs: 12, ", "")
    text = text.replace("train.weight_decay: {choice: [0.0, 0.01]}", "train.epochs: {choice: [2, 5, 8]}")
    path = tmp_path / "budgets.yaml"
    path.write_text(text)
    trained = []
    listener = Progress(epoch=lambda cell, epoch: trained.append(cell.key))
    together = rs.run(path, out=tmp_path / "together", progress=listener)
    cells = together.cells().to_pylist()
    assert len(cells) == 3 * 2 * 8
    assert sorted({c["stop_epoch"] for c in cells}) == [2, 5, 8]
    assert len(set(trained)) == len(cells) // 3
    path.write_text(text.replace("[2, 5, 8]", "[5]"))
    apart = rs.run(path, out=tmp_path / "apart")
    five = {c["cell"] for c in cells if c["epochs"] == 5}
    assert five == {c["cell"] for c in apart.cells().to_pylist()}
    mine = together.epochs().filter([c in five for c in together.epochs()["cell"].to_pylist()])
    assert mine.equals(apart.epochs())
