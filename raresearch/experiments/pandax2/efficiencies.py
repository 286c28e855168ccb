"""Efficiencies of a cut over the plane of S1 and log10(S2/S1), from few events: cells lean on what surrounds them.

Legend: B cuts or resamples, C = 3 classes (ACC, NR, ER), cells = rows of distance to the NR median × columns of S1.
"""

from __future__ import annotations

import numpy as np

from raresearch.experiments.pandax2.search import COLUMNS, ROWS
from raresearch.experiments.pandax2.simulator import CLASSES
from raresearch.types import Array

CELLS = ROWS * COLUMNS
#: events that what a cell leans on counts for [A]: one or two events alone must not say 0 or 1
PSEUDO_EVENTS = 5.0
_ACC, _NR, _ER = (CLASSES.index(name) for name in ("ACC", "NR", "ER"))


def counted(class_number: Array, cell: Array, weights: Array) -> Array:
    """(C, cells) sums of ``weights`` (N,)."""
    place = class_number.astype(np.int64) * CELLS + cell
    return np.bincount(place, weights, minlength=len(CLASSES) * CELLS).reshape(len(CLASSES), CELLS)


def efficiency_map(passed: Array, total: Array) -> Array:
    """(B, C, cells) efficiencies from weighted counts ``passed`` and ``total`` of the same shape.

    A cell leans on its row, a row on the class. An ER's cell leans on the recoils of both kinds in that cell: NR and ER of the
    same S1 and S2 differ for the network in the width of S1 only, and below the NR median there are hardly any ER to count.
    """
    found = np.empty(total.shape)
    for c in (_ACC, _NR):
        found[:, c] = _leaning(passed[:, c], total[:, c], _rows(passed[:, c], total[:, c]))
    recoils = passed[:, _NR] + passed[:, _ER], total[:, _NR] + total[:, _ER]
    both = _leaning(*recoils, _rows(*recoils))
    found[:, _ER] = _leaning(passed[:, _ER], total[:, _ER], both)
    return found


def _rows(passed: Array, total: Array) -> Array:
    """(B, cells): the efficiency of each cell's row, leaning on that of all, which is never 0: half an event more passes and half an
    event more fails (Jeffreys), so that a cut that keeps nothing has a bad limit and not none."""
    whole = (passed.sum(axis=1, keepdims=True) + 0.5) / (total.sum(axis=1, keepdims=True) + 1.0)
    inside, all_of_it = (a.reshape(len(a), ROWS, COLUMNS).sum(axis=2) for a in (passed, total))
    return np.repeat(_leaning(inside, all_of_it, whole), COLUMNS, axis=1)


def _leaning(passed: Array, total: Array, on: Array) -> Array:
    return np.asarray((passed + PSEUDO_EVENTS * on) / (total + PSEUDO_EVENTS))
