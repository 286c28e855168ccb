"""A cell on several workers of Ray Train: the bits of one worker, also after one of them was killed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
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
    try:
        process.wait(timeout=400)
    except subprocess.TimeoutExpired:
        process.kill()  # nobody else would end it
        process.wait()
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


def half_trained(process, folder, passed):
    """Waits for the middle of the cell; the passes until then."""
    end = time.monotonic() + 300
    while len(log(folder)) < passed // 2:
        assert process.poll() is None, (folder / "output").read_text()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
    return log(folder)


def training(passes):
    """Processes that train, in the order of their first step."""
    return list(dict.fromkeys(int(pid) for pid, mode in passes if mode == "1"))


def raylet(pid):
    """The process that started ``pid``."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def started_by(parent):
    """The processes that ``parent`` started: number → its title."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone in between
            if raylet(folder.name) == parent:
                found[int(folder.name)] = (folder / "cmdline").read_text(errors="ignore")
    return found


def the_trial(workers):
    """The process of the cell's trial, which waits for ``workers``: a child of one of their raylets."""
    titles = {pid: title for each in {raylet(pid) for pid in workers} for pid, title in started_by(each).items()}
    (trial,) = [pid for pid, title in titles.items() if title.startswith("ray::") and "ResourceTrainable" in title]
    return trial


def end_node(number):
    """What a node's end is: its raylet ``number`` and all that it started, at once."""
    for pid in (number, *started_by(number)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.parametrize("killed", ["a worker", "the trial"])
def test_two_workers_give_the_bits_of_one_also_where_a_process_is_killed_in_an_epoch(tmp_path, one_worker, killed):
    reference, passed = one_worker
    folder = write_study(tmp_path / "study")
    process = start(folder)
    before = half_trained(process, folder, passed)
    workers = training(before)
    counts = sorted(sum(int(pid) == each and mode == "1" for pid, mode in before) for each in workers)
    assert len(counts) == 2, "two processes share the work"
    assert counts[1] - counts[0] <= 1, "and each computes half of it"
    os.kill(workers[0] if killed == "a worker" else the_trial(workers), signal.SIGKILL)
    output = finish(process, folder)
    assert ("went on after epoch" if killed == "a worker" else "the worker died: 1 cells again") in output
    assert "the cell waits for one" not in " ".join(output.split()), "what the dead ones held was not given back"
    assert tables(folder / "run") == reference
    # Workers whose trial has died go on for a moment; from the start it would be all passes and these.
    assert len(log(folder)) - len(before) < (0.75 if killed == "a worker" else 0.95) * passed, "trained from the start"


# A head without CPUs, two raylets with one each, and a quick eye for the dead; until its input ends.
# A process of its own: Ray reads its authentication's settings when it is imported.
NODES = """
import sys
from ray.cluster_utils import Cluster
node = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0, "_system_config": quick})
for _ in range(2):
    cluster.add_node(**node, num_cpus=1)
print(cluster.address, flush=True)
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
    """The address of the cluster. Its token and folder are its own: nobody joins it by chance."""
    folder = Path(tempfile.mkdtemp(prefix="rooms-"))  # sockets lie in it, whose paths have an end at 107 bytes
    (folder / "token").write_text("0" * 64)
    (folder / "token").chmod(0o600)
    own = {"RAY_TMPDIR": str(folder / "ray"), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    for name, value in {**QUIET, **own}.items():
        monkeypatch.setenv(name, value)
    with python(NODES) as (_, address):
        assert address, "the cluster did not start"
        yield address
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
    (reference, _), address = one_worker, two_nodes
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
@pytest.mark.parametrize("gone", ["the trial's node", "the other node"])
def test_after_a_node_is_gone_one_worker_goes_on_to_the_same_bits(tmp_path, one_worker, two_nodes, gone):
    (reference, passed), address = one_worker, two_nodes
    folder = write_study(tmp_path / "study")
    process = start(folder, "--address", address, "--set", "execution.room_seconds=3")
    before = half_trained(process, folder, passed)
    workers = training(before)
    assert len(workers) == 2
    raylets = {raylet(pid) for pid in workers}
    trials = raylet(the_trial(workers))
    (others,) = raylets - {trials}
    end_node(trials if gone == "the trial's node" else others)
    output = finish(process, folder)
    assert "1 begins, to the same numbers" in " ".join(output.split())
    assert ("the worker died: 1 cells again" if gone == "the trial's node" else "went on after epoch") in output
    assert tables(folder / "run") == reference
    # Whoever trained last did so alone, and not from the start.
    assert len({pid for pid, mode in log(folder)[-passed // 4 :] if mode == "1"}) == 1
    assert len(log(folder)) - len(before) < (0.95 if gone == "the trial's node" else 0.75) * passed


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
