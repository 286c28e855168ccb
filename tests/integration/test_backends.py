"""The same study on `local` and on `ray_tune`, with one and with two workers, gives bit-identical cells."""

import os

import pytest
import ray

import raresearch as rs
from raresearch.execution import ray_tune
from raresearch.execution.ray_session import ray_session
from raresearch.execution.ray_tune import RayTuneExecutor

STUDY = """
study: backends
experiment: toy
seed: 11
fixed: {data.events: 1500, train.epochs: 5, train.batch_size: 32, train.scaling: standard, model.dropout: 0.1, data.block: 300}
space:
  model.hidden: {choice: {A: [8], B: [16, 8]}}
repeats: 3
folds: 2
objective: roc_auc
"""


@pytest.fixture(scope="module")
def cluster():
    with ray_session(None, 2):
        yield


def landed(study):
    cells = study.cells().drop_columns(["seconds", "memory", "worker", "pack", "landing"]).to_pylist()
    scores = {}
    for row in study.cells().to_pylist():
        for events in (row["validation_events"], row["test_events"]):
            keys, epochs, matrix = study.store.scores(row["landing"], events)
            scores[row["cell"], events] = (epochs[keys == row["cell"]].tolist(), matrix[keys == row["cell"]].tobytes())
    return cells, study.epochs().to_pylist(), scores


@pytest.mark.slow
def test_early_stopping_is_the_same_with_one_worker_and_with_two(tmp_path, cluster):
    path = tmp_path / "study.yaml"
    axis = "space:\n  train.learning_rate: {float: [1.0e-4, 3.0e-2], log: true, steps: 6}\n"
    text = STUDY.replace("space:\n  model.hidden: {choice: {A: [8], B: [16, 8]}}\n", axis)
    path.write_text(text + "stopping: {rungs: [1, 3], keep: 0.5}\n")
    local = rs.run(path, out=tmp_path / "local", sets=["execution.backend=local"])
    two = rs.run(path, out=tmp_path / "two", sets=["execution.backend=ray_tune", "execution.workers=2"])
    assert sorted(local.store.stopped().values()) == [1, 1, 1, 3]
    assert two.store.verdicts() == local.store.verdicts()
    assert landed(two) == landed(local)


@pytest.mark.slow
def test_backends_and_workers_do_not_change_a_bit(tmp_path, cluster):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    runs = {}
    for name, sets in {
        "local": ["execution.backend=local"],
        "one": ["execution.backend=ray_tune", "execution.workers=1"],
        "two": ["execution.backend=ray_tune", "execution.workers=2"],
    }.items():
        runs[name] = rs.run(path, out=tmp_path / name, sets=sets)
        assert runs[name].done() == 12
    reference = landed(runs["local"])
    assert landed(runs["one"]) == reference
    assert landed(runs["two"]) == reference
    workers = {row["worker"].split(":")[1] for row in runs["two"].cells().to_pylist()}
    assert len(workers) == 2, "two processes shared the work"
    assert str(os.getpid()) not in workers, "and neither was the driver"
    assert ray.is_initialized(), "a session that somebody else began stays"


def test_more_trials_than_tune_bears_take_several_runs_of_it(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(ray_tune, "TRIALS", 2)
    runs, fit = [], RayTuneExecutor._fit
    monkeypatch.setattr(RayTuneExecutor, "_fit", lambda self, searcher: runs.append(fit(self, searcher)))
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    small = ["repeats=2", "folds=1", "fixed.data.events=300", "fixed.train.epochs=1", "fixed.train.pack='off'"]
    study = rs.run(path, out=tmp_path / "rounds", sets=["execution.backend=ray_tune", *small])
    assert (study.done(), study.failed()) == (4, [])
    assert len(runs) == 3, "two of two trials, and one that finds nothing left"
