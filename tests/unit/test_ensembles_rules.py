"""The rules over repeats, folds and scores, on examples worked by hand."""

import numpy as np
import pytest

from raresearch.ensembles.base import Library
from raresearch.ensembles.folds import FoldEnsemble
from raresearch.ensembles.greedy import Greedy
from raresearch.ensembles.repeats import BestOfRepeats, EverySeed
from raresearch.ensembles.stacking import Stacking
from raresearch.errors import DataError, SelectionError, SpecError
from raresearch.types import EpochTable, Member


def table(losses, folds=None, config="c"):
    """``losses``: cell name → its validation losses; ``folds``: cell → (fold, seed)."""
    rows = [(cell, e + 1, loss) for cell, values in losses.items() for e, loss in enumerate(values)]
    where = {cell: (0, number) for number, cell in enumerate(losses)} | (folds or {})
    return EpochTable(
        {
            "cell": np.array([r[0] for r in rows]),
            "config": np.array([config] * len(rows)),
            "fold": np.array([where[r[0]][0] for r in rows]),
            "seed": np.array([where[r[0]][1] for r in rows]),
            "epoch": np.array([r[1] for r in rows]),
            "val_loss": np.array([r[2] for r in rows], dtype=float),
            "val_accuracy": np.array([-r[2] for r in rows], dtype=float),
        }
    )


class Given:
    """Logits by (cell, epoch), written down by the test."""

    def __init__(self, logits, label, weight=None, events=None):
        self.logits, self.label = logits, np.asarray(label, dtype=np.int8)
        self.weight = np.ones(len(label)) if weight is None else np.asarray(weight, dtype=float)
        self.events = events or {}

    def libraries(self, epochs):
        lists = {}
        for row, key in enumerate(zip(epochs["cell"].tolist(), epochs["epoch"].tolist(), strict=True)):
            lists.setdefault(self.events.get(key[0], "all"), []).append((row, self.logits[key]))
        return [
            Library(
                name,
                np.array([r for r, _ in parts]),
                np.array([x for _, x in parts], dtype=np.float32),
                self.label,
                self.weight,
            )
            for name, parts in sorted(lists.items())
        ]


# Four signal and four background events. a and b each lose one signal event and keep one background event; they err on
# different events, so their mean separates perfectly at 100 % acceptance. c is worse alone and of no help.
LABEL = [1, 1, 1, 1, 0, 0, 0, 0]
A = [-3, 2, 2, 2, -2, -2, -2, 1]
B = [3, 2, 2, -1, -2, 1, -2, -3]
C = [0, 1, 0, 1, 0, 1, 0, 1]
LOGITS = {("a", 1): A, ("b", 1): B, ("c", 1): C}
EPOCHS = table({"a": [0.3], "b": [0.4], "c": [0.5]})


def test_every_seed_takes_the_best_epoch_of_each_cell():
    epochs = table({"a": [0.3, 0.2, 0.4], "b": [0.1, 0.5]})
    assert EverySeed().choose(epochs) == [Member("a", 2), Member("b", 1)]
    assert EverySeed.per == "config"


def test_best_of_repeats_takes_the_one_best_of_all():
    epochs = table({"a": [0.3, 0.2], "b": [0.1, 0.5]})
    assert BestOfRepeats().choose(epochs) == [Member("b", 1)]
    assert BestOfRepeats(by="val_accuracy").choose(epochs) == [Member("b", 1)]


def test_best_of_repeats_by_a_figure_of_merit_prefers_it_to_the_loss():
    perfect = [2, 2, 2, 2, -2, -2, -2, -2]
    scores = Given({**LOGITS, ("c", 1): perfect}, LABEL)
    assert BestOfRepeats(fom="roc_auc").choose_scored(EPOCHS, scores) == [Member("c", 1)]


def test_best_of_repeats_goes_to_the_better_loss_where_figures_are_equal():
    scores = Given({("a", 1): C, ("b", 1): A, ("c", 1): A}, LABEL)
    assert BestOfRepeats(fom="roc_auc").choose_scored(EPOCHS, scores) == [Member("b", 1)]


