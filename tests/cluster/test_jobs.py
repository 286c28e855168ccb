"""A real head on loopback with a token: submitted, followed, refused, stopped half-way, resumed under a new name."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import raresearch as rs

pytestmark = pytest.mark.cluster

EXPERIMENT = """
import os, time
from raresearch.testing.toy import Toy


class Sent(Toy):
    name = "sent"

    def forward(self, model, inputs, config):
        if not model.training:
            time.sleep(0.03)
        return super().forward(model, inputs, config)

    def schema(self):
        self.look("driver")
        return super().schema()

    def loss(self, output, batch, config):
        self.look("worker")
        return super().loss(output, batch, config)

    def look(self, who):
        with open(os.environ["SEEN"] + who, "w") as file:
            file.write(repr(sorted(os.environ)) + repr(sorted(os.listdir("."))))
"""
STUDY = """
study: sent
experiment: ./sent.py
seed: 3
fixed: {data.events: 600, train.epochs: 4, train.batch_size: 64}
space:
  model.hidden: {choice: [[4], [5], [6], [7], [8], [9]]}
repeats: 2
objective: roc_auc
execution: {backend: ray_tune, workers: 2}
"""
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("jobs")
    (made / "study").mkdir()
    (made / "study" / "sent.py").write_text(EXPERIMENT)
    (made / "study" / "sent.yaml").write_text(STUDY)
    for name in (".git/config", "runs/old/cells.csv", "events.root", ".env", "key.pem"):  # none of this may travel
        (made / "study" / name).parent.mkdir(parents=True, exist_ok=True)
        (made / "study" / name).write_text("private")
    return made


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head(folder):
    """Address of a head's dashboard, and the environment of somebody who has its token."""
    token = folder / "token"
    token.write_text("a" * 64)
    token.chmod(0o600)
    port = free_port()
    own = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PATH": f"{BIN}:{os.environ['PATH']}"}
    own |= {"SEEN": str(folder / "seen"), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": ""}
    line = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--num-cpus=2",
        f"--port={free_port()}",
        "--node-ip-address=127.0.0.1",
    ]
    line += ["--dashboard-host=127.0.0.1", f"--dashboard-port={port}", f"--temp-dir={folder / 'ray'}"]
    line += [f"--object-store-memory={80 * 2**20}", f"--dashboard-agent-listen-port={free_port()}"]
    with (folder / "head").open("w") as output:
        process = subprocess.Popen(line, env=own, stdout=output, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 90
        while "Ray runtime started" not in (folder / "head").read_text():
            assert process.poll() is None, (folder / "head").read_text()
            assert time.monotonic() < end, (folder / "head").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", own
    finally:
        process.send_signal(signal.SIGTERM)  # `--block`: it ends its own processes, and only those
        process.wait(60)


def raresearch(*arguments, env, status=0):
    out = subprocess.run(
        [sys.executable, "-m", "raresearch.cli", *map(str, arguments)], capture_output=True, text=True, env=env, timeout=280
    )
    assert out.returncode == status, out.stdout + out.stderr
    return out


def without_times(run):
    study = rs.open(run)
    cells = study.cells().drop_columns(["seconds", "memory", "worker", "pack", "landing"]).to_pylist()
    return cells, study.epochs().to_pylist(), study.table().to_csv()


@pytest.mark.slow
def test_a_study_is_submitted_followed_and_reported_and_carries_no_secret(folder, head):
    address, env = head
    mine = {**env, "CLOUD_SECRET_KEY": "private", "SEEN": "not mine to set"}
    out = raresearch("submit", folder / "study" / "sent.yaml", "--out", folder / "run", "--address", address, env=mine)
    assert "12/12 cells" in out.stdout
    assert "succeeded" in out.stderr
    assert (folder / "run" / "report" / "index.html").is_file()
    for who in ("driver", "worker"):
        seen = (folder / f"seen{who}").read_text()
        assert "CLOUD_SECRET_KEY" not in seen
        assert "'OMP_NUM_THREADS'" in seen
        for name in (".git", "runs", "events.root", ".env", "key.pem"):
            assert repr(name) not in seen
    assert "'sent.py', 'sent.yaml'" in (folder / "seendriver").read_text()
    jobs = json.loads(raresearch("jobs", "--json", "--address", address, env=env).stdout)
    assert [(j["state"], j["folder"]) for j in jobs] == [("SUCCEEDED", str(folder / "run"))]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_study_runs_to_its_report_as_a_job(folder, head):
    """The repository's own YAML at its demo scale, one repeat of each of its 18 networks instead of five."""
    address, env = head
    study = Path(__file__).resolve().parents[2] / "search_spaces" / "pandax2_mlp.yaml"
    submit = ["submit", study, "--scale", "demo", "--set", "repeats=1", "--out", folder / "demo", "--address", address]
    out = raresearch(*submit, env=env)
    assert "18/18 cells" in out.stdout
    assert "Table" in (folder / "demo" / "report" / "index.html").read_text()
    assert len(rs.open(folder / "demo").table().to_csv().splitlines()) == 1 + 18


@pytest.mark.slow
def test_without_the_token_or_with_another_one_nothing_is_submitted(folder, head):
    address, env = head
    stranger = {k: v for k, v in env.items() if not k.startswith("RAY_AUTH")} | {"HOME": str(folder)}
    submit = ["submit", folder / "study" / "sent.yaml", "--out", folder / "refused", "--address", address]
    assert "asks for a token" in raresearch(*submit, env=stranger, status=2).stderr
    assert "asks for a token" in raresearch(*submit, env={**stranger, "RAY_AUTH_TOKEN": "b" * 64}, status=2).stderr
    assert not (folder / "refused").exists()


@pytest.mark.slow
def test_a_job_that_was_stopped_half_way_goes_on_under_a_new_name(folder, head, monkeypatch):
    address, env = head
    submit = ["submit", folder / "study" / "sent.yaml", "--out", folder / "halves", "--address", address]
    name = raresearch(*submit, "--no-follow", env=env).stdout.split()[1]
    end = time.monotonic() + 120
    while not list((folder / "halves" / "cells").glob("*/cells.parquet")):
        assert time.monotonic() < end
        time.sleep(0.02)
    raresearch("stop", name, "--address", address, env=env)
    out = raresearch("watch", name, "--address", address, env=env, status=130)
    assert "stopped" in out.stderr
    before = rs.open(folder / "halves").done()
    assert 0 < before < 12, "it was stopped in the middle"
    again = raresearch(*submit, env=env).stdout
    assert name not in again
    assert f"{before} from before" in again
    monkeypatch.setenv("SEEN", str(folder / "seen"))
    calm = rs.run(folder / "study" / "sent.yaml", out=folder / "calm", sets=["execution.backend=local"])
    assert without_times(folder / "halves") == without_times(calm.folder)
