"""Fronts of two figures of merit beside their slow, obvious twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raresearch.statistics.front import hypervolume, non_dominated

# Few different numbers: ties and equal rows are where such code goes wrong.
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)


def slow_non_dominated(values: np.ndarray) -> list[bool]:
    def beats(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a >= b).all() and (a > b).any())

    return [not any(beats(other, row) for other in values) for row in values]


def slow_hypervolume(values: np.ndarray) -> int:
    """Unit squares of the integer plane that some row covers."""
    return sum(any(x < a and y < b for a, b in values) for x in range(6) for y in range(6))


@given(PAIRS)
def test_the_front_is_what_no_other_row_beats(pairs: list[tuple[int, int]]) -> None:
    values = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    assert non_dominated(values).tolist() == slow_non_dominated(values)


@given(PAIRS)
def test_the_hypervolume_is_the_area_that_the_rows_cover(pairs: list[tuple[int, int]]) -> None:
    values = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    assert hypervolume(values, (0.0, 0.0)) == slow_hypervolume(values)


def test_a_row_that_is_not_finite_neither_stands_on_the_front_nor_hides_another() -> None:
    values = np.array([[np.nan, 5.0], [1.0, 1.0], [np.inf, 0.0]])
    assert non_dominated(values).tolist() == [False, True, False]


def test_rows_that_are_not_above_the_reference_add_nothing() -> None:
    assert hypervolume(np.array([[2.0, 3.0], [5.0, 0.5]]), (1.0, 1.0)) == 2.0
    assert hypervolume(np.empty((0, 2)), (1.0, 1.0)) == 0.0


def test_a_known_front_is_found_among_what_lies_behind_it() -> None:
    """A quarter circle, and the same points moved towards the origin."""
    angle = np.linspace(0.05, np.pi / 2 - 0.05, 30)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    behind = circle * np.random.default_rng(0).uniform(0.2, 0.95, (30, 1))
    found = non_dominated(np.concatenate([behind, circle]))
    assert found[30:].all()
    # The area under the quarter circle is π/4; a staircase of thirty steps lies a few per cent below it.
    assert hypervolume(circle, (0.0, 0.0)) == pytest.approx(np.pi / 4, rel=0.05)
