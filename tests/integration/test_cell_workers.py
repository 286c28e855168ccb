"""A cell on several workers of Ray Train: the bits of one worker, also after one of them was killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

import raresearch as rs

EPOCHS = 10
# Writes its process, and whether it trains, for every pass of the network over some events.
EXPERIMENT = """
import os, time
from torch import nn
from raresearch.testing.toy import Toy


class Shared(Toy):
    name = "shared"

    def model(self, config):
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))

    def forward(self, model, inputs, config):
        time.sleep(0.02)
        with open(LOG, "a") as file:
            file.write(f"{os.getpid()} {int(model.training)}\\n")
        return super().forward(model, inputs, config)
"""
STUDY = f"""
study: shared
experiment: ./shared.py
seed: 5
fixed: {{data.events: 1000, train.epochs: {EPOCHS}, train.batch_size: 200, train.micro_batches: 2}}
repeats: 1
objective: roc_auc
execution: {{backend: ray_tune, workers: 1, cell_workers: 2, checkpoint_seconds: 0}}
"""


def write_study(folder):
    folder.mkdir()
    (folder / "log").touch()
    (folder / "shared.py").write_text(EXPERIMENT.replace("LOG", repr(str(folder / "log"))))
    (folder / "shared.yaml").write_text(STUDY)
    return folder


def start(folder, *more):
    line = [sys.executable, "-m", "raresearch.cli", "run", str(folder / "shared.yaml"), "--out", str(folder / "run"), *more]
    with (folder / "output").open("w") as output:
        return subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT)


def finish(process, folder, status=0):
    process.wait(timeout=400)
    text = (folder / "output").read_text()
    assert process.returncode == status, text
    return text


def log(folder):
    return [line.split() for line in (folder / "log").read_text().splitlines()]


def tables(place):
    study = rs.open(place)
    cells = study.cells().drop_columns(["seconds", "worker", "pack", "landing"])
    scores = {}
    for row in study.cells().to_pylist():
        for events in (row["validation_events"], row["test_events"]):
            _, epochs, matrix = study.store.scores(row["landing"], events)
            scores[row["cell"], events] = (epochs.tolist(), matrix.tobytes())
    return cells.to_pylist(), study.epochs().to_pylist(), scores


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("one") / "study")
    rs.run(folder / "shared.yaml", out=folder / "run", sets=["execution.backend=local"])
    cells, epochs, scores = tables(folder / "run")
    assert [row["state"] for row in cells] == ["done"]
    assert len(epochs) == EPOCHS
    return (cells, epochs, scores), len(log(folder))


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_two_workers_give_the_bits_of_one_also_where_one_is_killed_in_an_epoch(tmp_path, one_worker):
    reference, passed = one_worker
    folder = write_study(tmp_path / "study")
    process = start(folder)
    end = time.monotonic() + 300
    while len(log(folder)) < passed // 2:  # in the middle of the cell
        assert process.poll() is None, (folder / "output").read_text()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
    before = len(log(folder))
    training = {pid for pid, mode in log(folder) if mode == "1"}
    counts = sorted(sum(pid == each and mode == "1" for pid, mode in log(folder)) for each in training)
    assert len(counts) == 2, "two processes share the work"
    assert counts[1] - counts[0] <= 1, "and each computes half of it"
    victim = next(int(pid) for pid, mode in reversed(log(folder)) if mode == "1")
    os.kill(victim, signal.SIGKILL)
    output = finish(process, folder)
    assert "went on after epoch" in output
    assert tables(folder / "run") == reference
    assert len(log(folder)) - before < 0.75 * passed, "trained from the start"


@pytest.mark.cluster
def test_more_workers_than_the_cluster_has_are_one_line_and_status_2(tmp_path):
    folder = write_study(tmp_path / "study")
    more = ("--set", "execution.cell_workers=64", "--set", "fixed.train.micro_batches=64", "--address", "local")
    output = finish(start(folder, *more), folder, 2)
    assert "64 workers of 1 CPUs for each cell, and the cluster has" in output
    assert len(output.strip().splitlines()) == 1


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_a_training_that_fails_on_one_worker_has_failed_and_the_study_ends(tmp_path):
    folder = write_study(tmp_path / "study")
    text = (folder / "shared.py").read_text()
    # Only the worker that computes the second piece sees it, while the first one waits for what it will send.
    raising = "if model.training and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1: 1 / 0"
    text = text.replace("import os, time", "import os, time, torch").replace("        time.sleep(0.02)", f"        {raising}")
    (folder / "shared.py").write_text(text)
    output = finish(start(folder), folder, 1)
    assert "division by zero" in rs.open(folder / "run").cells()["error"][0].as_py(), output
