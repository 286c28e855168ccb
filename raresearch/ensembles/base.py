"""The contract of a selection rule."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from raresearch.types import EpochTable, Member


@runtime_checkable
class SelectionRule(Protocol):
    """Chooses members, (cell, epoch) pairs, from validation results only.

    Obligations: pure functions of the table; no state between calls; may be called in the driver, and `keep` in workers
    after every epoch of a cell, so it must be cheap. `keep(t)` must contain every epoch of the one cell in ``t`` that
    `choose` may still pick after more epochs follow: weights and scores of all others may be dropped for good.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Epoch columns that the rule reads; never a test column."""

    def keep(self, epochs: EpochTable) -> set[int]:
        """Epochs of the single cell in ``epochs`` that must not be dropped yet."""

    def choose(self, epochs: EpochTable) -> list[Member]:
        """Members, best first, from the epochs given (of one cell or of several). Raises `SelectionError`."""
