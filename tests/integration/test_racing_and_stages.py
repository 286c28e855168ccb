"""A race inside a study, and a study in stages: fewer cells, the same winner, and nothing decided twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import raresearch as rs
from raresearch.api.run import Progress
from raresearch.errors import SpecError
from raresearch.spec import load

# A network that is told its direction by the config: its score is a smooth function of the angle, and folds are its noise.
EXPERIMENT = Path(__file__).with_name("pointing_experiment.txt").read_text()

STUDY = """
study: pointing
experiment: ./pointing.py
seed: 7
fixed: {data.events: 3000, train.epochs: 1, train.batch_size: 1000, train.learning_rate: 1e-12}
space:
  model.angle: {float: [-1.5, 1.5], steps: 13}
searcher: SEARCHER
folds: 6
split: {train: 0.4, validation: 0.5, test: 0.1}
objective: roc_auc
execution: {backend: local}
"""

SEARCHERS = {"grid": "grid", "random": "{random: {configs: 13}}", "skopt": "{skopt: {configs: 10, initial: 5}}"}


def write(folder: Path, searcher: str, more: str = "") -> Path:
    folder.mkdir()
    (folder / "pointing.py").write_text(EXPERIMENT)
    path = folder / "pointing.yaml"
    path.write_text(STUDY.replace("SEARCHER", SEARCHERS[searcher]) + more)
    return path


def trained(study: Any) -> list[tuple[str, int, int]]:
    return sorted((row["values"], row["fold"], row["seed"]) for row in study.cells().to_pylist())


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_race_trains_fewer_cells_and_finds_the_config_that_all_of_them_would(tmp_path: Path, searcher: str) -> None:
    whole = rs.run(write(tmp_path / "whole", searcher), out=tmp_path / "whole/run")
    raced = rs.run(write(tmp_path / "raced", searcher, "racing: {level: 0.05}\n"), out=tmp_path / "raced/run")
    status = raced.status()
    assert len(raced.cells()) < len(whole.cells())
    assert status["racing"]["left"] == len(raced.store.verdicts()) > 0
    assert status["total"] == status["done"] == len(raced.cells())
    rows = raced.table().rows
    assert sum(row.left is not None for row in rows) == status["racing"]["left"]
    assert all(row.done and row.open == 0 for row in rows)
    assert "left after" in raced.table().to_markdown()
    if searcher != "skopt":  # told of less, it asks for other configs
        assert raced.best() == whole.best()
        assert set(trained(raced)) < set(trained(whole)), "a race only leaves cells out"


def test_a_race_that_stops_half_way_goes_on_with_the_verdicts_that_it_had(tmp_path: Path) -> None:
    undisturbed = rs.run(write(tmp_path / "one", "skopt", "racing: {}\n"), out=tmp_path / "one/run")
    path = write(tmp_path / "two", "skopt", "racing: {}\n")
    seen: list[int] = []

    class Stop(Exception):
        pass

    def stop(counts: Any) -> None:
        seen.append(counts.done)
        if counts.done >= 17 and counts.running == 0:
            raise Stop

    with pytest.raises(Stop):
        rs.run(path, out=tmp_path / "two/run", progress=Progress(changed=stop))
    before = rs.open(tmp_path / "two/run").store.verdicts()
    resumed = rs.run(path, out=tmp_path / "two/run")
    assert trained(resumed) == trained(undisturbed)
    after = resumed.store.verdicts()
    assert before.items() <= after.items()
    assert after == undisturbed.store.verdicts()


STAGES = """
stages:
  search: {fixed: {data.events: 2000}}
  refit: {best: 2, repeats: 3, folds: 1, selection: {last_k: {k: 1}}}
"""


def test_a_later_stage_trains_the_best_of_the_one_before_on_everything(tmp_path: Path) -> None:
    path = write(tmp_path / "study", "grid", STAGES)
    heard: list[tuple[str, int]] = []
    searched = rs.run(
        path, out=tmp_path / "run", progress=Progress(stage=lambda name, configs: heard.append((name, len(configs))))
    )
    (refit,) = searched.stages().values()
    assert heard == [("refit", 2)]
    assert len(searched.cells()) == 13 * 6
    assert len(refit.cells()) == 2 * 3
    angles = {json.loads(row["values"])["model.angle"] for row in refit.cells().to_pylist()}
    assert angles == {point["model.angle"] for point in searched.best(2)}
    assert {json.loads(row["values"])["data.events"] for row in refit.cells().to_pylist()} == {3000}
    assert {json.loads(row["values"])["data.events"] for row in searched.cells().to_pylist()} == {2000}
    landed = [p.name for p in refit.store.landings()]
    again = rs.run(path, out=tmp_path / "run")
    assert [p.name for p in again.stages()["refit"].store.landings()] == landed, "nothing is trained twice"


def test_an_event_of_the_search_is_in_the_same_split_of_the_refit(tmp_path: Path) -> None:
    searched = rs.run(write(tmp_path / "study", "grid", STAGES), out=tmp_path / "run")
    (refit,) = searched.stages().values()

    def test_ids(study: Any) -> set[int]:
        (name,) = {row["test_events"] for row in study.cells().to_pylist()}
        return set(study.store.events(name)["event_id"].to_pylist())

    small, large = test_ids(searched), test_ids(refit)
    assert small < large, "what is sealed in the search stays sealed in the refit"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: {only: {}}\n", "one stage is no sequence"),
        ("stages: {a: {best: 2}, b: {}}\n", "the first stage has none before it"),
        ("stages: {a: {}, cells: {}}\n", "a stage cannot be called 'cells'"),
        ("stages: {a: {}, b: {repeat: 3}}\n", "there is no 'repeat' here; did you mean 'repeats'"),
        ("stages: {a: {}, b: {fixed: {train.epoch: 3}}}\n", "no parameter 'train.epoch'; did you mean 'train.epochs'"),
        ("racing: {level: 2}\n", "level 2 must lie between 0 and 1"),
        ("racing: {folds: 2}\n", "there is no 'folds' here"),
    ],
)
def test_a_mistake_in_racing_or_stages_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "study", "grid", text)
    with pytest.raises(SpecError, match=message):
        rs.run(path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_stages_and_racing_survive_the_store(tmp_path: Path) -> None:
    spec = load(write(tmp_path / "study", "grid", STAGES + "racing: {level: 0.1}\n"))
    assert type(spec).from_json(spec.to_json()) == spec
    (tmp_path / "study/again.yaml").write_text(spec.dump_yaml())
    assert load(tmp_path / "study/again.yaml") == spec
    assert spec.stage(0).identity() != spec.stage(1, [{"model.angle": 0.0}]).identity()


def test_a_search_begins_with_what_another_study_found(tmp_path: Path) -> None:
    other = rs.run(write(tmp_path / "other", "grid"), out=tmp_path / "other/run")
    path = write(tmp_path / "warm", "grid")
    text = path.read_text().replace("searcher: grid", "searcher: {skopt: {configs: 1, warm_start: ../other/run}}")
    path.write_text(text.replace("steps: 13", "steps: 61"))
    notes: list[str] = []
    warm = rs.run(path, out=tmp_path / "warm/run", progress=Progress(note=notes.append))
    assert notes == ["warm start with 13 configs"]
    (best,), (asked,) = other.best(), warm.best()
    # One step of the other grid is 0.25: what is asked first lies beside the other's best, and not at a random place.
    assert abs(float(str(asked["model.angle"])) - float(str(best["model.angle"]))) <= 0.25
