"""A made-up store for all tests of the report, and what the report reads from it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from raresearch.ensembles.rules import BestEpoch, LastK, TopK
from raresearch.errors import SelectionError
from raresearch.metrics.foms import Rejection, RocAuc, Significance, Xi
from raresearch.report.results import distinct, gather
from raresearch.store.records import CellRecord
from raresearch.store.store import Store
from raresearch.types import Cell, Outcome, config_id

HIDDEN = {
    "4A": (32, 16, 8, 8),
    "4B": (32, 16, 16, 8),
    "4C": (32, 32, 16, 8),
    "4D": (128, 128, 64, 32),
    "4E": (512, 512, 256, 256),
    "5A": (32, 16, 8, 8, 8),
    "5B": (32, 16, 16, 8, 8),
    "5C": (32, 32, 16, 8, 8),
    "5D": (32, 32, 16, 16, 8),
    "5E": (128, 128, 64, 32, 16),
    "5F": (512, 512, 256, 256, 128),
    "6A": (32, 16, 16, 8, 8, 8),
    "6B": (32, 32, 16, 16, 8, 8),
    "6C": (32, 32, 16, 16, 16, 8),
    "7A": (32, 16, 16, 16, 12, 12, 12),
    "7B": (32, 32, 16, 16, 16, 8, 8),
    "7C": (32, 32, 16, 16, 12, 12, 8),
    "7D": (32, 32, 16, 16, 16, 12, 12),
}
CLASSES = ("NR", "accidental", "ER")
OBJECTIVE = Significance(n_signal=976, n_background=976)
OTHERS = (RocAuc(), Rejection())
RULE = BestEpoch()


def config_of(hidden):
    return {"data.events": 12000, "model.hidden": hidden, "train.batch_size": 256, "train.epochs": 40}


def events(n, fold, observers=True):
    """Events of three classes with two observers; the class decides the mean of a hidden number, which is not stored."""
    rng = np.random.default_rng([7, fold])
    number = rng.choice(3, size=n, p=(0.45, 0.45, 0.1))
    label = np.array([1, 0, -1], dtype=np.int8)[number]
    columns = {
        "event_id": np.arange(n) + 100_000 * fold,
        "class": number.astype(np.int16),
        "label": label,
        "weight": np.ones(n),
    }
    if observers:
        columns |= {"qS1c": 3 + rng.gamma(2.0, 8.0, n), "qS2c": 100 + rng.gamma(2.0, 900.0, n)}
    truth = np.array([1.6, -1.6, 1.0])[number] + rng.normal(size=n)
    return pa.table(columns), truth


def training(truth, label, rng, epochs, sharp):
    """Logits (E, N) that sharpen with the epoch, and the columns that a trainer writes."""
    noise = rng.normal(size=truth.shape)
    drift = rng.normal(size=truth.shape)
    steps = np.arange(1, epochs + 1)[:, None]
    learned = 1 - np.exp(-steps / 7.0)
    logits = sharp * learned * (truth + 0.25 * noise + 0.012 * steps * drift) + rng.normal(0, 0.1, (epochs, 1))
    used = label >= 0
    loss = np.logaddexp(0, -np.where(label[used] == 1, 1, -1) * logits[:, used]).mean(axis=1)
    return logits.astype(np.float32), {
        "train_loss": loss * (0.97 - 0.2 * steps[:, 0] / 60),
        "val_loss": loss,
        "val_accuracy": ((logits[:, used] > 0) == (label[used] == 1)).mean(axis=1),
    }


def synthetic_store(
    root, labels=("4A", "4B", "4C"), repeats=3, folds=1, n=400, epochs=12, failed=(), simulated=True, observers=True, sharp=2.0,
    configs=None, spec=None,
):  # fmt: skip
    """A store as a run leaves it. ``failed``: (label, fold, seed) of cells that failed; ``configs``: label → config in place of
    those of ``labels``; ``spec``: more of the study's spec. Returns (store, labels)."""
    budgets = {label: config.get("train.epochs", epochs) for label, config in (configs or {}).items()}
    configs = configs or {label: config_of(HIDDEN[label]) for label in labels}
    about = {
        "study": "pandax2-mlp",
        "scale": "demo",
        "spec": {
            "study": "pandax2-mlp",
            "seed": 2301,
            "repeats": repeats,
            "folds": folds,
            "selection": {"best_epoch": {"by": "val_loss"}},
            **(spec or {}),
        },
        "experiment": {
            "name": "pandax2",
            "version": "1",
            "simulated": simulated,
            "module": "m",
            "cites": ["10.1088/1748-0221/18/06/T06002"],
        },
        "schema": {
            "classes": CLASSES,
            "signal": ["NR"],
            "background": ["accidental"],
            "observers": ["qS1c", "qS2c"] if observers else [],
        },
        "versions": {"raresearch": "0.1.0", "python": "3.11.9", "torch": "2.8.0", "ray": "2.60.0", "numpy": "2.3.0"},
        "labels": {config_id(config): label for label, config in configs.items()},
        "paper": [
            {"label": "4A", "value": 26.85, "spread": 0.50, "best_epoch": 153.8},
            {"label": "4B", "value": 26.71, "spread": 0.44, "best_epoch": 140.2},
        ],
        "objective": {"name": "significance", "options": {"n_signal": 976}},
        "created": "2025-06-01T12:00:00+00:00",
    }
    store = Store.create(root, "made-up", about)
    for fold in range(folds):
        store.put_events(f"data-{fold}", events(n, fold, observers)[0])
    for number, (label, config) in enumerate(configs.items()):
        for seed in range(repeats):
            for fold in range(folds):
                cell = Cell(config, fold, seed, budgets.get(label, epochs), {"data": "made-up"})
                store.land(
                    [
                        _failed(cell)
                        if (label, fold, seed) in failed
                        else _record(cell, n, fold, epochs, number, observers, sharp)
                    ]
                )
    return store, {config_id(config): label for label, config in configs.items()}


