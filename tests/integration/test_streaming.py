"""Events that do not fit in memory: a process of its own, whose anonymous memory is watched."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import raresearch as rs

EVENTS = 120_000  # of 1 KiB
WINDOW = 2048


def test_events_of_ten_times_the_limit_train_in_flat_memory(tmp_path):
    script = shutil.copy(Path(__file__).with_name("flat_memory.txt"), tmp_path / "flat_memory.py")
    line = [sys.executable, script, tmp_path / "data", str(EVENTS), str(WINDOW)]
    done = subprocess.run([str(a) for a in line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["kind"] == "streamed"
    # Beside the limit: 8,192 events that are scored at once, as stored and as float32 (8 + 32 MiB), four windows of 2 MiB, and
    # what the allocator keeps of them.
    bound = seen["limit"] + ((8 + 32 + 8 + 8) << 20)
    split = 8 * seen["limit"]
    assert bound < 0.75 * split
    assert seen["grown"]["auto"] < bound
    assert seen["grown"]["resident"] > split, "the measurement sees a split that is loaded"
    assert seen["losses"]["auto"] == seen["losses"]["resident"], "to the bit"


def test_a_study_has_the_same_cells_and_results_wherever_its_events_lie(tmp_path):
    study = tmp_path / "toy.yaml"
    study.write_text("study: mine\nexperiment: toy\nfixed: {data.events: 300, train.epochs: 2}\nexecution: {backend: local}\n")
    seen = []
    for kind in ("resident", "mapped", "streamed"):
        opened = rs.run(study, sets=[f"execution.data={kind}"], out=tmp_path / kind)
        assert (tmp_path / kind / "datasets" / "unpacked").exists() == (kind != "resident")
        seen.append((opened.cells()["cell"].to_pylist(), opened.epochs().select(["train_loss", "val_loss"]).to_pydict()))
    assert seen[0] == seen[1] == seen[2]
