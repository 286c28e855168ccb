"""Early stopping inside a study: fewer epochs, the same bits for who goes on, and nothing decided twice."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import raresearch as rs
from raresearch.api.run import Progress
from raresearch.errors import SpecError
from raresearch.report.results import gather
from raresearch.spec import load

STUDY = """
study: rungs
experiment: toy
seed: 7
fixed: {data.events: 600, train.epochs: 9, train.batch_size: 64}
space:
  train.learning_rate: {float: [1.0e-4, 3.0e-2], log: true, steps: 9}
searcher: SEARCHER
repeats: 2
split: {train: 0.5, validation: 0.4, test: 0.1}
objective: roc_auc
execution: {backend: local}
"""
HALVING = "stopping: {rungs: [2, 5], by: val_loss}\n"
MEDIAN = "stopping: {rule: median, rungs: [2, 5]}\n"
TPE = "{optuna: {configs: 9, initial: 4}}"


def write(folder: Path, more: str = "", searcher: str = "grid") -> Path:
    folder.mkdir()
    path = folder / "rungs.yaml"
    path.write_text(STUDY.replace("SEARCHER", searcher) + more)
    return path


def landed(study: Any) -> dict[str, tuple[Any, ...]]:
    """Cell → all that its training left: outcome, epochs, scores and weights, as bytes."""
    found = {}
    epochs: dict[str, list[Any]] = {}
    for row in study.epochs().to_pylist():
        epochs.setdefault(row["cell"], []).append({n: v for n, v in row.items() if n != "cell"})
    for row in study.cells().to_pylist():
        scores = []
        for events in (row["validation_events"], row["test_events"]):
            keys, _, matrix = study.store.scores(row["landing"], events)
            scores.append(matrix[keys == row["cell"]].tobytes())
        weights = study.store.weights(row["landing"], row["cell"], row["best_epoch"])
        outcome = tuple(row[n] for n in ("config", "seed", "epochs", "stop_epoch", "best_epoch", "best_val_loss", "state"))
        found[row["cell"]] = (outcome, epochs[row["cell"]], scores, {n: a.tobytes() for n, a in weights.items()})
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    return rs.run(write(folder / "study"), out=folder / "run")


@pytest.mark.parametrize("rule", [HALVING, MEDIAN])
def test_survivors_have_the_bits_of_the_study_that_stops_nobody(tmp_path: Path, whole: Any, rule: str) -> None:
    notes: list[str] = []
    study = rs.run(write(tmp_path / "study", rule), out=tmp_path / "run", progress=Progress(note=notes.append))
    survivors = {key: parts for key, parts in landed(study).items() if parts[0][2] == 9}
    everything = landed(whole)
    assert 2 <= len(survivors) < 18
    assert survivors == {key: everything[key] for key in survivors}
    assert any("went on after epoch 2" in note for note in notes), "who goes on begins where it paused"
    assert not (study.folder / "checkpoints").exists()


def test_a_stopped_config_is_shown_as_stopped_and_counts_nowhere_as_finished(tmp_path: Path) -> None:
    study = rs.run(write(tmp_path / "study", HALVING), out=tmp_path / "run")
    facts, table = study.status(), study.table()
    stopped = study.store.stopped()
    assert sorted(stopped.values()) == [2, 2, 2, 2, 2, 2, 5, 5]
    assert facts["done"] == facts["total"] == len(study.cells()) == 18
    assert facts["paused"] == 0
    trained = 2 * (6 * 2 + 2 * 5 + 9)
    assert facts["stopping"] == {"stopped": 8, "epochs_trained": trained, "epochs_saved": 2 * 9 * 9 - trained}
    assert {row.config: row.stopped for row in table.rows if row.stopped} == stopped
    assert "stopped after" in table.to_markdown()
    assert any("8 of 9 configs were stopped early, after 2 to 5 of 9 epochs" in note for note in table.notes)
    (finished,) = {row.config for row in table.rows} - stopped.keys()
    assert study.ranked()[0] == study.select().config == finished
    assert table.best is not None
    assert table.best.config == finished
    results = gather(study.store, objective=study.objective, others=(), rule=study.rule, labels=study.labels)
    assert results.finished() == [finished]


class Stop(Exception):
    """Ends a run in the middle."""


@pytest.mark.parametrize("searcher", ["grid", TPE])
@pytest.mark.parametrize("at", [3, 21, 40])
def test_an_interrupted_study_ends_with_the_verdicts_of_an_undisturbed_one(tmp_path: Path, searcher: str, at: int) -> None:
    more = "stopping: {rungs: [2, 5], least: 3}\n"
    undisturbed = rs.run(write(tmp_path / "one", more, searcher), out=tmp_path / "one/run")
    path = write(tmp_path / "two", more, searcher)
    epochs = 0

    def stop(cell: Any, epoch: int) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == at:
            raise Stop

    with pytest.raises(Stop):
        rs.run(path, out=tmp_path / "two/run", progress=Progress(epoch=stop))
    before = rs.open(tmp_path / "two/run")
    assert before.status()["done"] < 18
    resumed = rs.run(path, out=tmp_path / "two/run")
    assert before.store.verdicts().items() <= resumed.store.verdicts().items()
    assert resumed.store.verdicts() == undisturbed.store.verdicts() != {}
    assert landed(resumed) == landed(undisturbed)


@pytest.mark.cluster
@pytest.mark.parametrize("searcher", ["grid", TPE])
def test_a_driver_killed_again_and_again_ends_with_the_same_verdicts_and_bits(tmp_path: Path, searcher: str) -> None:
    more = "stopping: {rungs: [2, 5], least: 3}\n"
    undisturbed = rs.run(write(tmp_path / "one", more, searcher), out=tmp_path / "one/run")
    path = write(tmp_path / "two", more, searcher)
    command = [sys.executable, "-m", "raresearch.cli", "run", str(path), "--out", str(tmp_path / "two/run")]
    run = tmp_path / "two/run"
    for wanted in (1, 3, 5):  # by what lies there, not by the clock: machines differ
        with (tmp_path / "output").open("w") as output:
            driver = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while driver.poll() is None and len([*run.glob("cells/*"), *run.glob("race/*.json")]) < wanted:
            time.sleep(0.005)
        driver.kill()
        driver.wait()
    resumed = rs.run(path, out=run)
    assert resumed.store.verdicts() == undisturbed.store.verdicts() != {}
    assert landed(resumed) == landed(undisturbed)


def test_verdicts_half_written_when_the_driver_died_are_completed_as_they_would_have_been(tmp_path: Path) -> None:
    path = write(tmp_path / "study", HALVING)
    study = rs.run(path, out=tmp_path / "run")
    whole, before = study.store.verdicts(), landed(study)
    first = [config for config, verdict in whole.items() if verdict["epochs"] == 2]
    for config in first[:3]:
        (study.folder / "race" / f"{config}.json").unlink()
    again = rs.run(path, out=tmp_path / "run")
    assert again.store.verdicts() == whole
    assert landed(again) == before


def test_a_training_out_of_patience_is_complete_and_stays_what_it_is_without_stopping(tmp_path: Path) -> None:
    patient = "fixed: {data.events: 600, train.epochs: 30, train.batch_size: 16, train.patience: 2}\n"
    text = STUDY.replace("SEARCHER", "grid")
    text = "\n".join(patient.strip() if line.startswith("fixed") else line for line in text.splitlines()) + "\n"
    for name, more in {"whole": "", "stopped": "stopping: {rungs: [8, 16], keep: 0.5}\n"}.items():
        (tmp_path / f"{name}.yaml").write_text(text + more)
    whole = rs.run(tmp_path / "whole.yaml", out=tmp_path / "a")
    study = rs.run(tmp_path / "stopped.yaml", out=tmp_path / "b")
    early = {row["cell"] for row in whole.cells().to_pylist() if row["stop_epoch"] < 8}
    assert early, "the toy has trainings that end before the first rung"
    complete, everything = landed(study), landed(whole)
    full = {key for key, parts in complete.items() if parts[0][2] == 30}
    assert {key: complete[key] for key in full} == {key: everything[key] for key in full}
    assert early & full
    for row in whole.cells().to_pylist():
        assert row["config"] not in study.store.stopped() or row["stop_epoch"] >= 8 or row["cell"] in full


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stopping: {}\n", "rungs are epochs from 1 up, each above the one before"),
        ("stopping: {rungs: [5, 5]}\n", r"each above the one before, not \[5, 5\]"),
        ("stopping: {rungs: 5}\n", "must be a list of epochs"),
        ("stopping: {rungs: [2, 9]}\n", "rung 9 is not below the 9 epochs of train.epochs"),
        ("stopping: {rungs: [2], by: val_los}\n", "must be one of objective, val_loss, val_accuracy"),
        ("stopping: {rungs: [2], by: test_loss}\n", "must be one of objective, val_loss, val_accuracy"),
        ("stopping: {rungs: [2], rule: median, keep: 0.5}\n", "drop keep, or take halving"),
        ("stopping: {rungs: [2], keep: 1.5}\n", "keep 1.5 must lie between 0 and 1"),
        ("stopping: {rungs: [2], keep: 0}\n", "keep 0 must lie between 0 and 1"),
        ("stopping: {rungs: [2], least: 1}\n", "least"),
        ("stopping: {rungs: [2], eta: 3}\n", "there is no 'eta' here"),
        ("stopping: {rungs: [2]}\nracing: {}\n", "keep one of racing and stopping"),
        ("stopping: {rungs: [2]}\n--set execution.checkpoint_seconds=null", "checkpoint_seconds is null"),
        ("stopping: {rungs: [2]}\n--set space.train.epochs={int: [5, 9]}", "train.epochs is an axis of the space"),
    ],
)
def test_a_mistake_in_stopping_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    text, *sets = text.split("--set ")
    path = write(tmp_path / "study", text)
    with pytest.raises(SpecError, match=message) as error:
        rs.run(path, out=tmp_path / "run", sets=sets)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_stopping_survives_the_store_and_decides_which_study_it_is(tmp_path: Path) -> None:
    spec = load(write(tmp_path / "study", HALVING))
    assert type(spec).from_json(spec.to_json()) == spec
    (tmp_path / "study/again.yaml").write_text(spec.dump_yaml())
    assert load(tmp_path / "study/again.yaml") == spec
    assert load(tmp_path / "study/again.yaml", sets=["stopping=null"]).stopping is None
    assert spec.identity() != load(tmp_path / "study/again.yaml", sets=["stopping.keep=0.5"]).identity()
