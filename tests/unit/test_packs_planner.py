"""From cells to packs: what trains together, and how many."""

import pytest

from raresearch.planner import fill, plan_packs, shorter_budgets, trainings
from raresearch.types import Cell


def cells(repeats=1, folds=1, epochs=10, **values):
    config = {"model.hidden": (8,), "train.learning_rate": 1e-3, "train.epochs": epochs, "train.pack": "auto"} | values
    return [Cell(config, fold, seed, epochs, {"data": "d"}) for seed in range(repeats) for fold in range(folds)]


def sizes(packs):
    return [len(p.cells) for p in packs]


def test_every_cell_is_in_one_pack():
    planned = cells(13, 2) + cells(5, **{"model.hidden": (9,)})
    assert sorted(c.key for p in plan_packs(planned, 3) for c in p.cells) == sorted(c.key for c in planned)


def test_seeds_folds_and_settings_of_the_optimiser_share_a_pack():
    mixed = cells(3, 2) + cells(2, **{"train.learning_rate": 1e-2, "train.patience": 3, "train.optimizer": "sgd"})
    assert sizes(plan_packs(mixed)) == [8]


@pytest.mark.parametrize("other", [{"model.hidden": (9,)}, {"train.batch_size": 64}, {"train.precision": "float64"}])
def test_other_networks_do_not(other):
    assert sizes(plan_packs(cells(3) + cells(2, **other))) == [3, 2]


def test_a_shape_that_is_known_to_be_the_same_brings_configs_together():
    rates = cells(3, **{"model.dropout": 0.1}) + cells(3, **{"model.dropout": 0.2})
    assert sizes(plan_packs(rates, shape_of=lambda config: config["model.hidden"])) == [6]


def test_all_workers_get_a_pack():
    assert sizes(plan_packs(cells(100), 2)) == [50, 50]
    assert sizes(plan_packs(cells(5), 2)) == [2, 3]


def test_packs_are_not_split_below_what_fills_a_core_where_others_keep_the_workers_busy():
    many = [c for width in range(4) for c in cells(10, **{"model.hidden": (width,)})]
    assert sizes(plan_packs(many, 2)) == [5, 5] * 4
    assert sizes(plan_packs(many, 4)) == [5, 5] * 4


@pytest.mark.parametrize(("asked", "expected"), [("auto", [6]), ("off", [1] * 6), (4, [3, 3]), (100, [6])])
def test_train_pack_limits_the_trainings_of_a_pack(asked, expected):
    packs = plan_packs(cells(6, **{"train.pack": asked}))
    assert sizes(packs) == expected
    assert all(p.why for p in packs)


def test_a_cell_alone_says_why():
    assert "train.pack is off" in plan_packs(cells(2, **{"train.pack": "off"}))[0].why
    assert "no other cell" in plan_packs(cells(1))[0].why


def test_budgets_of_one_training_stay_together_and_the_longest_is_trained():
    budgets = [c for epochs in (20, 60, 40) for c in cells(2, epochs=epochs)]
    assert [[c.epochs for c in t] for t in trainings(budgets)] == [[20, 40, 60]] * 2
    (pack,) = plan_packs(budgets)
    longest, shorter = shorter_budgets(pack.cells)
    assert [c.epochs for c in longest] == [60, 60]
    assert [[c.epochs for c in shorter[c.key]] for c in longest] == [[20, 40]] * 2
    assert fill([pack]) == 2.0


def test_the_key_knows_the_budget_and_the_streams_do_not():
    short, long = cells(epochs=20)[0], cells(epochs=60)[0]
    assert short.key != long.key
    assert short.stream(1, "order").generate_state(2).tolist() == long.stream(1, "order").generate_state(2).tolist()
    assert short.stream_key == long.stream_key != cells(epochs=20, **{"train.learning_rate": 0.1})[0].stream_key


def test_how_cells_are_packed_is_no_part_of_what_they_are():
    assert cells(**{"train.pack": "off"})[0].key == cells(**{"train.pack": 7})[0].key
