"""Jagged columns made regular: padded or cut to a length, or reduced to one number.

Legend: N events, M entries of all lists.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from raresearch.data.readers.table import Jagged
from raresearch.types import Array


def pad(lists: Jagged, length: int, fill: float) -> Array:
    """The first ``length`` entries of each list, short lists filled up: (N, length) float64."""
    rows, position = _rows(lists), _positions(lists)
    out = np.full((len(lists), length), fill, dtype=np.float64)
    kept = position < length
    out[rows[kept], position[kept]] = lists.values[kept]
    return out


def reduce(lists: Jagged, how: str, fill: float | None) -> Array:
    """One number for each list: (N,) float64. An empty list has count and sum 0; otherwise ``fill``, or NaN without one."""
    out = np.full(len(lists), np.nan if fill is None else fill, dtype=np.float64)
    if how in ("count", "sum"):
        out[:] = 0.0
    filled = np.flatnonzero(lists.counts > 0)
    if len(filled):
        # reduceat misreads empty lists, so only the others take part: their starts bound the lists without gaps.
        starts = (np.cumsum(lists.counts) - lists.counts)[filled]
        out[filled] = REDUCTIONS[how](lists.values.astype(np.float64), starts, lists.counts[filled])
    return out


def _rows(lists: Jagged) -> Array:
    return np.repeat(np.arange(len(lists)), lists.counts)


def _positions(lists: Jagged) -> Array:
    starts = np.cumsum(lists.counts) - lists.counts
    positions: Array = np.arange(len(lists.values)) - np.repeat(starts, lists.counts)
    return positions


REDUCTIONS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "count": lambda values, starts, counts: counts,
    "sum": lambda values, starts, counts: np.add.reduceat(values, starts),
    "mean": lambda values, starts, counts: np.add.reduceat(values, starts) / counts,
    "max": lambda values, starts, counts: np.maximum.reduceat(values, starts),
    "min": lambda values, starts, counts: np.minimum.reduceat(values, starts),
    "first": lambda values, starts, counts: values[starts],
}
