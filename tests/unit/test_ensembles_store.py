"""Questions to a store: ensembles, comparisons, optimism, and what each refuses. Scores are made up, nothing is trained."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from raresearch.api.opened import OpenStudy
from raresearch.cli.main import main
from raresearch.ensembles.evaluation import ScoreReader, epoch_table, estimate, select
from raresearch.ensembles.folds import FoldEnsemble
from raresearch.ensembles.greedy import Greedy
from raresearch.ensembles.repeats import BestOfRepeats, EverySeed
from raresearch.ensembles.rules import BestEpoch, LastK
from raresearch.ensembles.stacking import Stacking
from raresearch.errors import DataError, SelectionError, SpecError
from raresearch.metrics.foms import Rejection
from raresearch.spec import load
from raresearch.store.records import CellRecord
from raresearch.store.store import Store
from raresearch.types import Cell, Outcome, config_id

YAML = """
study: made-up
experiment: toy
seed: 3
fixed: {{data.events: 900, train.epochs: 5}}
space: {{model.hidden: {{choice: {{A: [8], B: [16], C: [32]}}}}}}
repeats: 4
folds: {folds}
objective: roc_auc
selection: {{best_epoch: {{by: val_loss}}}}
"""
QUALITY = {"A": 1.6, "B": 1.5, "C": 0.2}
N, EPOCHS = 300, 5


def events(fold):
    rng = np.random.default_rng([5, fold])
    number = rng.choice(3, size=N, p=[0.45, 0.45, 0.1])
    label = np.array([1, 0, -1], dtype=np.int8)[number]
    columns = {"event_id": np.arange(N) + 1000 * fold, "class": number.astype(np.int8), "label": label, "weight": np.ones(N)}
    return pa.table({**columns, "radius": rng.random(N)}), np.array([1.0, -1.0, 0.0])[number] + rng.normal(size=N)


def record(label, hidden, fold, seed, truth, table, spec, spoil):
    config = {"data.events": 900, "model.hidden": hidden, "train.epochs": EPOCHS}
    cell = Cell(config, fold, seed, EPOCHS, {"data": "made-up", "folds": spec.folds})
    rng = np.random.default_rng([ord(label), fold, seed])
    quality = QUALITY[label] + 0.03 * rng.normal()
    logits = (np.linspace(0.5, 1, EPOCHS)[:, None] * quality * truth + 0.5 * rng.normal(size=(EPOCHS, N))).astype(np.float32)
    y, used = table["label"].to_numpy() == 1, table["label"].to_numpy() >= 0
    columns = {
        "train_loss": np.zeros(EPOCHS),
        "val_loss": np.logaddexp(0, -np.where(y, 1, -1) * logits.astype(float))[:, used].mean(axis=1),
        "val_accuracy": ((logits > 0) == y)[:, used].mean(axis=1),
    }
    numbers = np.arange(1, EPOCHS + 1)
    scores = {f"fold-{fold}": (numbers, spoil(logits)), "test": (numbers, logits[:, ::-1])}
    done = Outcome(cell.key, "done", EPOCHS, EPOCHS, float(columns["val_loss"].min()))
    return config_id(config), CellRecord(cell, done, columns, scores, validation_events=f"fold-{fold}", test_events="test")


def make(root, folds=1, missing=(), spoil=lambda label, logits: logits):
    """A study of 3 configs x 4 repeats; ``missing``: (label, fold, seed) that have not landed."""
    root.mkdir(exist_ok=True)
    (root / "study.yaml").write_text(YAML.format(folds=folds))
    spec = load(root / "study.yaml")
    labels, records = {}, []
    tables = {fold: events(fold) for fold in range(folds)}
    for label, hidden in (("A", (8,)), ("B", (16,)), ("C", (32,))):
        for fold, (table, truth) in tables.items():
            for seed in range(4):
                config, made = record(label, hidden, fold, seed, truth, table, spec, lambda x, name=label: spoil(name, x))
                labels[config] = label
                if (label, fold, seed) not in missing:
                    records.append(made)
    about = {
        "spec": spec.to_json(),
        "labels": list(labels.items()),
        "figures_of_merit": [],
        "schema": {"classes": ["signal", "background", "spectator"]},
    }
    store = Store.create(root / "run", "made-up", about)
    store.land(records[: len(records) // 2])
    store.land(records[len(records) // 2 :])
    for fold, (table, _) in tables.items():
        store.put_events(f"fold-{fold}", table)
    store.put_events("test", tables[0][0].drop_columns(["class", "label", "weight"]))
    return OpenStudy(store)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    return make(tmp_path_factory.mktemp("folds"), folds=3)


def test_an_ensemble_of_every_seed_is_the_mean_of_its_members_scores(study):
    choice = study.select(EverySeed())
    assert [len(e.members) for e in choice.ensembles] == [4, 4, 4]
    reader = ScoreReader(study.store)
    mean = np.mean([expit(reader.logits(m, "validation")[1].astype(float)) for m in choice.ensembles[0].members], axis=0)
    assert reader.validation(choice.ensembles[0]).scores == pytest.approx(mean)
    assert choice.per == "config"


def test_values_of_many_ensembles_equal_estimates_one_by_one(study, folded):
    for opened in (study, folded):
        choice = opened.select(LastK(2))
        one_by_one = [estimate(ScoreReader(opened.store), e, Rejection()).value for e in choice.ensembles]
        assert choice.values(Rejection()) == pytest.approx(one_by_one)


def test_greedy_over_the_whole_study_beats_its_best_member_on_validation(study):
    choice = study.select(Greedy(fom="roc_auc", steps=8))
    alone = max(study.select().values("roc_auc"))
    assert len(choice.ensembles) == 1
    assert choice.label == "study"
    assert choice.estimate("roc_auc").value >= alone


def test_a_rule_is_told_how_scores_combine(study):
    choice = study.select("raresearch.ensembles.greedy:Greedy", combine="logits", fom="roc_auc", steps=3)
    assert choice.rule.combine == "logits"
    assert choice.ensembles[0].combine == "logits"
    assert study.select(Stacking(ridge=0.01)).ensembles[0].combine == "logits"


def test_weighted_ensembles_freeze_fitted_weights_in_their_members(study):
    choice = study.select(EverySeed(), combine="weighted", per="study")
    weights = [m.weight for m in choice.ensembles[0].members]
    assert sum(weights) == pytest.approx(1)
    assert len(set(weights)) > 1


def test_calibration_is_frozen_with_the_ensemble_and_changes_the_hash(study):
    plain, calibrated = study.select(), study.select(calibrate="temperature")
    assert calibrated.ensembles[0].calibration.kind == "temperature"
    assert calibrated.hash != plain.hash
    assert calibrated.values("roc_auc") == pytest.approx(plain.values("roc_auc"))
    assert study.select(combine="median").hash != plain.hash


def test_test_scores_combine_with_ranks_fixed_on_validation(study):
    choice = study.select(EverySeed(), combine="ranks", configs=["A"])
    reader, ensemble = ScoreReader(study.store), choice.ensembles[0]
    (_, test), (_, validation) = *reader.combined(ensemble, "test"), *reader.combined(ensemble, "validation")
    # The made-up test logits are the validation logits in reverse.
    assert test == pytest.approx(validation[::-1])


def test_folds_score_their_own_validation_events_and_all_test_events(folded):
    choice = folded.select(FoldEnsemble())
    assert [len(e.members) for e in choice.ensembles] == [3] * 12
    ids = ScoreReader(folded.store).validation(choice.ensembles[0]).event_id
    assert len(set(ids.tolist())) == 3 * N
    ((_, test),) = ScoreReader(folded.store).combined(choice.ensembles[0], "test")
    assert len(test) == N


def test_one_reader_gives_each_fold_its_own_events_and_scores(folded):
    ensembles, reader = folded.select(LastK(2)).ensembles, ScoreReader(folded.store)
    assert len({tuple(reader.validation(e).event_id.tolist()) for e in ensembles}) == 3
    for ensemble in [*ensembles, *ensembles[::-1]]:
        mine, alone = reader.validation(ensemble), ScoreReader(folded.store).validation(ensemble)
        for name in ("event_id", "scores", "label", "weight", "class_number"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(alone, name))


def test_a_rule_with_scores_works_wherever_the_epoch_table_of_a_store_is_used(study):
    chosen = select(epoch_table(study.store), BestOfRepeats(fom="roc_auc", epochs=5), "config")
    assert [len(e.members) for e in chosen] == [1, 1, 1]


def test_rules_never_ask_for_test_scores(study, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Store, "scores", (lambda f: lambda self, landing, name: (asked.append(name), f(self, landing, name))[1])(Store.scores)
    )
    for rule in (Greedy(steps=3), Stacking(ridge=0.01), BestOfRepeats(fom="roc_auc")):
        select(epoch_table(study.store), rule, "study")
    assert set(asked) == {"fold-0"}


def test_better_and_equal_configs_are_told_apart(study):
    clear, close = study.compare("A", "C"), study.compare("A", "B")
    assert clear.verdict == "A better"
    assert (clear.a, clear.b, clear.repeats_a) == ("A", "C", 4)
    assert close.verdict == "not decided"


def test_folds_are_paired_in_a_comparison_and_incomplete_repeats_left_out(tmp_path):
    opened = make(tmp_path / "s", folds=2, missing={("A", 1, 2)})
    found = opened.compare("A", "C", resamples=40)
    assert (found.repeats_a, found.repeats_b) == (3, 4)
    assert "1 repeats lack a fold" in found.notes[0]


def test_one_config_against_all_others_is_corrected(study):
    found = study.compare_all("A", resamples=40)
    assert [c.b for c in found] == ["B", "C"]
    assert "2 comparisons (holm)" in found[0].notes[-1]


def test_two_choices_are_compared_by_their_best_configs(study):
    deep, single = study.select(EverySeed(), configs=["A"]), study.select(BestOfRepeats(), configs=["C"])
    found = study.compare(deep, single)
    assert found.verdict == "A better"
    assert len(found.notes) == 2


def test_optimism_and_variance_and_intervals_answer(folded):
    choice = folded.select(per="repeat", rule=FoldEnsemble())
    found = choice.optimism("roc_auc", rounds=8)
    assert 0.5 < found.held_out < found.reported + 3 * found.error < 1.1
    cells = folded.select()
    assert cells.variance("roc_auc", resamples=20).config > 0
    for over in ("events", "repeats", "both"):
        assert cells.interval("roc_auc", over, resamples=20).low < cells.estimate("roc_auc").value
    with pytest.raises(SelectionError, match="per='cell'"):
        choice.variance("roc_auc")


def test_optimism_rehearses_rules_with_scores_too(study):
    assert np.isfinite(study.select(Greedy(fom="roc_auc", steps=3)).optimism(rounds=3).optimism)


def test_operating_points_and_curves_of_the_best_config(study):
    choice = study.select()
    points = choice.operating_points(accept=0.3, species="signal")
    assert len(points) == 4
    curves = choice.curve("radius", [0, 0.5, 1], threshold=points[0].threshold)
    assert curves[0].edges == (0, 0.5, 1)
    with pytest.raises(SpecError, match="exactly one is needed"):
        choice.operating_points(accept=0.3, pass_background=0.1)
    with pytest.raises(SpecError, match="the objective roc_auc has none"):
        choice.curve("radius")


def test_more_epochs_are_seen_after_they_landed(tmp_path):
    opened = make(tmp_path / "s", missing={("A", 0, 3)})
    before = opened.epoch_table()
    assert opened.epoch_table() is before
    table, truth = events(0)
    opened.store.land([record("A", (8,), 0, 3, truth, table, opened.spec, lambda x: x)[1]])
    assert len(opened.epoch_table()) == len(before) + EPOCHS
    assert len(opened.select(EverySeed()).ensembles[0].members) in (3, 4)


# -- bad input: one line that says what to do


def refusal(call):
    with pytest.raises((SelectionError, SpecError, DataError)) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nan_scores_are_refused_by_cell_and_epoch(tmp_path):
    def spoil(label, logits):
        return np.where(np.arange(N) < (2 if label == "B" else 0), np.nan, logits).astype(np.float32)

    opened = make(tmp_path / "s", spoil=spoil)
    assert "2 scores are NaN or infinite" in refusal(lambda: opened.select(Greedy()))
    assert "NaN" in refusal(lambda: opened.compare("A", "B"))
    assert "NaN" in refusal(lambda: opened.select().values("roc_auc"))


def test_scores_that_do_not_fit_their_events_are_refused(tmp_path):
    opened = make(tmp_path / "s", spoil=lambda label, logits: logits[:, :-1])
    assert "299 scores for 300 events: ids and scores differ" in refusal(lambda: opened.select(Greedy()))
    assert "ids and scores differ" in refusal(lambda: opened.select().values("roc_auc"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.select(combine="medain"), "did you mean 'median'"),
        (lambda s: s.select(calibrate="isotonik"), "did you mean 'isotonic'"),
        (lambda s: s.select(Greedy(), combine="median"), ""),
        (lambda s: s.compare("A", "Z"), "there is no such config"),
        (lambda s: s.compare("A", "A"), "the same config"),
        (lambda s: s.select(BestEpoch("val_los")), "did you mean 'val_loss'"),
        (lambda s: s.select().interval("roc_auc", "folds"), "events, repeats or both"),
        (lambda s: s.select(EverySeed(), configs=["Q"]), "there is no such config"),
        (lambda s: s.select(FoldEnsemble()), "run the study with `folds: 5`"),
        (lambda s: s.select().optimism(rounds=1), "at least 2"),
        (lambda s: s.select(combine="weighted").optimism(), "combine: scores"),
    ],
)
def test_wrong_questions_get_one_line(study, call, words):
    if words:
        assert words in refusal(lambda: call(study))
    else:
        assert call(study).ensembles[0].combine == "median"  # chosen on the mean of scores, combined by the median: allowed


def test_the_command_line_compares(study, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(study.folder), "A", "C", "--json"])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "A better"
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(study.folder), "A"])
    assert "A against the others" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(study.folder), "A", "Q"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