def test_greedy_finds_the_pair_whose_errors_cancel():
    chosen = Greedy(fom={"rejection": {"acceptance": 0.99}}, steps=6).choose_scored(EPOCHS, Given(LOGITS, LABEL))
    assert {m.cell for m in chosen} == {"a", "b"}
    assert sum(m.weight for m in chosen) == pytest.approx(1)


def test_greedy_keeps_the_shortest_path_with_the_best_value():
    # One candidate is perfect alone: whatever is added gains nothing.
    scores = Given({**LOGITS, ("b", 1): [5, 5, 5, 5, -5, -5, -5, -5]}, LABEL)
    assert Greedy(steps=10).choose_scored(EPOCHS, scores) == [Member("b", 1)]


def test_greedy_goes_to_the_better_loss_where_values_are_equal():
    scores = Given(dict.fromkeys(LOGITS, A), LABEL)
    assert Greedy(steps=1).choose_scored(EPOCHS, scores) == [Member("a", 1)]


def test_greedy_starts_with_the_best_alone_each_once():
    chosen = Greedy(fom="roc_auc", steps=3, initial=3).choose_scored(EPOCHS, Given(LOGITS, LABEL))
    assert sorted((m.cell, round(m.weight, 6)) for m in chosen) == [("a", 0.333333), ("b", 0.333333), ("c", 0.333333)]


def test_greedy_passes_over_what_leaves_too_little_background():
    # At 70 % acceptance a keeps none of the background, c keeps two or more.
    rule = {"fom": {"rejection": {"acceptance": 0.7}}, "steps": 1}
    scores = Given(LOGITS, LABEL)
    assert Greedy(**rule).choose_scored(EPOCHS, scores)[0].cell == "a"
    assert Greedy(**rule, floor=2).choose_scored(EPOCHS, scores)[0].cell == "c"
    general = Given(LOGITS, LABEL, weight=[1, 1, 1, 1.0001, 1, 1, 1, 1])  # unequal weights: the general engine
    assert Greedy(**rule, floor=2).choose_scored(EPOCHS, general)[0].cell == "c"
    with pytest.raises(SelectionError, match="lower `floor`"):
        Greedy(**rule, floor=5).choose_scored(EPOCHS, scores)


def test_greedy_looks_at_the_pool_alone():
    chosen = Greedy(fom="roc_auc", steps=3, pool=1).choose_scored(EPOCHS, Given(LOGITS, LABEL))
    assert {m.cell for m in chosen} == {"a"}


def test_bags_are_drawn_from_the_seed_and_add_up():
    rng = np.random.default_rng(0)
    names = [f"m{n:02d}" for n in range(12)]
    logits = {(name, 1): rng.normal(size=60) + rng.uniform(0.2, 1) * np.tile([1, -1], 30) for name in names}
    epochs, scores = table({name: [1.0] for name in names}), Given(logits, np.tile([1, 0], 30))
    one, again, other = (Greedy(fom="roc_auc", steps=4, bags=8, seed=s).choose_scored(epochs, scores) for s in (1, 1, 2))
    assert one == again
    assert one != other
    assert sum(m.weight for m in one) == pytest.approx(1)


def test_greedy_gives_every_fold_the_same_weight():
    epochs = table({"a": [0.3], "b": [0.4], "c": [0.5]}, folds={"a": (0, 0), "b": (0, 1), "c": (1, 0)})
    scores = Given(LOGITS, LABEL, events={"a": "fold0", "b": "fold0", "c": "fold1"})
    chosen = Greedy(fom={"rejection": {"acceptance": 0.99}}, steps=6).choose_scored(epochs, scores)
    assert sum(m.weight for m in chosen if m.cell in "ab") == pytest.approx(1)
    assert sum(m.weight for m in chosen if m.cell == "c") == pytest.approx(1)


def test_greedy_with_one_class_is_refused():
    for rule in (Greedy(), Greedy(fom="roc_auc")):
        with pytest.raises(DataError, match="only signal events"):
            rule.choose_scored(EPOCHS, Given(LOGITS, np.ones(8)))


