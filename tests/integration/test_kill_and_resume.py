"""Killed with -9, run again with the same line: the same tables bit for bit, and no cell trained to its end twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import raresearch as rs

pytestmark = pytest.mark.cluster  # it kills drivers and workers: apart from the others, which it would disturb

EPOCHS = 6

# Knows a cell by its initial weights and writes a line when its training begins and when its last epoch has been scored.
EXPERIMENT = """
import hashlib, os, time
from raresearch.testing.toy import Toy


class Counted(Toy):
    name = "counted"

    def forward(self, model, inputs, config):
        state = model.__dict__.setdefault("_seen", {"evaluations": 0})
        if "name" not in state:
            weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
            state["name"] = hashlib.sha256(weights).hexdigest()[:16]
            self._log("begin", state["name"])
        if not model.training:
            state["evaluations"] += 1
            if os.path.exists(SLOW):  # about a second a cell on any machine, so that the kills meet a study half done
                time.sleep(0.08)
            if state["evaluations"] == 2 * EPOCHS:  # validation and test, each epoch
                self._log("end", state["name"])
        return super().forward(model, inputs, config)

    def _log(self, what, name):
        with open(LOG, "a") as file:
            file.write(f"{what} {name} {os.getpid()}\\n")
"""

STUDY = f"""
study: counted
experiment: ./counted.py
seed: 5
fixed: {{data.events: 1500, train.epochs: {EPOCHS}, train.batch_size: 64}}
space:
  model.hidden: {{choice: {{A: [4], B: [8, 4]}}}}
repeats: 6
objective: roc_auc
execution: {{backend: ray_tune, workers: 2}}
"""


def write_study(folder, slow=True):
    folder.mkdir()
    log = folder / "log"
    log.touch()
    if slow:
        (folder / "slow").touch()
    text = EXPERIMENT.replace("2 * EPOCHS", str(2 * EPOCHS)).replace("LOG", repr(str(log)))
    text = text.replace("SLOW", repr(str(folder / "slow")))
    (folder / "counted.py").write_text(text)
    (folder / "counted.yaml").write_text(STUDY)
    return log


def start(folder, *more):
    command = [sys.executable, "-m", "raresearch.cli", "run", str(folder / "counted.yaml"), "--out", str(folder / "run"), *more]
    # A file, not a pipe: orphans of a killed driver would hold a pipe open.
    with (folder / "output").open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def finish(process, folder, status):
    process.wait(timeout=280)
    out = (folder / "output").read_text()
    assert process.returncode == status, out
    return out


def lines(log, what):
    return [line.split() for line in log.read_text().splitlines() if line.startswith(what)]


def wait_for(condition, process, folder, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, (folder / "output").read_text()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def wait_for_a_training(log, process, folder):
    before = len(lines(log, "begin"))
    wait_for(lambda: len(lines(log, "begin")) > before, process, folder)


def running(log):
    """Processes that are in the middle of a cell."""
    ended = {name for _, name, _ in lines(log, "end")}
    return [int(pid) for _, name, pid in lines(log, "begin") if name not in ended and Path(f"/proc/{pid}").exists()]


def tables(folder):
    """Everything that a study is judged by, without times, workers and landing names."""
    study = rs.open(folder / "run")
    cells = study.cells().drop_columns(["seconds", "memory", "worker", "pack", "landing"])
    scores = {}
    for row in study.cells().to_pylist():
        for events in (row["validation_events"], row["test_events"]):
            keys, epochs, matrix = study.store.scores(row["landing"], events)
            mine = keys == row["cell"]
            scores[row["cell"], events] = (epochs[mine].tolist(), matrix[mine].tobytes())
    return cells.to_pylist(), study.epochs().to_pylist(), scores, study.table().to_csv()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "study"
    write_study(folder, slow=False)
    # In this process, without Ray: so the comparison also shows that the backend does not matter.
    finish(start(folder, "--set", "execution.backend=local"), folder, 0)
    return tables(folder)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_driver_killed_at_random_moments_and_a_killed_worker_change_nothing(tmp_path, undisturbed):
    folder = tmp_path / "study"
    log = write_study(folder)
    rng = random.Random(20261122)

    for kill in range(2):  # the driver, twice
        process = start(folder)
        wait_for_a_training(log, process, folder)
        time.sleep(rng.uniform(0.1, 3.0))
        assert process.poll() is None, f"kill {kill} came too late"
        process.send_signal(signal.SIGKILL)
        process.wait()

    process = start(folder)  # then a worker, in the middle of a cell; the driver lives on and finishes
    wait_for_a_training(log, process, folder)
    # What began may have been a worker of the driver before, which is gone by now.
    wait_for(lambda: running(log), process, folder)
    os.kill(running(log)[-1], signal.SIGKILL)
    (folder / "slow").unlink()
    finish(process, folder, 0)

    assert tables(folder) == undisturbed
    assert len(lines(log, "begin")) > 12, "something was interrupted in the middle and begun again"
    # A process that dies between a cell's last epoch and its landing loses that cell, and no other.
    ended = Counter(pid for _, _, pid in lines(log, "end"))
    landed = Counter(row["worker"].split(":")[1] for row in rs.open(folder / "run").cells().to_pylist())
    assert all(0 <= ended[pid] - landed[pid] <= 1 for pid in ended | landed), f"ended {ended}, landed {landed}"
    assert len({name for _, name, _ in lines(log, "end")}) == sum(landed.values()) == 12


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_terminated_run_says_so_and_can_go_on(tmp_path, undisturbed):
    folder = tmp_path / "study"
    log = write_study(folder)
    process = start(folder)
    wait_for(lambda: len(lines(log, "end")) > 2, process, folder)
    process.send_signal(signal.SIGTERM)
    out = finish(process, folder, 130)
    (folder / "slow").unlink()
    assert "the same line goes on" in out
    before = rs.open(folder / "run").done()
    assert before >= 1
    out = finish(start(folder), folder, 0)
    assert f"{before} from before" in out
    assert tables(folder) == undisturbed


def test_tables_compares_what_it_says(undisturbed):
    cells, epochs, scores, csv = undisturbed
    assert len(cells) == 12
    assert len(epochs) == 12 * EPOCHS
    assert len(scores) == 24
    assert all(len(numbers) == EPOCHS for numbers, _ in scores.values())
    assert len(csv.splitlines()) == 3
    assert np.isfinite([row["val_loss"] for row in epochs]).all()
