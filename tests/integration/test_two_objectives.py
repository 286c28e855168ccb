"""A study with two figures of merit: what the searcher is told, what it finds, and that an interruption changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import raresearch as rs
from raresearch.api.run import Progress
from raresearch.errors import SpecError, UserError
from raresearch.report import build
from raresearch.report.figures import front
from raresearch.report.results import gather
from raresearch.report.sections import SECTIONS, Section
from raresearch.spec import load

# A network that is told its direction by the config: scores that differ between configs, at no cost.
EXPERIMENT = Path(__file__).with_name("pointing_experiment.txt").read_text()

# A stranger's searcher that takes two scores, and writes down what it is told.
LISTENER = """
import json


class Listening:
    objectives = 2

    def __init__(self, space, log):
        self.points, self.log = [{"model.angle": 0.1 * n} for n in range(4)], log

    def ask(self):
        return self.points.pop() if self.points else None

    def tell(self, config, score):
        with open(self.log, "a") as file:
            file.write(json.dumps([config["model.angle"], *score]) + chr(10))
"""

STUDY = """
study: pointing
experiment: ./pointing.py
seed: 7
fixed: {data.events: 2000, train.epochs: 1, train.batch_size: 500, train.learning_rate: 1e-12}
space:
  model.angle: {float: [-1.5, 1.5]}
