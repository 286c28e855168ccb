"""The README tells the truth: every command, YAML and Python block in it runs."""

import os
import re
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import raresearch as rs
from raresearch.data.mapping import Mapping
from raresearch.spec import load

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)
# The demo scan takes minutes; its line is run on this little data and three of its networks, everything else as it stands.
SMALL = [
    "--set", "fixed.data.events=1500", "--set", "fixed.train.epochs=2", "--set", "repeats=2",
    "--set", "space.model.hidden={choice: {4A: [32, 16, 8, 8], 4C: [32, 32, 16, 8], 5A: [32, 16, 8, 8, 8]}}",
]  # fmt: skip


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


def commands():
    lines = [line for text in blocks("sh") for line in text.splitlines() if line]
    return [part.strip() for line in lines for part in line.split("&&")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the README's lines expect to find: the repository's studies and somebody's events."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "search_spaces").symlink_to(ROOT / "search_spaces")
    uproot = pytest.importorskip("uproot")
    import awkward
    import numpy as np

    rng = np.random.default_rng(0)
    n = 60
    jets = awkward.unflatten(rng.random(3 * n).astype("f4"), np.full(n, 3))
    flat = {name: rng.normal(size=n) for name in ("width", "height", "energy")} | {"label": np.arange(n) % 2}
    with uproot.recreate(folder / "events.root") as file:
        tree = file.mktree("events", {**{name: column.dtype for name, column in flat.items()}, "jet_pt": "var * float32"})
        tree.extend({**flat, "jet_pt": jets})
    (folder / "schema.yaml").write_text(mapping_block())
    return folder


def mapping_block():
    return next(text for text in blocks("yaml") if text.startswith("classes:"))


def run(line, place):
    words = [word.replace("runs/DIR", "runs/first") for word in shlex.split(line)]
    words = [sys.executable, "-m", "raresearch.cli", *words[1:]]
    if "run" in words and any("pandax2" in w for w in words):
        words += [*SMALL, "--out", "runs/first"]
    elif "--like" in words:
        words += SMALL  # the pilot is the small run of above
    elif "run" in words:
        # In one process: that it runs on Ray as it stands is shown by the study above and by test_first_minutes.
        small = ("fixed.data.events=1000", "fixed.train.epochs=2", "repeats=1", "execution.backend=local")
        words += [word for each in small for word in ("--set", each)]
    out = subprocess.run(words, cwd=place, capture_output=True, text=True, env={**os.environ, "COLUMNS": "160"})
    assert out.returncode == 0, f"{line}\n{out.stdout}{out.stderr}"
    return out.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_raresearch_line_runs_in_the_order_of_the_page(place):
    lines = [line for line in commands() if re.match(r"(\S*/)?raresearch ", line)]
    assert len(lines) >= 9
    for line in lines:
        run(line, place)
    python = next(text for text in blocks("python") if "rs.open" in text)
    code = python.replace("runs/DIR", "runs/first")
    out = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert re.match(r"(4A|4C|5A) [\d.]+ \[[\d.]+, [\d.]+\]", out.stdout), out.stdout


def test_the_other_lines_are_the_ones_that_ci_runs():
    others = [line for line in commands() if not re.match(r"(\S*/)?raresearch ", line)]
    script = (ROOT / ".ci" / "run").read_text()
    assert others == [
        "python3 -m pip install uv",
        "uv venv --allow-existing --python 3.11 .venv",
        'uv pip install --python .venv/bin/python -e ".[test]"',
        ".venv/bin/python -m pytest",
    ]
    for piece in ("pip install", "uv venv", "uv pip install", ".venv/bin/python -m pytest"):
        assert piece in script


def test_the_experiment_and_the_study_are_those_that_init_writes(tmp_path):
    def template(name):
        text = files("raresearch.cli").joinpath("templates", name).read_text()
        return text.replace("CLASS", "Mine").replace("NAME", "mine")

    assert any(text.strip() == template("experiment.py.txt").strip() for text in blocks("python"))
    study = next(text for text in blocks("yaml") if text.startswith("study: mine"))
    assert study.strip() == template("study.yaml.txt").strip()
    (tmp_path / "mine.yaml").write_text(study)
    assert load(tmp_path / "mine.yaml").repeats == 3


def test_the_study_in_stages_runs(tmp_path):
    experiment = next(text for text in blocks("python") if "class Mine" in text)
    (tmp_path / "mine.py").write_text(experiment)
    study = next(text for text in blocks("yaml") if "stages:" in text)
    (tmp_path / "stages.yaml").write_text(study)
    small = ["searcher.skopt.configs=3", "stages.search.fixed={data.events: 600, train.epochs: 2}"]
    small += ["stages.refit.fixed={data.events: 900, train.epochs: 3}", "execution.backend=local"]
    searched = rs.run(tmp_path / "stages.yaml", out=tmp_path / "run", sets=small)
    assert len(searched.stages()["refit"].cells()) == 5


def test_the_mapping_is_one():
    parsed = Mapping.parse(YAML(typ="safe", pure=True).load(mapping_block()))
    assert set(parsed.tensors) == {"features", "jets"}


def test_the_table_of_folders_is_the_tree():
    rows = re.findall(r"^\| (`.*?) \|", TEXT, flags=re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w/.]+)`", row)]
    assert len(named) > 10
    for name in named:
        parents = [ROOT, ROOT / "raresearch"]
        assert any((p / name.rstrip("/")).exists() for p in parents), name


def test_no_simulated_figure_is_shown_without_saying_so():
    assert "simulated data" in TEXT
    assert "`paper`" in TEXT