def _failed(cell):
    return CellRecord(cell, Outcome(cell.key, "failed", seconds=1.5, error="loss is NaN in epoch 3 <b>&"))


def _record(cell, n, fold, epochs, number, observers, sharp):
    table, truth = events(n, fold, observers)
    rng = np.random.default_rng([number, cell.seed, fold])
    last = int(rng.integers(int(0.7 * epochs), epochs + 1))
    logits, columns = training(truth, table["label"].to_numpy(), rng, last, sharp + 0.03 * number)
    best = int(np.argmin(columns["val_loss"])) + 1
    outcome = Outcome(cell.key, "done", last, best, float(columns["val_loss"].min()), seconds=7.0 + number)
    scores = {f"data-{fold}": (np.arange(1, last + 1), logits)}
    return CellRecord(cell, outcome, columns, scores, validation_events=f"data-{fold}")


def read(store, labels, **parts):
    return gather(store, **{"objective": OBJECTIVE, "others": OTHERS, "rule": RULE, "labels": labels} | parts)


def test_each_cell_is_judged_at_the_epoch_of_its_lowest_validation_loss(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A", "4B"), repeats=2)
    results = read(store, labels)
    epochs = store.epochs().to_pylist()
    for cell in results.cells:
        mine = [r for r in epochs if r["cell"] == cell.key]
        best = min(mine, key=lambda r: r["val_loss"])["epoch"]
        assert cell.epochs == (best,)
        _, numbers, matrix = store.scores(results.reader.cells[cell.key]["landing"], "data-0")
        scores = expit(matrix[numbers == best][0].astype(np.float64))
        table = store.events("data-0")
        expected = OBJECTIVE(scores, table["label"].to_numpy(), table["weight"].to_numpy())
        assert cell.estimates["significance"] == expected


def test_a_repeat_is_the_mean_over_its_folds_and_needs_all_of_them(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=3, folds=3, n=200, failed=[("4A", 1, 2)])
    results = read(store, labels)
    (config,) = results.labels
    repeats = results.repeats[config]
    assert [r.state for r in repeats] == ["done", "done", "failed"]
    by_hand = [c.estimates["roc_auc"].value for c in results.cells if c.seed == 0]
    assert len(by_hand) == 3
    assert repeats[0].value("roc_auc") == pytest.approx(sum(by_hand) / 3)


def test_a_repeat_whose_folds_are_not_all_in_is_open(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, folds=1, n=200)
    results = read(store, labels)
    results = replace(results, about={**results.about, "spec": {"folds": 3}})
    assert [r.state for r in results.repeats[next(iter(labels))]] == ["open"]
    assert results.best_cell is None


def test_the_best_config_of_a_figure_to_minimise_has_the_smallest_mean(tmp_path):
    class Loss(RocAuc):
        name = "loss"
        goal = "min"

    store, labels = synthetic_store(tmp_path)
    best = read(store, labels, objective=RocAuc(), others=()).ranked()
    assert read(store, labels, objective=Loss(), others=()).ranked() == best[::-1]


def test_a_figure_that_cannot_be_computed_is_left_out_with_a_note_and_the_rest_stands(tmp_path):
    store, labels = synthetic_store(tmp_path, n=200)
    results = read(store, labels, others=(RocAuc(), Xi(min_background=5000)))
    assert all("xi" not in c.estimates and "roc_auc" in c.estimates for c in results.cells)
    (note,) = [n for n in results.notes if "missing" in n]
    assert "xi" in note
    assert "5000" in note


def test_figures_that_share_a_name_but_not_their_options_both_stay():
    found = distinct(Rejection(0.9), [Rejection(0.9), Rejection(0.95), RocAuc()])
    assert list(found) == ["rejection (acceptance 0.95)", "roc_auc"]


def test_rules_with_many_members_give_all_their_epochs(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1)
    assert len(read(store, labels, rule=TopK(k=3)).cells[0].epochs) == 3
    last = read(store, labels, rule=LastK(k=4)).cells[0].epochs
    assert max(last) == store.cells()["stop_epoch"][0].as_py()
    assert len(last) == 4


def test_a_rule_that_needs_a_column_that_is_not_there_is_refused(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1)
    with pytest.raises(SelectionError, match="val_los_2"):
        read(store, labels, rule=BestEpoch(by="val_los_2"))


def test_a_failed_cell_has_no_scores_to_show(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=2, failed=[("4A", 0, 1)])
    results = read(store, labels)
    failed = next(c for c in results.cells if c.state == "failed")
    with pytest.raises(SelectionError, match="failed"):
        results.sample(failed)
    assert math.isnan(results.repeats[failed.config][1].value("roc_auc"))


def test_trainings_that_were_cut_off_at_their_last_epoch_are_noted(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A", "4B"), repeats=3, epochs=3)
    results = read(store, labels)
    cut_off = sum(c.epochs == (3,) for c in results.cells)
    assert cut_off > 0
    assert results.notes == (
        f"In {cut_off} of 6 trainings the chosen epoch is the last one allowed: longer ones may do better.",
    )


def test_a_rule_that_takes_the_last_epochs_by_design_is_not_told_that_they_are_the_last(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=3, epochs=3)
    assert read(store, labels, rule=LastK(k=1)).notes == ()


def test_long_labels_give_way_to_ranks_in_figures_and_short_ones_stay(tmp_path):
    store, labels = synthetic_store(tmp_path / "short", labels=("4A", "4B"), repeats=1)
    results = read(store, labels)
    assert results.short == results.labels
    long = {f"learning_rate=0.00123 dropout={i}": config_of((8 + i,)) for i in range(3)}
    results = read(
        *synthetic_store(tmp_path / "long", configs=long, repeats=1, failed=[("learning_rate=0.00123 dropout=2", 0, 0)])
    )
    assert [results.short[c] for c in results.ranked()] == ["#1", "#2"]
    assert results.side_by_side(9) == results.ranked()
    (other,) = set(results.labels) - set(results.ranked())
    assert results.short[other] == other[:6]


def test_trainings_that_turned_before_their_last_epoch_need_no_note(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=2, epochs=40)
    assert read(store, labels).notes == ()
