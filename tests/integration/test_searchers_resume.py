"""Killed with -9 in the middle of a search and run again: the same set of configs as undisturbed, for every searcher."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import raresearch as rs

pytestmark = pytest.mark.cluster  # it kills drivers, and the machine may as well be theirs

CONFIGS = 10

# A network that is told its direction by the config, so that a cell is a moment and its score a smooth function.
EXPERIMENT = """
import math, os, time
from raresearch.testing.toy import Toy


class Pointing(Toy):
    name = "pointing"
    defaults = {**Toy.defaults, "model.angle": 0.0, "model.kind": "plain", "model.shift": 0.0, "model.width": 1}
    described = {**Toy.described, **{f"model.{name}": "[A]" for name in ("angle", "kind", "shift", "width")}}

    def model(self, config):
        import torch

        if os.path.exists(SLOW):  # a cell is long enough for a kill to fall into it
            time.sleep(0.1)
        layer = torch.nn.Linear(2, 1)
        angle = config["model.angle"] + config["model.shift"] + 0.01 * config["model.width"]
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[math.cos(angle), math.sin(angle)]]))
            layer.bias.zero_()
        return layer
"""

STUDY = """
study: pointing
experiment: ./pointing.py
seed: 7
fixed: {{data.events: 400, train.epochs: 1, train.batch_size: 200, train.learning_rate: 1e-12}}
space:
  model.angle: {angle}
  model.kind: {{choice: [plain, bent, broken]}}
  model.shift: {{float: [0.1, 1.5], steps: 3, when: {{model.kind: [bent, broken]}}}}
  model.width: {{int: [1, {width}], log: true}}
searcher: {searcher}
objective: roc_auc
execution: {{backend: local}}
"""

SKOPT = "raresearch.searchers.skopt:SkoptSearcher"
OPTUNA = "raresearch.searchers.optuna:OptunaSearcher"
SEARCHERS = {
    "grid": "grid",
    "random": f"{{random: {{configs: {CONFIGS}}}}}",
    "skopt": f'{{"{SKOPT}": {{configs: {CONFIGS}, initial: 4}}}}',
    "tpe": f'{{"{OPTUNA}": {{configs: {CONFIGS}, sampler: tpe, initial: 4}}}}',
    "gp": f'{{"{OPTUNA}": {{configs: {CONFIGS}, sampler: gp, initial: 6}}}}',
    "cmaes": f'{{"{OPTUNA}": {{configs: {CONFIGS}, sampler: cmaes, population: 4}}}}',
    "nsga2": f'{{"{OPTUNA}": {{configs: {CONFIGS}, sampler: nsga2, population: 4}}}}',
}


def write_study(folder: Path, name: str) -> Path:
    finite = name == "grid"
    folder.mkdir()
    (folder / "pointing.py").write_text(EXPERIMENT.replace("SLOW", repr(str(folder / "slow"))))
    angle = "{choice: [-1.0, 0.5]}" if finite else "{float: [-1.5, 1.5]}"
    path = folder / "pointing.yaml"
    path.write_text(STUDY.format(angle=angle, width=1 if finite else 64, searcher=SEARCHERS[name]))
    return path


def configs(study: Any) -> list[str]:
    """The values of every config with its score's ingredients; a config that was trained twice stands there twice."""
    return sorted(row["values"] for row in study.cells().to_pylist())


def start(path: Path) -> subprocess.Popen[bytes]:
    # Not the command line, which would draw the report each time: only the search is looked at here.
    code = f"import raresearch as rs; rs.run({str(path)!r}, out={str(path.parent / 'run')!r})"
    command = [sys.executable, "-c", code]
    with (path.parent / "output").open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def landed(path: Path) -> int:
    cells = path.parent / "run" / "cells"
    return sum(1 for _ in cells.iterdir()) if cells.is_dir() else 0


def kill_after(path: Path, cells: int, moment: float) -> None:
    process = start(path)
    end = time.monotonic() + 200
    while landed(path) < cells:
        assert process.poll() is None, (path.parent / "output").read_text()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)
    time.sleep(moment)
    assert process.poll() is None, "the kill came too late"
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SEARCHERS)
def test_a_search_killed_at_a_random_moment_ends_with_the_same_configs(tmp_path: Path, name: str) -> None:
    undisturbed = configs(rs.run(write_study(tmp_path / "undisturbed", name), out=tmp_path / "undisturbed" / "run"))
    assert len(undisturbed) == (14 if name == "grid" else CONFIGS)

    path = write_study(tmp_path / "killed", name)
    (path.parent / "slow").touch()
    rng = random.Random(f"20261122 {name}")
    kill_after(path, rng.randint(1, CONFIGS - 4), rng.uniform(0.0, 0.1))
    before = configs(rs.open(tmp_path / "killed" / "run"))
    assert 0 < len(before) < len(undisturbed)

    (path.parent / "slow").unlink()
    process = start(path)
    process.wait(timeout=280)
    assert process.returncode == 0, (path.parent / "output").read_text()
    assert configs(rs.open(tmp_path / "killed" / "run")) == undisturbed
