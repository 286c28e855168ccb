"""Early stopping: who leaves a rung, by what, and what that costs, on toys whose best config is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raresearch.steps import Steps, by_budgets, by_rounds, carried, reached
from raresearch.stopping import Rungs
from raresearch.types import Cell, Outcome


def rungs_of(values: dict[str, float], **options: object) -> Rungs:
    rungs = Rungs([5], **options)  # type: ignore[arg-type]
    for config, value in values.items():
        rungs.heard(config, 0, value)
    return rungs


def decided(rungs: Rungs, *configs: str) -> tuple[list[str], list[str]]:
    onward, out = rungs.decide(dict.fromkeys(configs, 0))
    return onward, [stop.config for stop in out]


def test_halving_keeps_the_best_share_rounded_up_and_the_median_rule_the_upper_half() -> None:
    values = {f"c{n}": float(n) for n in range(9)}
    assert decided(rungs_of(values, keep=1 / 3), *values)[0] == ["c6", "c7", "c8"]
    assert decided(rungs_of(values, keep=0.34), *values)[0] == ["c5", "c6", "c7", "c8"]
    assert decided(rungs_of(values, keep=None), *values)[0] == ["c4", "c5", "c6", "c7", "c8"]


def test_of_equal_configs_halving_keeps_its_share_by_their_ids_and_the_median_rule_all() -> None:
    values = dict.fromkeys(("a", "b", "c", "d"), 1.0)
    assert decided(rungs_of(values, keep=0.5), *values) == (["a", "b"], ["c", "d"])
    assert decided(rungs_of(values, keep=None), *values) == (["a", "b", "c", "d"], [])


def test_nobody_leaves_a_rung_that_too_few_have_reached() -> None:
    values = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert decided(rungs_of(values, keep=1 / 3), *values)[1] == []
    assert decided(rungs_of(values, keep=1 / 3, least=3), *values) == (["c"], ["a", "b"])


def test_a_value_that_is_not_finite_is_the_worst() -> None:
    values = {"a": math.nan, "b": -1e9, "c": 0.0, "d": 1.0}
    assert decided(rungs_of(values, keep=0.75), *values) == (["b", "c", "d"], ["a"])


def test_who_has_gone_on_or_left_still_counts_when_a_later_one_is_judged() -> None:
    rungs = rungs_of({f"c{n}": float(n) for n in range(9)}, keep=1 / 3)
    assert decided(rungs, "c6") == (["c6"], [])
    for name in ("d1", "d2"):
        rungs.heard(name, 0, 6.5)
    (stop,) = rungs.decide({"d2": 0, "c6": 0})[1]
    assert (stop.config, stop.epochs, stop.value, stop.bar, stop.reached) == ("c6", 5, 6.0, 6.5, 11)


def curves(seed: int, slowest: float, configs: int = 27, epochs: int = 45) -> tuple[np.ndarray, int]:
    """Accuracies (configs, epochs) that approach their final values with noise; the truly best config. Each has its own time
    constant between 5 epochs and ``slowest``: where they differ, curves cross."""
    rng = np.random.default_rng(seed)
    final, scale = rng.normal(0.8, 0.05, configs), rng.uniform(5, slowest, configs)
    time = np.arange(1, epochs + 1)
    noise = rng.normal(0, 0.005, (configs, epochs))
    return final[:, None] * (1 - np.exp(-time / scale[:, None])) + noise, int(final.argmax())


def search(values: np.ndarray, at: tuple[int, ...], keep: float | None) -> tuple[int, int]:
    """(the config that looks best in the end, epochs spent)."""
    rungs = Rungs(at, keep)
    alive, spent = [f"{c:03d}" for c in range(len(values))], np.full(len(values), values.shape[1])
    for rung, epochs in enumerate(at):
        for config in alive:
            rungs.heard(config, rung, float(values[int(config), :epochs].max()))
        alive, out = rungs.decide(dict.fromkeys(alive, rung))
        for stop in out:
            spent[int(stop.config)] = epochs
    return max(map(int, alive), key=lambda c: values[c, -5:].mean()), int(spent.sum())


def errors(keep: float | None, slowest: float) -> tuple[int, int, float]:
    """Of 300 toys: in how many the best config was missed, in how many by training everything; and the share of epochs."""
    wrong, wrong_full, spent = 0, 0, []
    for seed in range(300):
        values, best = curves(seed, slowest)
        found, epochs = search(values, (10, 20), keep)
        wrong += found != best
        wrong_full += int(values[:, -5:].mean(axis=1).argmax()) != best
        spent.append(epochs / values.size)
    return wrong, wrong_full, float(np.mean(spent))


@pytest.mark.parametrize("keep", [1 / 3, None])
def test_where_ranks_stay_the_best_config_is_found_with_half_of_the_epochs_and_lost_in_less_than_5_percent(
    keep: float | None,
) -> None:
    wrong, wrong_full, share = errors(keep, slowest=5)
    assert share < 0.55
    assert wrong <= wrong_full + 0.05 * 300


def test_where_curves_cross_a_rung_loses_slow_configs_that_would_have_won() -> None:
    """The price, kept in sight: nothing at a rung tells a slow learner from a bad one."""
    wrong, wrong_full, _ = errors(1 / 3, slowest=15)
    assert wrong > wrong_full + 0.05 * 300


def cells_of(count: int, patience: int = 0) -> tuple[Cell, ...]:
    config = {"train.epochs": 9, "train.patience": patience}
    return tuple(Cell(config, 0, seed, 9, {"data": "x"}) for seed in range(count))


def done(cell: Cell, stop: int | None = None, best: int = 1) -> dict[str, Outcome]:
    return {cell.key: Outcome(cell.key, "done", stop or cell.epochs, best)}


def test_a_rungs_cell_is_the_cell_of_a_smaller_budget() -> None:
    (cell,) = cells_of(1)
    steps = by_budgets([cell], [2, 5])
    assert [c.epochs for (c,) in steps] == [2, 5, 9]
    assert len({c.key for (c,) in steps}) == 3
    assert {c.stream_key for (c,) in steps} == {cell.stream_key}
    assert steps[-1] == (cell,)


def test_a_cell_out_of_patience_or_failed_is_that_of_every_larger_budget() -> None:
    steps = by_budgets(cells_of(1, patience=3), [4, 6])
    (short,), (middle,), (full,) = steps
    assert carried(steps, done(short, best=3)) == {}
    assert carried(steps, done(short, stop=3)).keys() == {middle.key, full.key}
    assert carried(steps, done(short, best=1)).keys() == {middle.key, full.key}
    failed = carried(steps, {middle.key: Outcome(middle.key, "failed", error="x")})
    assert {key: outcome.state for key, outcome in failed.items()} == {full.key: "failed"}


def test_a_config_goes_on_at_the_last_step_that_was_begun() -> None:
    steps = by_budgets(cells_of(2, patience=3), [4, 6])
    landed = {k: v for c in steps[0] for k, v in done(c, best=3).items()}
    assert reached(steps, landed) == 0
    assert reached(steps, landed | done(steps[1][1], best=5)) == 1
    ended = landed | done(steps[0][0], stop=4, best=1)
    assert reached(steps, ended | carried(steps, ended)) == 0, "one that ended by itself has not sent the config on"


def test_a_race_goes_on_at_the_last_cell_that_was_begun() -> None:
    cells = cells_of(4)
    rounds: Steps = by_rounds(cells, 2)
    assert [len(step) for step in rounds] == [2, 3, 4]
    assert [reached(rounds, done(cells[n])) for n in range(4)] == [0, 0, 1, 2]
    assert carried(rounds, done(cells[0], stop=3)) == {}
