"""Racing: what leaves, what stays, and what that costs, against toys whose best config is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raresearch.racing import Race


def run(values: np.ndarray, first: int = 1, level: float = 0.05, probe: int = 4) -> tuple[set[int], int]:
    """Race the rows of ``values`` (configs, rounds); the configs that ran to the end, and the cells that were used."""
    configs, rounds = values.shape
    race = Race(rounds, level, first, probe)
    there = dict.fromkeys(range(configs), first)
    for config, row in enumerate(values):
        race.heard(f"{config:04d}", row[:first])
    while waiting := [c for c, n in there.items() if n < rounds]:
        onward, out = race.decide(f"{c:04d}" for c in waiting)
        assert onward or out, "a race that stands still never ends"
        for verdict in out:
            del there[int(verdict.config)]
            waiting.remove(int(verdict.config))
        for name in onward:
            there[int(name)] += 1
            race.heard(name, values[int(name), : there[int(name)]])
    left = set(range(configs)) - set(there)
    cells = sum(there.values()) + sum(len(race.values[f"{c:04d}"]) for c in left)
    return set(there), cells


def study(seed: int, configs: int, rounds: int, spread: float) -> tuple[np.ndarray, int]:
    """Values (configs, rounds) with noise of width 1 and rounds that differ by 2; the number of the truly best config."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, spread, configs)
    return truth[:, None] + rng.normal(0, 2, rounds) + rng.normal(0, 1, (configs, rounds)), int(truth.argmax())


def test_a_race_finds_the_best_as_often_as_all_cells_would_with_half_of_them() -> None:
    wrong_raced = wrong_full = 0
    cells = []
    for seed in range(300):
        values, best = study(seed, configs=30, rounds=6, spread=3.0)
        stayed, used = run(values)
        wrong_raced += max(stayed, key=lambda c: values[c].mean()) != best
        wrong_full += values.mean(axis=1).argmax() != best
        cells.append(used / values.size)
    assert np.mean(cells) < 0.5
    # Both decide on the same toys, so the counts differ by those few only in which the race lost the best.
    assert wrong_raced <= wrong_full + 300 * 0.05


def test_of_equal_configs_the_race_loses_none_more_often_than_its_level() -> None:
    lost = 0
    for seed in range(300):
        values, _ = study(seed, configs=8, rounds=5, spread=0.0)
        lost += 0 not in run(values, level=0.1)[0]  # any of them is as good as the best: here the first
    assert lost <= 300 * 0.1 + 3 * math.sqrt(300 * 0.1 * 0.9)


def test_the_noise_is_that_of_a_two_way_layout() -> None:
    values, _ = study(1, configs=7, rounds=4, spread=2.0)
    race = Race(4)
    for config, row in enumerate(values):
        race.heard(str(config), row)
    # The slow twin: least squares with one column a config and one a round.
    columns = [[float(c == i) for i in range(7)] + [float(r == j) for j in range(4)] for c in range(7) for r in range(4)]
    design, y = np.asarray(columns), values.ravel()
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    sigma, degrees = race.sigma()
    assert degrees == 28 - np.linalg.matrix_rank(design)
    assert sigma == pytest.approx(math.sqrt(float(residual @ residual) / degrees), rel=1e-12)


def test_nobody_leaves_before_the_noise_is_known() -> None:
    race = Race(3, probe=3)
    for config, value in zip("abcdef", (0.9, 0.8, 0.7, 0.2, 0.1, 0.0), strict=True):
        race.heard(config, [value])
    assert race.decide("abcdef") == (["a", "b", "c"], [])


def test_a_config_with_a_failed_cell_leaves_and_says_that_nothing_beat_it() -> None:
    race = Race(3)
    for config, values in {"a": [1.0, 1.1], "b": [0.9, 1.2], "c": [math.nan]}.items():
        race.heard(config, values)
    _, out = race.decide("abc")
    assert [(v.config, v.against, v.difference) for v in out] == [("c", "c", math.inf)]


def test_a_verdict_names_the_leader_on_the_same_rounds() -> None:
    race = Race(3)
    for config, values in {"a": [5.0, 1.0], "b": [5.2, 1.1], "c": [5.1, 1.05], "d": [0.0]}.items():
        race.heard(config, values)
    onward, (verdict,) = race.decide("abcd")
    assert onward == ["a", "b", "c"]
    assert (verdict.config, verdict.rounds, verdict.against) == ("d", 1, "b")
    assert verdict.difference == pytest.approx(5.2)
    assert verdict.difference > verdict.margin