def test_stacking_leaves_out_the_member_that_only_repeats_noise():
    rng = np.random.default_rng(4)
    label = np.tile([1, 0], 3000)
    good = {c: rng.normal(size=6000) + 0.5 * np.where(label, 1, -1) for c in "ab"}
    scores = Given({("a", 1): good["a"], ("b", 1): good["b"], ("c", 1): rng.normal(size=6000)}, label)
    weights = {m.cell: m.weight for m in Stacking(ridge=0).choose_scored(EPOCHS, scores)}
    # The log-likelihood ratio of two unit normals at ±1/2 is the logit itself: weight 1 each, statistical error 0.03.
    assert weights["a"] == pytest.approx(1, abs=0.12)
    assert weights["b"] == pytest.approx(1, abs=0.12)
    assert weights.get("c", 0) < 0.12


def test_stacking_gives_a_learner_one_weight_in_all_its_folds():
    folds = {"a": (0, 0), "b": (1, 0), "c": (0, 1), "d": (1, 1)}
    rng = np.random.default_rng(4)
    label = np.tile([1, 0], 100)
    logits = {(c, 1): rng.normal(size=200) + np.where(label, 1, -1) for c in "abcd"}
    scores = Given(logits, label, events={"a": "f0", "c": "f0", "b": "f1", "d": "f1"})
    weights = {m.cell: m.weight for m in Stacking().choose_scored(table({c: [0.1] for c in "abcd"}, folds), scores)}
    assert weights["a"] == weights["b"]
    assert weights["c"] == weights["d"]


def test_stacking_refuses_a_learner_without_a_fold():
    epochs = table({"a": [0.1], "b": [0.1], "c": [0.1]}, folds={"a": (0, 0), "b": (1, 0), "c": (0, 1)})
    with pytest.raises(SelectionError, match="has not all 2 folds"):
        Stacking().choose_scored(epochs, Given(LOGITS, LABEL))


def test_stacking_refuses_too_few_events_of_a_class():
    with pytest.raises(SelectionError, match="fewer events of a class than 5 parts"):
        Stacking().choose_scored(EPOCHS, Given(LOGITS, LABEL))


def test_a_fold_ensemble_weighs_folds_equally_however_many_members_each_has():
    epochs = table({"a": [0.3, 0.2, 0.4], "b": [0.1]}, folds={"a": (0, 0), "b": (1, 0)})
    assert FoldEnsemble(k=2).choose(epochs) == [Member("a", 2, 0.5), Member("a", 1, 0.5), Member("b", 1, 1.0)]


def test_a_fold_ensemble_refuses_a_repeat_without_a_fold_or_leaves_it_out():
    epochs = table({"a": [0.1], "b": [0.1], "c": [0.1]}, folds={"a": (0, 0), "b": (1, 0), "c": (0, 1)})
    with pytest.raises(SelectionError, match="seed 1: fold 1 is missing"):
        FoldEnsemble().choose(epochs)
    assert {m.cell for m in FoldEnsemble(incomplete=True).choose(epochs)} == {"a", "b"}
    with pytest.raises(SelectionError, match="no repeat has all its folds"):
        FoldEnsemble(folds=3, incomplete=True).choose(epochs)


def test_a_fold_ensemble_of_data_without_folds_is_refused():
    with pytest.raises(SelectionError, match="run the study with `folds: 5`"):
        FoldEnsemble().choose(EPOCHS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Greedy(steps=0),
        lambda: Greedy(steps=2, initial=3),
        lambda: Greedy(fraction=0),
        lambda: Greedy(combine="median"),
        lambda: Greedy(fom={"a": {}, "b": {}}),
        lambda: Greedy(floor=-1),
        lambda: Greedy(pool=0),
        lambda: Stacking(parts=1),
        lambda: Stacking(ridge=-1),
        lambda: FoldEnsemble(folds=1),
        lambda: BestOfRepeats(epochs=0),
    ],
)
def test_senseless_options_are_refused(make):
    with pytest.raises(SpecError):
        make()


@pytest.mark.parametrize("rule", [EverySeed, BestOfRepeats, Greedy, Stacking, FoldEnsemble])
def test_a_rule_that_asks_for_a_test_column_is_refused(rule):
    with pytest.raises(SelectionError, match="validation only"):
        rule(by="test_loss")
