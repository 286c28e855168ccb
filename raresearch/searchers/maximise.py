"""Where in a space an acquisition function is largest, among points of the space that are not taken.

The function is evaluated at points of the space only: whole numbers are whole, a choice is one of its values, an axis that
does not exist is masked. And the answer is one of a fixed list of draws, not the end of a gradient ascent: a rounding
error in the model changes at most which of two equal draws is taken, never the last digit of a proposed value, so that a
search replayed in another process proposes the same configs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from raresearch.searchers.encoding import Encoding
from raresearch.types import Array

#: features (N, D) → acquisition (N,), larger is better
Acquire = Callable[[Array], Array]

_GLOBAL = 1000  # uniform draws
_ROUNDS = (0.1, 0.03, 0.01, 0.003)  # then rounds of draws around the best so far, at these widths of the unit interval
_CENTRES, _AROUND = 5, 40  # so many centres a round, so many draws around each
_JUMP = 0.1  # probability that a choice changes its value in a draw around a centre


def maximise(acquire: Acquire, encoding: Encoding, best: Array, taken: Array, rng: np.random.Generator) -> Array | None:
    """Codes (A,) of the best draw; None where every draw is taken.

    ``best``: codes (B, A) to look around first, the best observations. ``taken``: codes (T, A) that must not come out.
    """
    codes = np.vstack([encoding.from_units(rng.random((_GLOBAL, len(encoding.ranges)))), _around(encoding, best, 0.1, rng)])
    values = acquire(encoding.features(codes))
    for width in _ROUNDS:
        centres = codes[np.argsort(-values, kind="stable")[:_CENTRES]]
        near = _around(encoding, centres, width, rng)
        codes, values = np.vstack([codes, near]), np.concatenate([values, acquire(encoding.features(near))])
    return best_free(codes, values, taken)


def best_free(codes: Array, values: Array, taken: Array) -> Array | None:
    """The row of ``codes`` (N, A) with the largest of ``values`` (N,) that is not among ``taken`` (T, A)."""
    not_free = {row.tobytes() for row in _plain(taken)}
    for row in np.argsort(-values, kind="stable"):
        if _plain(codes[row]).tobytes() not in not_free:
            chosen: Array = codes[row]
            return chosen
    return None


def _plain(codes: Array) -> Array:
    """One bit pattern for each value: no negative zero, one kind of NaN."""
    return np.where(np.isnan(codes), np.nan, codes + 0.0)


def _around(encoding: Encoding, centres: Array, width: float, rng: np.random.Generator) -> Array:
    """``_AROUND`` draws around each of ``centres``: each axis moves with probability 1/2, numbers by a normal step of ``width``
    on the unit interval (reflected at its ends), choices to any value."""
    units = np.repeat(encoding.units(centres), _AROUND, axis=0)
    steps = units + width * rng.standard_normal(units.shape)
    steps = 1.0 - np.abs(1.0 - np.abs(steps) % 2.0)
    jumps = np.where(rng.random(units.shape) < _JUMP, rng.random(units.shape), units)
    moved = np.where(encoding.choices, jumps, np.where(rng.random(units.shape) < 0.5, steps, units))
    return encoding.from_units(moved)
