"""Selection rules on examples worked by hand."""

import numpy as np
import pytest

from raresearch.ensembles.rules import BestEpoch, LastK, TopK
from raresearch.errors import SealError, SelectionError, SpecError
from raresearch.types import EpochTable


def table(val_loss, val_accuracy=None, cell=None):
    n = len(val_loss)
    return EpochTable(
        {
            "cell": np.asarray(cell or ["a"] * n),
            "config": np.asarray(["c"] * n),
            "fold": np.zeros(n, int),
            "seed": np.zeros(n, int),
            "epoch": np.arange(1, n + 1),
            "train_loss": np.zeros(n),
            "val_loss": np.asarray(val_loss, float),
            "val_accuracy": np.asarray(val_accuracy if val_accuracy is not None else np.zeros(n), float),
        }
    )


def chosen(rule, epochs):
    return [m.epoch for m in rule.choose(epochs)]


def test_top_k_takes_the_lowest_losses_among_epochs_within_delta_of_the_best_accuracy():
    # PandaX-III's words: accuracy within 0.001 of the maximum, then the three smallest validation losses.
    # epoch              1      2       3       4       5       6
    accuracy = [0.9000, 0.9496, 0.9500, 0.9495, 0.9489, 0.9493]
    loss = [0.1000, 0.3000, 0.2500, 0.2000, 0.1500, 0.2200]
    # Epoch 1 has the lowest loss but is far off in accuracy, epoch 5 is 0.0011 off: both are out.
    assert chosen(TopK(3, "val_loss", {"val_accuracy": 0.001}), table(loss, accuracy)) == [4, 6, 3]


def test_delta_is_strict():
    assert chosen(TopK(3, "val_loss", {"val_accuracy": 0.25}), table([1, 2, 3], [0.5, 0.75, 0.5])) == [2]


def test_top_k_takes_all_where_fewer_than_k_are_within_delta():
    assert chosen(TopK(3, "val_loss", {"val_accuracy": 0.001}), table([0.1, 0.3, 0.2], [0.5, 0.95, 0.9495])) == [3, 2]


def test_earlier_epochs_win_ties():
    assert chosen(BestEpoch(), table([0.3, 0.2, 0.2])) == [2]
    assert chosen(TopK(2), table([0.2, 0.2, 0.2])) == [1, 2]


def test_nan_is_never_best():
    assert chosen(BestEpoch(), table([np.nan, 0.4, np.nan])) == [2]


def test_best_epoch_takes_the_highest_of_what_is_not_a_loss():
    assert chosen(BestEpoch("val_accuracy"), table([1, 1, 1], [0.1, 0.9, 0.3])) == [2]


def test_last_k_takes_the_last_epochs_of_each_cell():
    epochs = table([1.0] * 5, cell=["a", "a", "a", "b", "b"])
    assert [(m.cell, m.epoch) for m in LastK(2).choose(epochs)] == [("a", 2), ("a", 3), ("b", 4), ("b", 5)]


@pytest.mark.parametrize(
    "make", [lambda: TopK(0), lambda: TopK(2.5), lambda: LastK(0), lambda: TopK(3, within={"val_accuracy": 0})]
)
def test_senseless_options_are_refused(make):
    with pytest.raises(SpecError):
        make()


@pytest.mark.parametrize(
    "make", [lambda: BestEpoch("test_loss"), lambda: TopK(3, "test_loss"), lambda: TopK(3, within={"test_x": 1.0})]
)
def test_a_rule_that_asks_for_a_test_column_is_refused(make):
    with pytest.raises(SelectionError, match="validation only"):
        make()


def test_the_table_itself_refuses_a_test_column():
    with pytest.raises(SealError):
        table([1.0])["test_loss"]


def test_a_missing_column_names_the_nearest():
    with pytest.raises(SelectionError, match="val_loss"):
        BestEpoch("val_los").choose(table([1.0]))
