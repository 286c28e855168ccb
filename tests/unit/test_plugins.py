"""Names, import paths and files become objects; what fails says where."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from raresearch import plugins
from raresearch.errors import PluginError, SpecError
from raresearch.experiment import Experiment
from raresearch.searchers.grid import GridSearcher
from raresearch.testing.toy import Toy

ONE = """\
from dataclasses import dataclass
from raresearch.experiment import Experiment

class _Hidden(Experiment):
    pass

class Mine(_Hidden):
    name = "mine"

@dataclass
class Note:
    text: str
"""


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_short_names_come_from_entry_points() -> None:
    assert {"toy", "pandax2"} <= set(plugins.names("experiments"))
    assert {"grid", "random"} <= set(plugins.names("searchers"))
    assert plugins.resolve("searchers", "grid") is GridSearcher
    assert plugins.resolve("experiments", "toy") is Toy


def test_an_import_path_names_a_class() -> None:
    assert plugins.resolve("experiments", "raresearch.testing.toy:Toy") is Toy


def test_a_file_names_a_class_or_has_exactly_one(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    found = plugins.resolve("experiments", "./mine.py:Mine", tmp_path)
    assert found is plugins.resolve("experiments", "./mine.py", tmp_path)
    assert found is plugins.resolve("experiments", str(tmp_path / "mine.py"))
    assert issubclass(found, Experiment)


def test_a_file_is_looked_for_from_the_current_folder_without_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ONE)
    monkeypatch.chdir(tmp_path)
    assert plugins.resolve("experiments", "mine.py").name == "mine"


def test_a_class_of_a_file_pickles_and_its_module_is_known(tmp_path: Path) -> None:
    found = plugins.resolve("experiments", str(write(tmp_path, ONE)))
    assert type(pickle.loads(pickle.dumps(found()))) is found
    assert plugins.from_file(sys.modules[found.__module__])
    assert not plugins.from_file(sys.modules[Toy.__module__])
    assert "class Mine" in inspect.getsource(found)


def test_the_module_of_a_file_has_the_same_name_in_every_process(tmp_path: Path) -> None:
    path = write(tmp_path, ONE)
    here = plugins.resolve("experiments", str(path)).__module__
    code = f"from raresearch import plugins; print(plugins.resolve('experiments', {str(path)!r}).__module__)"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert there.stdout.strip() == here
    assert plugins.resolve("experiments", str(write(tmp_path, ONE, "other.py"))).__module__ != here


def test_a_changed_file_is_loaded_anew_and_leaves_no_cache_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path, ONE)
    before = plugins.resolve("experiments", str(path))
    write(tmp_path, ONE.replace('"mine"', '"nime"'))  # the same size, in the same second
    after = plugins.resolve("experiments", str(path))
    assert (before.name, after.name) == ("mine", "nime")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tyo", r"tyo: is not one of the experiments; did you mean 'toy'"),
        ("zzz", r"zzz: is not one of the experiments; known here: .*toy.*; or write package\.module:Name"),
        (
            "no.such.module:Name",
            r"no\.such\.module:Name: there is no module 'no'; install its package, or write \./file\.py:Name",
        ),
        ("raresearch.testing.nothing:Name", r"there is no module 'raresearch\.testing\.nothing'"),
        ("raresearch.testing.toy:Tyo", r"has no 'Tyo'; did you mean 'Toy'"),
        ("raresearch.testing.toy:np", r"is not a subclass of raresearch\.Experiment"),
        ("./none.py", r"\./none\.py: cannot read .*none\.py: No such file"),
        ("./none.py:Name", r"cannot read"),
        (".", r"is not one of the experiments"),
        ("", r"is not one of the experiments"),
    ],
)
def test_a_reference_to_nothing_is_named_with_what_there_is(tmp_path: Path, reference: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        plugins.resolve("experiments", reference, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = 1 / 0\n", r"bad\.py:2: fails: ZeroDivisionError: division by zero"),
        ("def f(:\n", r"bad\.py:1: fails: SyntaxError"),
        ("def f():\n    import nowhere\nf()\n", r"bad\.py:2: fails: ModuleNotFoundError: No module named 'nowhere'"),
        ("import json\n\njson.loads('{')\n", r"bad\.py:3: fails: JSONDecodeError"),
        ("raise SystemExit(3)\n", r"bad\.py:1: fails: SystemExit: 3"),
        ("x = 1\n", r"must define exactly one of the experiments, not none; write \./bad\.py:Name"),
        (ONE + "class More(Mine): pass\n", r"exactly one of the experiments, not Mine, More; write \./bad\.py:Mine"),
        ("from raresearch.testing.toy import Toy\n", r"exactly one of the experiments, not none"),
    ],
)
def test_a_file_that_fails_says_in_which_line(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text, "bad.py")
    before = set(sys.modules)
    with pytest.raises(PluginError, match=message):
        plugins.resolve("experiments", "./bad.py", tmp_path)
    if "fails" in message:
        assert not [name for name in set(sys.modules) - before if "bad" in name]


def test_a_module_that_fails_says_in_which_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "x = 1\nimport nowhere_at_all\n", "rs_broken_module.py")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"rs_broken_module\.py:2: fails: ModuleNotFoundError.*nowhere_at_all"):
        plugins.resolve("experiments", "rs_broken_module:Name")


def test_an_unknown_kind_is_refused() -> None:
    for ask in (lambda: plugins.names("searcher"), lambda: plugins.resolve("searcher", "grid")):
        with pytest.raises(PluginError, match="there is no such kind; did you mean 'searchers'"):
            ask()


def test_a_class_without_the_methods_of_its_kind_is_refused() -> None:
    with pytest.raises(
        PluginError, match="is not a class with ask and tell; searchers known here: grid, listed, optuna, random, skopt"
    ):
        plugins.resolve("searchers", "raresearch.testing.toy:Toy")


PART = """\
class Part:
    def __init__(self, space, k: int, by: str = "val_loss"):
        if k == 13:
            raise ValueError("thirteen\\nis unlucky")
        self.got = (space, k, by)
    def ask(self): ...
    def tell(self, config, score): ...

