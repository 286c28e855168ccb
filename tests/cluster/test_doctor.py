"""The doctor finds every illness that it knows, says what to do, and finds nothing in the healthy."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from raresearch.doctor.judge import SKEW, judge
from raresearch.doctor.probe import probe
from raresearch.jobs.pins import versions


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    nodes = [probe(name, folder, 0) for name in ("driver", "node one", "node two")]
    seen = nodes[-1].seen
    assert seen == ("driver", "node-one", "node-two")
    return [replace(node, seen=seen) for node in nodes]


def findings(nodes, **offsets):
    driver, *others = nodes
    return judge(others, driver, offsets)


def test_the_healthy_are_left_alone(healthy):
    assert findings(healthy) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"versions": {**versions(), "torch": "0.1"}}, "torch 0.1 instead of"),
        ({"versions": {**versions(), "ray": "missing"}}, "ray missing instead of"),
        ({"code": "abc"}, "source is abc instead of"),
        ({"imports": "ModuleNotFoundError: No module named 'torch'"}, "cannot import (ModuleNotFoundError"),
        ({"folder": "StoreError: read-only"}, "cannot write the run folder"),
        ({"locks": "OSError: no locks available"}, "Lustre with -o flock"),
        ({"seen": ("node-two",)}, "does not see 2 of the files"),
        ({"gpus": 1, "expected_gpus": 4.0}, "sees 1 of the 4 GPUs"),
    ],
)
def test_an_ill_node_is_named_with_a_remedy(healthy, change, words):
    driver, one, two = healthy
    (found,) = findings([driver, one, replace(two, **change)])
    assert (found.node, found.serious) == ("node two", True)
    assert words in str(found)
    assert found.remedy


def test_a_wrong_clock_and_a_full_disk_are_notes(healthy):
    driver, one, two = healthy
    (clock,) = findings(healthy, **{"node one": -2 * SKEW})
    assert (clock.node, clock.serious) == ("node one", False)
    assert "-4.0 s off" in clock.what
    assert findings(healthy, **{"node one": 0.9 * SKEW}) == []
    (disk,) = findings([driver, one, replace(two, free_disk=2**20)])
    assert not disk.serious


def test_a_folder_that_cannot_be_written_is_reported_and_not_raised(tmp_path):
    (tmp_path / "file").write_text("")
    report = probe("here", tmp_path / "file", 0)
    assert report.folder
    assert report.code == probe("there", None, 0).code


@pytest.mark.cluster
@pytest.mark.slow
def test_the_command_asks_the_nodes_of_a_real_cluster_and_leaves_nothing_behind(tmp_path):
    line = [sys.executable, "-m", "raresearch.cli", "doctor", "--out", str(tmp_path / "runs"), "--json"]
    out = subprocess.run(line, capture_output=True, text=True, env=dict(os.environ), timeout=250, check=False)
    assert out.returncode == 0, out.stdout + out.stderr
    content = json.loads(out.stdout)
    assert [n["imports"] for n in content["nodes"]] == ["", ""], "the driver and its one node"
    assert content["nodes"][0]["code"] == content["nodes"][1]["code"]
    assert [f for f in content["findings"] if f["serious"]] == []
    assert list((tmp_path / "runs").iterdir()) == []
