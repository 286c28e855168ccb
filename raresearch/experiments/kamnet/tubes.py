"""The photomultipliers: where they stand, and how likely light finds each. Lengths in cm.

Legend: T = 1879 tubes, P photoelectrons.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from raresearch.experiments.kamnet.detector import Detector
from raresearch.types import Array

SMALL, LARGE = 1325, 554  #: 17-inch and 20-inch tubes [P] Sec. II
TUBES = SMALL + LARGE
_SHARES = 10, 13  # photocathodes of the two kinds: (12 % / 554) over (22 % / 1325) is 1.30


@lru_cache(maxsize=1)
def places() -> Array:
    """(T, 3) unit vectors of a Fibonacci sphere."""
    number = np.arange(TUBES)
    z = 1 - (2 * number + 1) / TUBES
    azimuth = np.pi * (3 - np.sqrt(5)) * number
    return np.stack([np.sqrt(1 - z**2) * np.cos(azimuth), np.sqrt(1 - z**2) * np.sin(azimuth), z], axis=1)


@lru_cache(maxsize=1)
def large() -> Array:
    """(T,) bool: the 20-inch tubes, evenly among the others."""
    number = np.arange(TUBES)
    return np.asarray((number + 1) * LARGE // TUBES > number * LARGE // TUBES)


@lru_cache(maxsize=1)
def _draw_by_area() -> Array:
    return np.repeat(np.arange(TUBES, dtype=np.int32), np.where(large(), _SHARES[1], _SHARES[0]))


def by_area(rng: np.random.Generator, n: int) -> Array:
    """(n,) tubes, each as often as its photocathode is large."""
    table = _draw_by_area()
    return table[rng.integers(0, len(table), n, dtype=np.int32)]


def solid_angle(along: Array, radius_squared: Array, detector: Detector) -> tuple[Array, Array]:
    """(P,) weight cos/d² exp(-d/L) and (P,) distance d of a tube from a source; ``along`` is the source's coordinate
    towards the tube."""
    side = np.float32(detector.pmt_radius)
    distance = np.sqrt(side**2 + radius_squared - 2 * side * along)
    return (side - along) / distance**3 * np.exp(-distance / np.float32(detector.attenuation)), distance


def towards_tubes(place: Array, source: Array, detector: Detector, rng: np.random.Generator) -> tuple[Array, Array]:
    """Tube (P,) and distance (P,) of each photoelectron from ``place`` (D, 3) number ``source`` (P,)."""
    unit, place = places().astype(np.float32), place.astype(np.float32)
    squared = np.einsum("di,di->d", place, place)
    nearest, _ = solid_angle(np.sqrt(squared), squared, detector)
    tube, distance = np.empty(len(source), np.int32), np.empty(len(source), np.float32)
    left = np.arange(len(source))
    while len(left):
        origin, trial = source[left], by_area(rng, len(left))
        weight, away = solid_angle(np.einsum("pi,pi->p", unit[trial], place[origin]), squared[origin], detector)
        taken = rng.random(len(left), dtype=np.float32) * nearest[origin] < weight
        tube[left[taken]], distance[left[taken]] = trial[taken], away[taken]
        left = left[~taken]
    return tube, distance