class Open:
    def __init__(self, **options):
        self.got = options
    def ask(self): ...
    def tell(self, config, score): ...
"""


def test_options_and_what_the_caller_gives_reach_the_constructor(tmp_path: Path) -> None:
    write(tmp_path, PART, "p.py")
    made = plugins.build("searchers", "./p.py:Part", {"k": 3}, tmp_path, space="S", seed=1)
    assert made.got == ("S", 3, "val_loss")
    assert plugins.build("searchers", "./p.py:Open", {"any": 3}, tmp_path, seed=1).got == {"any": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kk": 3}, r"\./p\.py:Part\.kk: there is no such option; did you mean 'k'"),
        ({}, r"\./p\.py:Part\.k: this option is needed; write \./p\.py:Part: \{k: …\}"),
        ({"k": 1, "space": 3}, r"Part\.space: is set by the study itself"),
        ({"k": 13}, r"\./p\.py:Part: does not accept \{'k': 13\}: ValueError: thirteen$"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, int], message: str) -> None:
    write(tmp_path, PART, "p.py")
    with pytest.raises(SpecError, match=message):
        plugins.build("searchers", "./p.py:Part", options, tmp_path, space="S", seed=1)


OWN_FIGURE = """
from dataclasses import dataclass
from raresearch.metrics.foms import RocAuc


@dataclass(frozen=True)
class Own(RocAuc):
    name = "own"
"""


@pytest.mark.parametrize("rule", ["greedy", "best_of_repeats"])
def test_a_rule_finds_its_figure_beside_the_yaml_from_wherever_one_runs_it(rule, tmp_path, monkeypatch):
    import raresearch as rs

    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "own.py").write_text(OWN_FIGURE)
    # Of the same name, and broken: the one in the current folder must not be taken.
    (tmp_path / "own.py").write_text("raise RuntimeError('the wrong file')")
    monkeypatch.chdir(tmp_path)
    text = f"""
study: own
experiment: toy
fixed: {{data.events: 120, train.epochs: 2}}
space: {{train.learning_rate: {{choice: [0.01]}}}}
repeats: 2
objective: roc_auc
selection: {{{rule}: {{fom: ./own.py:Own}}}}
keep: {{scores: all}}
execution: {{backend: local}}
"""
    (tmp_path / "study" / "s.yaml").write_text(text)
    study = rs.run(tmp_path / "study" / "s.yaml", out=tmp_path / "run")
    assert study.select().ensembles
    assert "base_dir" not in repr(study.rule), "where the study lies is no part of what the rule is"
    assert pickle.loads(pickle.dumps(study.rule)).base_dir == tmp_path / "study"
