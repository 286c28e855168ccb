"""Two figures of merit at once: what is not dominated, and how much of the plane it covers. More is better in both."""

from __future__ import annotations

import numpy as np

from raresearch.types import Array


def non_dominated(values: Array) -> Array:
    """(C,) bool: whether no other row of ``values`` (C, 2) is at least as good in both columns and better in one. Rows with a
    value that is not finite are dominated, and dominate none. Of equal rows all are kept.

    >>> non_dominated(np.array([[1.0, 3.0], [2.0, 2.0], [1.0, 2.0], [3.0, 1.0]])).tolist()
    [True, True, False, True]
    """
    kept = np.zeros(len(values), dtype=bool)
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    # Falling in the first, falling in the second where that ties: all that could dominate a row come before it.
    order = rows[np.lexsort((-values[rows, 1], -values[rows, 0]))]
    best, last = -np.inf, (np.inf, np.inf)
    for row in order:
        pair = (float(values[row, 0]), float(values[row, 1]))
        kept[row] = pair[1] > best or pair == last
        if pair[1] > best:
            best, last = pair[1], pair
    return kept


def hypervolume(values: Array, reference: tuple[float, float]) -> float:
    """Area that the rows of ``values`` (C, 2) dominate above ``reference`` (Zitzler & Thiele, IEEE Trans. Evol. Comput. 3, 257,
    1999); rows that are not above it in both columns add nothing.

    >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), (0.0, 0.0))
    3.0
    """
    above = values[(values > np.asarray(reference)).all(axis=1)]
    front = np.unique(above[non_dominated(above)], axis=0)[::-1]  # falling in the first column, rising in the second
    heights = np.diff(np.r_[reference[1], front[:, 1]]) if len(front) else np.zeros(0)
    return float(((front[:, 0] - reference[0]) * heights).sum()) if len(front) else 0.0