searcher: SEARCHER
split: {train: 0.4, validation: 0.5, test: 0.1}
objective: [roc_auc, {rejection: {acceptance: 0.5}}]
execution: {backend: local}
"""
NSGA2 = "{optuna: {configs: 20, sampler: nsga2, population: 5}}"


def write(folder: Path, searcher: str = NSGA2, more: str = "") -> Path:
    folder.mkdir()
    (folder / "pointing.py").write_text(EXPERIMENT)
    path = folder / "pointing.yaml"
    path.write_text(STUDY.replace("SEARCHER", searcher) + more)
    return path


def configs(study: Any) -> list[float]:
    return sorted(json.loads(row["values"])["model.angle"] for row in study.cells().to_pylist())


class Stop(Exception):
    """Ends a run in the middle."""


@pytest.mark.parametrize("after", [3, 13])
def test_an_interrupted_search_for_two_objectives_has_the_configs_of_an_undisturbed_one(tmp_path: Path, after: int) -> None:
    undisturbed = rs.run(write(tmp_path / "one"), out=tmp_path / "one/run")
    path = write(tmp_path / "two")

    def stop(counts: Any) -> None:
        if counts.done >= after:
            raise Stop

    with pytest.raises(Stop):
        rs.run(path, out=tmp_path / "two/run", progress=Progress(changed=stop))
    assert len(rs.open(tmp_path / "two/run").cells()) < 20
    resumed = rs.run(path, out=tmp_path / "two/run")
    assert configs(resumed) == configs(undisturbed)
    assert len(set(configs(resumed))) == 20


def test_the_searcher_is_told_both_scores_in_the_order_of_the_study(tmp_path: Path) -> None:
    path = write(tmp_path / "study", f"{{./pointing.py:Listening: {{log: {tmp_path / 'log'}}}}}")
    (tmp_path / "study/pointing.py").write_text(EXPERIMENT + LISTENER)
    study = rs.run(path, out=tmp_path / "run", sets=["experiment=./pointing.py:Pointing", "repeats=2"])
    told = {row[0]: row[1:] for row in map(json.loads, (tmp_path / "log").read_text().splitlines())}
    angles = {row["config"]: json.loads(row["values"])["model.angle"] for row in study.cells().to_pylist()}
    rows = {angles[row.config]: [row.objective.mean, row.others["rejection"].mean] for row in study.table().rows}
    assert told == {angle: pytest.approx(pair) for angle, pair in rows.items()}
    assert len(told) == 4


def test_the_report_has_the_front_as_a_figure_and_a_table_with_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All other figures would take seconds to draw.
    monkeypatch.setattr(build, "SECTIONS", [Section("space", "The space", [(front.draw, "")])])
    assert any(draw is front.draw for section in SECTIONS for draw, _ in section.figures)
    study = rs.run(write(tmp_path / "study", "{random: {configs: 12}}"), out=tmp_path / "run")
    results = gather(study.store, objective=study.objective, others=study.others, rule=study.rule, labels=study.labels)
    assert results.second == "rejection"
    found = front.points(results)
    values = {p.config: (p.first.value, p.second.value) for p in found}
    assert len(found) == 12
    for point in found:
        beaten = any(
            all(a >= b for a, b in zip(other, values[point.config], strict=True)) and other != values[point.config]
            for other in values.values()
        )
        assert point.front == (not beaten)
    paths = study.report()
    text = paths.markdown.read_text()
    assert "## Pareto front" in text
    assert (paths.root / "figures/front.csv").is_file()
    title, sheet = front.sheet(results) or ("", None)
    assert title == "Pareto front"
    assert sheet is not None
    assert len(sheet.rows) == sum(p.front for p in found)
    assert all(row[2].startswith("[") for row in sheet.rows)


def test_a_study_of_one_objective_has_no_front(tmp_path: Path) -> None:
    path = write(tmp_path / "study", "{random: {configs: 2}}")
    study = rs.run(path, out=tmp_path / "run", sets=["objective=roc_auc"])
    results = gather(study.store, objective=study.objective, others=study.others, rule=study.rule, labels=study.labels)
    assert (results.second, front.points(results), front.sheet(results)) == (None, [], None)


@pytest.mark.parametrize(
    ("searcher", "more", "message"),
    [
        ("{skopt: {configs: 5}}", "", "skopt hears one score, and the study has 2 objectives"),
        ("{optuna: {configs: 5}}", "", "tpe hears one score, and the study has two; take sampler: nsga2"),
        ("{optuna: {configs: 5, sampler: cmaes}}", "", "cmaes hears one score"),
        ("{optuna: {configs: 5, sampler: nsga2, warm_start: x.csv}}", "", "drop warm_start"),
        (NSGA2, "racing: {}\n", "a race is for one objective"),
        (NSGA2, "stopping: {rungs: [1]}\n--set fixed.train.epochs=3", "by: val_loss"),
        (NSGA2, "--set objective=[roc_auc]", "a list of two, not of 1"),
        (NSGA2, "--set objective=[roc_auc, roc_auc]", "names roc_auc twice"),
        (NSGA2, "--set objective=[roc_auc, roc_aux]", "roc_aux"),
    ],
)
def test_what_two_objectives_do_not_go_with_is_said_in_one_line(tmp_path: Path, searcher: str, more: str, message: str) -> None:
    text, *sets = more.split("--set ")
    path = write(tmp_path / "study", searcher, text)
    with pytest.raises(UserError, match=message) as error:
        rs.run(path, out=tmp_path / "run", sets=sets)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_two_objectives_survive_the_store_and_are_another_study(tmp_path: Path) -> None:
    spec = load(write(tmp_path / "study"))
    assert spec.second is not None
    assert type(spec).from_json(spec.to_json()) == spec
    (tmp_path / "study/again.yaml").write_text(spec.dump_yaml())
    assert load(tmp_path / "study/again.yaml") == spec
    single = load(tmp_path / "study/again.yaml", sets=["objective=roc_auc"])
    assert single.second is None
    assert single.identity() != spec.identity()
    with pytest.raises(SpecError, match="is one figure of merit or a list of two"):
        load(tmp_path / "study/again.yaml", sets=["objective=[roc_auc, average_precision, accuracy]"])


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_loads_a_journal_with_both_objectives_and_their_directions(tmp_path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study = rs.run(write(tmp_path / "two"), out=tmp_path / "run")
    journal = study.to_optuna(tmp_path / "study.journal")
    found = optuna.load_study(study_name="pointing", storage=JournalStorage(JournalFileBackend(str(journal))))
    assert found.directions == [optuna.study.StudyDirection.MAXIMIZE] * 2
    assert found.user_attrs["events"].startswith("simulated by pointing")
    rows = {row.config: row for row in study.table().rows}
    for trial in found.trials:
        row = rows[trial.user_attrs["config"]]
        assert trial.values == pytest.approx([row.objective.mean, row.others["rejection"].mean])
    assert 1 < len(found.best_trials) < 20
