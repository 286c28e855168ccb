"""What a study shows outside its report: notebooks, data frames, Optuna's journal, BibTeX, help and completion."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from click.testing import CliRunner
from markupsafe import escape
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import raresearch as rs
from raresearch.api import frames, origin
from raresearch.api.check import check
from raresearch.axes import Float, Int
from raresearch.cli.check import _lines
from raresearch.cli.main import _Lazy, cli
from raresearch.errors import SelectionError, StoreError
from raresearch.report.bibliography import bibtex
from raresearch.report.card import Reference
from raresearch.space import Space
from raresearch.testing.toy import Toy

STUDY = """
study: shown
experiment: toy
fixed: {data.events: 400, train.epochs: 3}
space:
  train.learning_rate: {choice: [0.01, 0.001]}
  model.hidden: {choice: {<b>: [4], none: []}}
repeats: 2
objective: roc_auc
execution: {backend: local}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("shown") / "s.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def study(path):
    rs.run(path, out=path.parent / "run")
    return rs.open(path.parent / "run")


def test_a_notebook_shows_study_and_table_with_the_best_row_bold_and_labels_escaped(study):
    text = study._repr_html_()
    assert "8 done, 0 failed" in text
    assert "sealed" in text
    best = str(escape(study.table().best.label))
    assert f"<td><b>{best}</b></td>" in text
    assert "&lt;b&gt;" in text
    assert text.count("<tr>") == 4 + 1 + 4


def test_a_notebook_shows_a_choice_with_its_hash_and_its_best_config(study):
    choice = study.select("top_k", k=2, by="val_loss")
    text = choice._repr_html_()
    assert choice.hash in text
    assert "<td>members each</td><td>2</td>" in text


def test_a_data_frame_has_the_rows_of_the_arrow_table(study):
    frame = study.to_pandas("epochs")
    assert frame["val_loss"].tolist() == study.epochs()["val_loss"].to_pylist()
    assert len(study.to_pandas()) == 8
    with pytest.raises(SelectionError, match="ask for cells or epochs"):
        study.to_pandas("events")


def test_polars_that_is_not_there_is_asked_for_in_one_line(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(StoreError, match="pip install polars"):
        study.to_polars()


def loaded(path):
    return optuna.load_study(study_name="shown", storage=JournalStorage(JournalFileBackend(str(path))))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_loads_the_journal_with_the_values_and_curves_of_the_study(study, tmp_path):
    found = loaded(study.to_optuna(tmp_path / "study.journal"))
    rows = {r.config: r for r in study.table().rows}
    assert len(found.trials) == 4
    assert found.direction == optuna.study.StudyDirection.MAXIMIZE
    assert "simulated by" in found.user_attrs["events"]
    epochs = study.epochs().to_pylist()
    for trial in found.trials:
        row = rows[trial.user_attrs["config"]]
        assert trial.value == pytest.approx(row.objective.mean)
        assert trial.user_attrs["std"] == pytest.approx(row.objective.std)
        assert trial.params["train.learning_rate"] in (0.01, 0.001)
        assert trial.params["model.hidden"] in ("<b>", "none")
        first = [r["val_loss"] for r in epochs if r["config"] == row.config and r["epoch"] == 1]
        assert trial.intermediate_values[1] == pytest.approx(np.mean(first))
    assert found.best_trial.user_attrs["label"] == study.table().best.label


def test_a_journal_is_not_written_over_another_file(study, tmp_path):
    (tmp_path / "j").write_text("mine")
    with pytest.raises(StoreError, match="the file exists"):
        study.to_optuna(tmp_path / "j")
    with pytest.raises(StoreError, match="cannot be written"):
        study.to_optuna(tmp_path / "nowhere" / "j")
    assert (tmp_path / "j").read_text() == "mine"


def test_axes_of_numbers_are_distributions_of_numbers(study):
    space = Space({"a": Int(1, 8, log=True), "b": Float(0.1, 1.0)})

    class Opened:
        spec = replace(study.spec, space=space)

    assert frames._distribution(Opened, "a") == optuna.distributions.IntDistribution(1, 8, log=True)
    assert frames._distribution(Opened, "b") == optuna.distributions.FloatDistribution(0.1, 1.0)


def test_bibtex_has_an_entry_for_each_source_and_nothing_that_ends_one_early():
    references = (
        Reference("10.1088/1748-0221/18/06/T06002", "https://doi.org/10.1088/1748-0221/18/06/T06002", ("pandax2",)),
        Reference("arXiv:2203.01870", "https://arxiv.org/abs/2203.01870", ("kamnet", "roc_auc")),
        Reference("A {book} & more", "", ("mine",)),
    )
    text = bibtex(references)
    assert text.count("\n@") + text.startswith("@") == 4
    assert "doi = {10.1088/1748-0221/18/06/T06002}" in text
    assert "eprint = {2203.01870}" in text
    assert r"title = {A book \& more}" in text
    assert r"note = {used by kamnet, roc\_auc}" in text
    assert text.count("{") == text.count("}")


def test_the_commit_is_that_of_the_packages_own_repository_alone(tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(tmp_path), *arguments], check=True, stdout=-3
        )

    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("")
    assert origin.commit(package) == ""
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    first = origin.commit(package)
    assert len(first) == 12
    (package / "a.py").write_text("x = 1")
    assert origin.commit(package) == f"{first}-dirty"
    (package / "inside").mkdir()
    assert origin.commit(package / "inside") == "", "a package in somebody's virtual environment"


def test_the_plan_says_what_fewer_repeats_and_more_workers_would_change(path):
    plan = check(path, timed=False)
    assert plan.data_bytes == 400 * sum(f.size * 4 for f in Toy().schema().tensors)
    assert any(line.startswith("data:") for line in _lines(plan))
    timed = replace(
        plan, hours=8.0, seconds_per_cell=1.0, seconds_per_epoch=0.1, repeats=10, packs=20, workers=2, timed_configs=1
    )
    text = "\n".join(_lines(timed))
    assert "5 repeats instead of 10 would save 4.0 h; errors of means would be 1.41 × wider" in text
    assert "4: 4.0 h, 16: 1.0 h" in text
    assert "64:" not in text, "there are only 20 packs"


@pytest.mark.parametrize("name", list(_Lazy.modules))
def test_every_commands_help_shows_an_example_of_it(name):
    shown = CliRunner().invoke(cli, [name, "--help"], prog_name="raresearch")
    assert shown.exit_code == 0
    examples = [line for line in shown.output.splitlines() if line.strip().startswith(f"raresearch {name}")]
    assert examples, "the usage line alone teaches nothing"


def test_a_shell_completes_commands():
    environment = {**os.environ, "_RARESEARCH_COMPLETE": "bash_complete", "COMP_WORDS": "raresearch sta", "COMP_CWORD": "1"}
    ran = subprocess.run([sys.executable, "-m", "raresearch.cli"], env=environment, capture_output=True, text=True)
    assert ran.stdout.split() == ["plain,status"], ran.stderr


def test_watch_loads_neither_pandas_nor_scipys_special_functions(study):
    """Each takes a quarter of a second, and the whole answer less than one."""
    line = [sys.executable, "-X", "importtime", "-m", "raresearch.cli", "watch", str(study.folder)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    loaded = {row.split("|")[-1].strip() for row in done.stderr.splitlines()}
    assert "pyarrow" in loaded
    assert not {"pandas", "scipy.special"} & loaded
