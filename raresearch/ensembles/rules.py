"""The first selection rules: best epoch, top-k within δ, last k.

All read validation columns only. "Best" is low for a loss, high for anything else, unless ``goal`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from raresearch.errors import SelectionError, SpecError
from raresearch.types import Array, EpochTable, Member

Goal = Literal["min", "max"]


def goal_of(column: str) -> Goal:
    """``min`` for losses, ``max`` for everything else.

    >>> goal_of("val_loss"), goal_of("val_accuracy")
    ('min', 'max')
    """
    return "min" if column.endswith("loss") else "max"


def badness(epochs: EpochTable, column: str, goal: Goal | None) -> Array:
    """(R,) smaller is better; NaN and null count as worst."""
    values = np.asarray(epochs[column], dtype=np.float64)
    signed = values if (goal or goal_of(column)) == "min" else -values
    return np.where(np.isnan(signed), np.inf, signed)


def members_of(epochs: EpochTable, rows: Array) -> list[Member]:
    """The members in ``rows`` of the table, each of weight 1."""
    return [Member(str(epochs["cell"][r]), int(epochs["epoch"][r])) for r in rows]


def refuse_test(*columns: str) -> None:
    """SelectionError where a column is one of the test split."""
    for column in columns:
        if column.startswith("test"):
            raise SelectionError(
                f"column {column!r}", "a rule reads validation only", "use a val_ column; `unseal` opens the test"
            )


def refuse_empty(epochs: EpochTable) -> None:
    """SelectionError where there is nothing to choose from."""
    if not len(epochs):
        raise SelectionError("epochs", "there are none to choose from", "wait for a cell to be done (raresearch status)")


@dataclass(frozen=True)
class BestEpoch:
    """The one epoch with the best ``by``; the earliest where several tie (it needed the least training)."""

    by: str = "val_loss"
    goal: Goal | None = None

    def __post_init__(self) -> None:
        refuse_test(self.by)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by})

    def keep(self, epochs: EpochTable) -> set[int]:
        return {m.epoch for m in self.choose(epochs)} if len(epochs) else set()

    def choose(self, epochs: EpochTable) -> list[Member]:
        refuse_empty(epochs)
        return members_of(epochs, np.argmin(badness(epochs, self.by, self.goal), keepdims=True))


@dataclass(frozen=True)
class TopK:
    """The PandaX-III rule: among epochs whose ``within`` columns lie strictly less than δ from their best value, the ``k`` best in ``by``.

    With ``within={"val_accuracy": 0.001}``, ``by="val_loss"``, ``k=3``: epochs with max(val_accuracy) − val_accuracy < 0.001,
    of those the three of lowest validation loss; where fewer than k are left, all of them. Earlier epochs win ties.
    Source: PandaX-III, Sec. 4 (papers/000).
    """

    k: int = 3
    by: str = "val_loss"
    within: Mapping[str, float] = field(default_factory=dict)
    goal: Goal | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise SpecError(
                "selection.top_k.k", f"{self.k!r} given, a whole number of at least 1 is needed", "for example k: 3"
            )
        for column, delta in self.within.items():
            if not isinstance(delta, (int, float)) or isinstance(delta, bool) or not delta > 0:
                raise SpecError(f"selection.top_k.within.{column}", f"{delta!r} given, a distance above 0 is needed")
        refuse_test(self.by, *self.within)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by, *self.within})

    def keep(self, epochs: EpochTable) -> set[int]:
        """Everything that is within δ of the best so far, or could be: later epochs only raise the bar.

        An epoch outside δ stays outside, since the best value never gets worse. One inside that is not among the k best
        now can still come in when a better-``by`` epoch falls out of δ, so all inside are kept.
        """
        if not len(epochs):
            return set()
        if not self.within:
            return {m.epoch for m in self.choose(epochs)}
        return {int(e) for e in epochs["epoch"][self._eligible(epochs)]}

    def choose(self, epochs: EpochTable) -> list[Member]:
        refuse_empty(epochs)
        rows = np.flatnonzero(self._eligible(epochs))
        order = np.argsort(badness(epochs, self.by, self.goal)[rows], kind="stable")
        return members_of(epochs, rows[order[: self.k]])

    def _eligible(self, epochs: EpochTable) -> Array:
        inside = np.ones(len(epochs), dtype=bool)
        for column, delta in self.within.items():
            distance = badness(epochs, column, None)
            inside &= distance - distance.min() < delta
        return inside


@dataclass(frozen=True)
class LastK:
    """The last ``k`` epochs of each cell (NEWSdm: the last ten of sixty); all of them where there are fewer."""

    k: int = 10

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise SpecError(
                "selection.last_k.k", f"{self.k!r} given, a whole number of at least 1 is needed", "for example k: 10"
            )

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"epoch"})

    def keep(self, epochs: EpochTable) -> set[int]:
        return {m.epoch for m in self.choose(epochs)} if len(epochs) else set()

    def choose(self, epochs: EpochTable) -> list[Member]:
        refuse_empty(epochs)
        chosen: list[Member] = []
        for _, cell in epochs.groups("cell"):
            chosen += members_of(cell, np.argsort(cell["epoch"], kind="stable")[-self.k :])
        return chosen
