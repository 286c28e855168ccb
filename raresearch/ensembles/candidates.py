"""From all epochs of all cells to the few that a rule with scores looks at: reading a score costs, reading a column does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.ensembles.rules import Goal, TopK, badness, refuse_empty, refuse_test
from raresearch.ensembles.table import codes
from raresearch.errors import SpecError
from raresearch.types import Array, EpochTable, Member


@dataclass(frozen=True)
class Candidates:
    """The best ``epochs`` of each cell in ``by`` (None: all of them), of those the best ``pool`` over all cells (None: all).

    Rows come best first, so "the first of equal ones" means the one with the better ``by``.
    """

    epochs: int | None = 1
    pool: int | None = None
    by: str = "val_loss"
    goal: Goal | None = None

    def __post_init__(self) -> None:
        refuse_test(self.by)
        whole("epochs", self.epochs, optional=True)
        whole("pool", self.pool, optional=True)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by})

    def keep(self, epochs: EpochTable) -> set[int]:
        """The online half: what one cell may still contribute."""
        if not len(epochs):
            return set()
        if self.epochs is None:
            return {int(e) for e in epochs["epoch"]}
        return TopK(self.epochs, self.by, goal=self.goal).keep(epochs)

    def rows(self, epochs: EpochTable) -> Array:
        """Row numbers of the candidates, best first. Raises `SelectionError` where there are no epochs."""
        refuse_empty(epochs)
        worst = badness(epochs, self.by, self.goal)
        order = np.argsort(worst, kind="stable")
        if self.epochs is not None:
            order = order[_place_within(codes(epochs, "cell")[order]) < self.epochs]
        return order if self.pool is None else order[: self.pool]

    def table(self, epochs: EpochTable) -> EpochTable:
        """The candidates' rows, best first."""
        return epochs.where(self.rows(epochs))


def _place_within(groups: Array) -> Array:
    """How many earlier entries of ``groups`` (R,) equal each one.

    >>> _place_within(np.array([7, 3, 7, 7, 3]))
    array([0, 0, 1, 2, 1])
    """
    order = np.argsort(groups, kind="stable")
    first = np.r_[True, groups[order][1:] != groups[order][:-1]]
    starts = np.flatnonzero(first)
    places = np.empty(len(groups), dtype=np.int64)
    places[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
    return places


def whole(place: str, value: object, least: int = 1, optional: bool = False) -> None:
    """SpecError unless ``value`` is a whole number of at least ``least`` (or None where that is allowed)."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(
            place, f"{value!r} given, a whole number of at least {least} is needed", f"for example {place}: {least}"
        )


def member(epochs: EpochTable, row: int, weight: float = 1.0) -> Member:
    """The member in a row of the table."""
    return Member(str(epochs["cell"][row]), int(epochs["epoch"][row]), float(weight))
