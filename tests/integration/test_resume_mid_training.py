"""A worker killed in the middle of a training: the next one goes on from its checkpoint, to the same tables, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import raresearch as rs

pytestmark = pytest.mark.cluster  # it kills drivers and workers

EPOCHS, CELLS = 8, 3
# Writes a line for every pass over validation or test events; no lot of them is so large that it takes two.
EXPERIMENT = """
import os, time
from raresearch.testing.toy import Toy


class Logged(Toy):
    name = "logged"

    def forward(self, model, inputs, config):
        if not model.training:
            time.sleep(float(os.environ.get("TEST_SLEEP", 0)))
            with open(LOG, "a") as file:
                file.write(f"{os.getpid()}\\n")
        return super().forward(model, inputs, config)
"""
STUDY = f"""
study: logged
experiment: ./logged.py
seed: 5
fixed: {{data.events: 1000, train.epochs: {EPOCHS}, train.batch_size: 64, model.dropout: 0.1, model.hidden: [6]}}
repeats: {CELLS}
objective: roc_auc
execution: {{backend: local, workers: 1, checkpoint_seconds: 0}}
"""


def write_study(folder):
    folder.mkdir()
    (folder / "log").touch()
    (folder / "logged.py").write_text(EXPERIMENT.replace("LOG", repr(str(folder / "log"))))
    (folder / "logged.yaml").write_text(STUDY)
    return folder


def start(folder, *more, sleep=0.15, out=None, **variables):
    command = [sys.executable, "-m", "raresearch.cli", "run", str(folder / "logged.yaml"), "--out", out or str(folder / "run")]
    environment = {**os.environ, "TEST_SLEEP": str(sleep), **variables}
    with (folder / "output").open("w") as output:
        # SIGINT is ignored, as in what a shell or a batch system starts in the background.
        quiet = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
        return subprocess.Popen([*quiet, *command, *more], stdout=output, stderr=subprocess.STDOUT, env=environment)


def finish(process, folder, status=0):
    process.wait(timeout=280)
    text = (folder / "output").read_text()
    assert process.returncode == status, text
    return text


def passes(folder):
    return (folder / "log").read_text().split()


def wait_for_passes(folder, process, number, seconds=200):
    end = time.monotonic() + seconds
    while len(passes(folder)) < number:
        assert process.poll() is None, (folder / "output").read_text()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def tables(place):
    """Everything that a study is judged by, without times, workers and landing names."""
    study = rs.open(place)
    cells = study.cells().drop_columns(["seconds", "memory", "worker", "pack", "landing"])
    scores = {}
    for row in study.cells().to_pylist():
        for events in (row["validation_events"], row["test_events"]):
            keys, epochs, matrix = study.store.scores(row["landing"], events)
            mine = keys == row["cell"]
            scores[row["cell"], events] = (epochs[mine].tolist(), matrix[mine].tobytes())
    return cells.to_pylist(), study.epochs().to_pylist(), scores


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("undisturbed") / "study")
    rs.run(folder / "logged.yaml", out=folder / "run")
    cells, epochs, scores = tables(folder / "run")
    assert (len(cells), len(epochs), len(scores)) == (CELLS, CELLS * EPOCHS, 2 * CELLS)
    # The three train as one pack: two passes an epoch. What the choice of a kernel tries costs some more, the same each time.
    tried = len(passes(folder)) - 2 * EPOCHS
    assert tried >= 0
    return (cells, epochs, scores), tried


def test_a_run_killed_in_the_middle_of_a_training_goes_on_from_its_checkpoints(tmp_path, undisturbed):
    reference, tried = undisturbed
    folder = write_study(tmp_path / "study")
    process = start(folder)
    wait_for_passes(folder, process, tried + 2 * 4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(passes(folder))
    assert not list((folder / "run" / "cells").iterdir()), "it was killed before anything had landed"
    output = finish(start(folder, sleep=0), folder)
    assert "went on after epoch" in output
    assert tables(folder / "run") == reference
    again = len(passes(folder)) - before - tried
    assert again <= 2 * (EPOCHS - 3), f"{again} passes: trained from the start"
    assert not (folder / "run" / "checkpoints").exists(), "nothing is left when all cells have landed"


def test_a_terminated_run_writes_what_it_held(tmp_path, undisturbed):
    reference, tried = undisturbed
    folder = write_study(tmp_path / "study")
    process = start(folder, "--set", "execution.checkpoint_seconds=3600", sleep=0.8)
    wait_for_passes(folder, process, tried + 2 * 2 + 1)
    process.send_signal(signal.SIGTERM)
    finish(process, folder, 130)
    assert len(list((folder / "run" / "checkpoints").iterdir())) == CELLS
    assert "went on after epoch" in finish(start(folder, sleep=0), folder)
    assert tables(folder / "run") == reference


def test_a_terminated_worker_of_ray_writes_what_it_held_and_the_next_one_goes_on(tmp_path, undisturbed):
    reference, tried = undisturbed
    folder = write_study(tmp_path / "study")
    more = ("--set", "execution.backend=ray_tune", "--set", "execution.checkpoint_seconds=3600")
    process = start(folder, *more, sleep=0.8)
    wait_for_passes(folder, process, tried + 2 * 2 + 1)
    os.kill(int(passes(folder)[-1]), signal.SIGTERM)
    assert "went on after epoch" in finish(process, folder)
    assert tables(folder / "run") == reference


def test_a_store_elsewhere_holds_the_checkpoints_for_every_machine(tmp_path, undisturbed):
    reference, tried = undisturbed
    folder = write_study(tmp_path / "study")
    place = (tmp_path / "there").as_uri()
    process = start(folder, out=place, RARESEARCH_CACHE=str(tmp_path / "one"))
    wait_for_passes(folder, process, tried + 2 * 4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((tmp_path / "there" / "checkpoints").iterdir())
    output = finish(start(folder, sleep=0, out=place, RARESEARCH_CACHE=str(tmp_path / "another")), folder)
    assert "went on after epoch" in output
    (mirror,) = (p for p in Path(tmp_path / "another").iterdir() if p.is_dir())
    assert tables(mirror) == reference
    assert not list((tmp_path / "there" / "checkpoints").iterdir())
