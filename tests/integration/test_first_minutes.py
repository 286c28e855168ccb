"""`init`, `list`, `simulate`, `ingest`, `check`, `select`, `unseal`, `report`: what a newcomer types first, typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raresearch.data.dataset import Dataset

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, which only the developers' machines have")


def raresearch(*arguments, cwd, status=0):
    out = subprocess.run(
        [sys.executable, "-m", "raresearch.cli", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert out.returncode == status, out.stdout + out.stderr
    return out.stdout


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """`raresearch init mine && raresearch run mine.yaml`, as it is (on Ray), the shortest scale that it ships."""
    folder = tmp_path_factory.mktemp("mine")
    raresearch("init", "mine", cwd=folder)
    out = raresearch("run", "mine.yaml", "--scale", "quick", "--out", "run", cwd=folder)
    return folder, out


def test_init_writes_two_files_that_run(mine):
    folder, out = mine
    assert {p.name for p in folder.iterdir()} >= {"mine.py", "mine.yaml", "run"}
    for label in ("small", "medium", "large"):
        assert label in out
    assert "report: run/report/index.html" in out


def test_init_leaves_what_is_there_alone(mine):
    folder, _ = mine
    before = (folder / "mine.py").read_text()
    raresearch("init", "mine", cwd=folder, status=2)
    assert (folder / "mine.py").read_text() == before


def test_running_again_trains_nothing(mine):
    folder, out = mine
    landed = sorted(p.name for p in (folder / "run" / "cells").iterdir())
    again = raresearch("run", "mine.yaml", "--scale", "quick", "--out", "run", "--set", "execution.backend=local", cwd=folder)
    assert again == out
    assert sorted(p.name for p in (folder / "run" / "cells").iterdir()) == landed


def test_select_answers_without_training(mine):
    folder, _ = mine
    out = raresearch(
        "select", "run", "--rule", "top_k", "--k", "2", "--by", "val_loss", "--within", "val_accuracy:0.5", "--json", cwd=folder
    )
    rows = json.loads(out)["rows"]
    assert [row["label"] for row in rows] == ["small", "medium", "large"]
    assert all(row["done"] == 1 for row in rows)


def test_unseal_opens_the_test_labels_once_and_says_so(mine):
    folder, _ = mine
    assert json.loads(raresearch("status", "run", "--json", cwd=folder))["ledger"] == []
    out = raresearch("unseal", "run", "--reason", "the walk through of this test", cwd=folder)
    assert "test" in out
    facts = json.loads(raresearch("status", "run", "--json", cwd=folder))
    assert [entry["reason"] for entry in facts["ledger"]] == ["the walk through of this test"]
    assert "the walk through of this test" in (folder / "run" / "report" / "index.html").read_text()


def test_check_plans_without_writing(mine):
    folder, _ = mine
    before = sorted(folder.iterdir())
    plan = json.loads(raresearch("check", "mine.yaml", "--no-time", "--json", cwd=folder))
    assert (plan["configs"], plan["repeats"], plan["cells"], plan["events"]) == (3, 3, 9, 8000)
    assert plan["hours"] is None
    timed = json.loads(raresearch("check", "mine.yaml", "--scale", "quick", "--json", cwd=folder))
    assert timed["seconds_per_cell"] > 0
    assert timed["cells"] == 3
    assert sorted(folder.iterdir()) == before


def test_a_pilot_tells_check_when_trainings_stop(mine):
    folder, _ = mine
    line = ("check", "mine.yaml", "--scale", "quick", "--set", "repeats=300", "--like", "run")
    plan = json.loads(raresearch(*line, "--json", cwd=folder))
    assert plan["stops_known"] == 3
    # No training of the pilot stopped before its third and last epoch (the rest is in test_check_pilot.py).
    assert plan["seconds_per_cell"] / plan["seconds_per_epoch"] == pytest.approx(3)
    assert plan["hours"] == pytest.approx(900 * plan["seconds_per_cell"] / plan["workers"] / 3600)
    assert plan["hours_error"] == 0
    # Other epochs are other configs: the pilot's stops say nothing of these.
    with pytest.raises(AssertionError, match="--set repeats=1 first"):
        raresearch("check", "mine.yaml", "--like", "run", cwd=folder)


def test_list_names_what_exists(tmp_path):
    found = json.loads(raresearch("list", "--json", cwd=tmp_path))
    assert {"pandax2", "toy"} <= set(found["experiments"])
    assert {"grid", "random"} <= set(found["searchers"])
    assert {"best_epoch", "top_k", "last_k"} <= set(found["rules"])
    assert {"significance", "xi", "rejection", "acceptance", "roc_auc", "accuracy", "recall"} <= set(found["foms"])


def test_simulate_makes_a_sealed_dataset(tmp_path):
    out = raresearch(
        "simulate", "toy", "--events", "600", "--out", "events", "--set", "data.separation=1.0", "--json", cwd=tmp_path
    )
    dataset = Dataset.open(tmp_path / json.loads(out)["path"])
    assert sum(dataset.size(split) for split in ("train", "validation", "test")) == 600
    assert dataset.events("test").label is None


@needs_data
def test_ingest_reads_root_with_the_right_number_of_rows(tmp_path):
    (tmp_path / "flat.yaml").write_text("tree: qmc_tree\ntensors: {features: {columns: [S1, S2, dt]}}\nmissing: drop\n")
    out = raresearch("ingest", SHARED / "3003_simu.root", "--schema", "flat.yaml", "--out", "flat", "--json", cwd=tmp_path)
    counts = json.loads(out)["counts"]
    assert sum(n for split in counts.values() for n in split.values()) == 12174


@needs_data
def test_ingest_pads_and_reduces_jagged_branches(tmp_path):
    (tmp_path / "jagged.yaml").write_text(
        "tensors:\n  jets: {column: Jet_Px, pad: 4, fill: 0.0}\n  count: {column: Jet_Px, reduce: count}\n"
    )
    out = raresearch("ingest", SHARED / "uproot-HZZ.root", "--schema", "jagged.yaml", "--out", "jagged", "--json", cwd=tmp_path)
    dataset = Dataset.open(tmp_path / json.loads(out)["path"])
    events = dataset.events("train")
    assert events.tensors["jets"].shape[1:] == (4,)
    padded = (events.tensors["jets"] != 0).sum(1)
    assert (padded == events.tensors["count"][:, 0].clip(max=4)).all()
    assert sum(dataset.size(split) for split in ("train", "validation", "test")) == 2421
