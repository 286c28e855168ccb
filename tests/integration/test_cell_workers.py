"""A cell on several workers of Ray Train: the bits of one worker, also after one of them was killed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import raresearch as rs
from raresearch.execution.ray_session import QUIET

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
    cells = study.cells().drop_columns(["seconds", "memory", "worker", "pack", "landing"])
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


# Two raylets with a CPU each and a quick eye for the dead. A line of input ends the second one, the input's end both.
# A process of its own: Ray reads its authentication's settings when it is imported.
NODES = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
cluster = Cluster(initialize_head=True, head_node_args={**node, "_system_config": quick})
second = cluster.add_node(**node)
print(cluster.address, flush=True)
if sys.stdin.readline():
    cluster.remove_node(second, allow_graceful=False)
    sys.stdin.read()
cluster.shutdown()
"""


@contextmanager
def python(script, *arguments):
    """A Python process whose first line of output is there; its input ends with the block."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", script, *arguments], **pipes) as process:
        yield process, process.stdout.readline().strip()


@pytest.fixture
def two_nodes(monkeypatch):
    """The process that holds the cluster, and its address. Its token and folder are its own: nobody joins it by chance."""
    folder = Path(tempfile.mkdtemp(prefix="rooms-"))  # sockets lie in it, whose paths have an end at 107 bytes
    (folder / "token").write_text("0" * 64)
    (folder / "token").chmod(0o600)
    own = {"RAY_TMPDIR": str(folder / "ray"), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    for name, value in {**QUIET, **own}.items():
        monkeypatch.setenv(name, value)
    with python(NODES) as (nodes, address):
        assert address, "the cluster did not start"
        yield nodes, address
    shutil.rmtree(folder, ignore_errors=True)


# Somebody else's job: one CPU, until its input ends.
OTHER = """
import sys
import ray
ray.init(sys.argv[1], log_to_driver=False)
holds = ray.util.placement_group([{"CPU": 1}])
assert holds.wait(60)
print("holds", flush=True)
sys.stdin.read()
"""


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_where_another_job_holds_a_cpu_one_worker_begins_and_a_line_says_so(tmp_path, one_worker, two_nodes):
    (reference, _), (_, address) = one_worker, two_nodes
    folder = write_study(tmp_path / "study")
    with python(OTHER, address) as (_, line):
        assert line == "holds"
        output = finish(start(folder, "--address", address, "--set", "execution.room_seconds=3"), folder)
    assert tables(folder / "run") == reference
    assert len({pid for pid, mode in log(folder) if mode == "1"}) == 1
    said = "no room for 2 workers of 1 CPUs each within 3 s (execution.room_seconds): 1 begins, to the same numbers"
    assert " ".join(output.split()).count(said) == 1, output


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_after_a_node_is_gone_one_worker_goes_on_to_the_same_bits(tmp_path, one_worker, two_nodes):
    (reference, passed), (nodes, address) = one_worker, two_nodes
    folder = write_study(tmp_path / "study")
    process = start(folder, "--address", address, "--set", "execution.room_seconds=3")
    end = time.monotonic() + 300
    while len(log(folder)) < passed // 2:
        assert process.poll() is None, (folder / "output").read_text()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
    before = len(log(folder))
    nodes.stdin.write("one dies\n")
    nodes.stdin.flush()
    output = finish(process, folder)
    assert "1 begins, to the same numbers" in " ".join(output.split())
    assert "went on after epoch" in output
    assert tables(folder / "run") == reference
    assert len({pid for pid, mode in log(folder)[:before] if mode == "1"}) == 2
    # Whoever trained last did so alone, and not from the start.
    assert len({pid for pid, mode in log(folder)[-passed // 4 :] if mode == "1"}) == 1
    assert len(log(folder)) - before < 0.75 * passed


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
