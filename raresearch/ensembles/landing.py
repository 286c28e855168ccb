"""The scores of one landing, found by (cell, epoch) without a dictionary of every row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.errors import SelectionError
from raresearch.store.store import Store
from raresearch.types import Array


@dataclass(frozen=True)
class Landing:
    """``matrix`` (R, N) float32 logits, memory-mapped; ``cells``: key → (its epochs (E,) in rising order, their rows (E,))."""

    matrix: Array
    cells: dict[str, tuple[Array, Array]]

    @classmethod
    def read(cls, store: Store, name: str, events: str) -> Landing:
        """The scores of ``events`` in landing ``name``; reads keys and epochs, not the scores."""
        keys, epochs, matrix = store.scores(name, events)
        order = np.lexsort((epochs, keys))
        keys, epochs = keys[order], epochs[order]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        stops = np.r_[starts[1:], len(keys)]
        return cls(matrix, {str(keys[a]): (epochs[a:b], order[a:b]) for a, b in zip(starts, stops, strict=True)})

    def row(self, cell: str, epoch: int) -> Array:
        """Logits (N,) of a member; `SelectionError` where they were not kept."""
        nothing = np.empty(0, dtype=np.int64)
        epochs, rows = self.cells.get(cell, (nothing, nothing))
        place = int(np.searchsorted(epochs, epoch))
        if place == len(epochs) or epochs[place] != epoch:
            remedy = "set `keep: {scores: all}`, or choose with the rule that the study was run with"
            raise SelectionError(f"cell {cell}, epoch {epoch}", "its scores were not kept", remedy)
        row: Array = self.matrix[rows[place]]
        return row
