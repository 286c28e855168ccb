"""Photomultipliers: where they are, which are off, and which share of the light each gets. Lengths in cm.

Numbers are XENON1T's: 0…126 the top array from the outer ring inwards, 127…247 the bottom array row by row.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from raresearch.experiments.xenon1t.detector import Detector
from raresearch.types import Array

N_TOP, N_BOTTOM = 127, 121

#: photomultipliers without gain in the first science run (pax, XENON1T settings)
OFF = (
    *(1, 2, 12, 26, 27, 34, 62, 65, 73, 79, 86, 88, 91, 102, 118, 130, 134, 135, 137, 139, 148, 150, 152, 162, 167),
    *(178, 183, 190, 198, 203, 206, 213, 214, 234, 239, 244),
)


@lru_cache(maxsize=1)
def top_positions() -> Array:
    """Centres (127, 2): six rings 7.95 cm apart, clockwise from 105 degrees, then the one on the axis."""
    ring = np.concatenate([np.full(6 * k, k) for k in range(6, 0, -1)])
    number = np.concatenate([np.arange(6 * k) for k in range(6, 0, -1)])
    angle = np.deg2rad(105.0 - 60.0 * number / ring)
    rings = 7.95 * ring[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _frozen(np.concatenate([rings, np.zeros((1, 2))]))


@lru_cache(maxsize=1)
def bottom_positions() -> Array:
    """Centres (121, 2): a hexagonal lattice of 8 cm, turned by 22.5 degrees, inside a radius of 44.6 cm."""
    steps = np.arange(-7, 8)
    a, b = (grid.ravel() for grid in np.meshgrid(steps, steps))
    across, up = 8.0 * (a + 0.5 * b), 8.0 * np.sqrt(0.75) * b
    inside = np.flatnonzero(np.hypot(across, up) < 44.6)
    rows = inside[np.lexsort((across[inside], -b[inside]))]
    turn = np.deg2rad(22.5)
    x = across[rows] * np.cos(turn) - up[rows] * np.sin(turn)
    y = across[rows] * np.sin(turn) + up[rows] * np.cos(turn)
    return _frozen(np.stack([x, y], axis=1))


def alive(first: int, n: int) -> Array:
    """Bool (n,) of photomultipliers ``first`` … ``first + n - 1``: those that are on."""
    return ~np.isin(np.arange(first, first + n), OFF)


def top_shares(x: Array, y: Array, detector: Detector) -> Array:
    """Share (N, 127) of the top array's S2 light that each photomultiplier detects, for S2 at ``x``, ``y``; rows sum to 1."""
    distance2 = _distance2(x, y, top_positions())
    light = (1.0 + distance2 / detector.s2_spot**2) ** -1.75 + detector.s2_floor
    return _normalised(light * alive(0, N_TOP))


def bottom_shares(x: Array, y: Array, depth: Array, detector: Detector) -> Array:
    """Share (N, 121) of the bottom array's S1 light: solid angle h / (h² + d²)^1.5 plus uniformly reflected light."""
    height = detector.drift_length + detector.bottom_gap - depth
    distance2 = _distance2(x, y, bottom_positions()) + (height**2)[:, None]
    on = alive(N_TOP, N_BOTTOM)
    # The factor h is common to a row and drops out.
    direct = _normalised(on / (distance2 * np.sqrt(distance2)))
    return np.asarray(detector.s1_direct * direct + (1.0 - detector.s1_direct) * on / on.sum())


def _distance2(x: Array, y: Array, tubes: Array) -> Array:
    return np.asarray((x[:, None] - tubes[:, 0]) ** 2 + (y[:, None] - tubes[:, 1]) ** 2)


def _normalised(light: Array) -> Array:
    return np.asarray(light / light.sum(axis=1, keepdims=True))


def _frozen(positions: Array) -> Array:
    positions.setflags(write=False)
    return positions
