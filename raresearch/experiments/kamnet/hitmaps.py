"""Spatiotemporal hit maps of 28 x 38 x 38 cells (time, polar angle, azimuth), kept as lists of their non-zero cells.

Legend: N events, H hits, K room for cells in a list.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from raresearch.errors import DataError
from raresearch.experiments.kamnet.light import Hits
from raresearch.experiments.kamnet.tubes import places
from raresearch.types import Array

TIMES, RINGS, SECTORS = 28, 38, 38
CELLS = TIMES * RINGS * SECTORS  #: 40,432; as a cell's number: no cell
EARLIEST, STEP = -20.0, 1.5  #: ns [P] Sec. III; the first and the last bin hold what lies outside, too


def pixel(direction: Array) -> Array:
    """(…,) number of the pixel, ring by ring, of unit vectors (…, 3)."""
    polar = np.arccos(np.clip(direction[..., 2], -1.0, 1.0))
    azimuth = np.arctan2(direction[..., 1], direction[..., 0])
    ring = np.minimum((RINGS * polar / np.pi).astype(np.int64), RINGS - 1)
    sector = np.minimum((SECTORS // 2 + np.floor(SECTORS / 2 * azimuth / np.pi)).astype(np.int64), SECTORS - 1)
    return np.asarray(ring * SECTORS + sector)


def time_bin(tau: Array) -> Array:
    """(…,) bin of proper times (ns)."""
    return np.clip(np.floor((tau - EARLIEST) / STEP), 0, TIMES - 1).astype(np.int64)


def cells(found: Hits, tau: Array, n: int, rotation: Array | None = None) -> tuple[Array, Array, Array]:
    """Event, cell and charge of every non-zero cell of ``n`` events, sorted by event and cell.

    ``rotation`` (3, 3) turns the detector before its tubes are sorted into pixels: what a rotated event looks like.
    """
    pixels = _pixels() if rotation is None else pixel(places() @ rotation.T)
    number = time_bin(tau) * (RINGS * SECTORS) + pixels[found.tube]
    key, place = grouped(found.event * CELLS + number)
    charge = np.bincount(place, found.charge, minlength=len(key))
    return key // CELLS, key % CELLS, charge


@lru_cache(maxsize=1)
def _pixels() -> Array:
    return pixel(places())


def grouped(key: Array) -> tuple[Array, Array]:
    """The distinct of ``key`` (H,), upwards, and the place of each among them: `numpy.unique` with its inverse.

    Keys and their rows are sorted as one number, which numpy does several times faster than it finds an order. Keys below
    2^63 / H only: a detector's events of one chunk are far below that.
    """
    bits = max(1, len(key).bit_length())
    both = np.sort(key.astype(np.int64) << bits | np.arange(len(key)))
    upwards, row = both >> bits, both & ((1 << bits) - 1)
    new = np.r_[True, upwards[1:] != upwards[:-1]][: len(key)]
    place = np.empty(len(key), np.int64)
    place[row] = np.cumsum(new) - 1
    return upwards[new], place


def count(event: Array, n: int) -> Array:
    """(n,) N_hit: non-zero cells of each event."""
    return np.bincount(event, minlength=n)


def lists(event: Array, cell: Array, charge: Array, n: int, room: int) -> tuple[Array, Array]:
    """``cell`` (n, K) uint16, `CELLS` where a list has ended, and ``charge`` (n, K) float16, 0 there.

    Raises `DataError` where an event has more than ``room`` cells.
    """
    length = count(event, n)
    if length.size and length.max() > room:
        rule = f"an event has {length.max()} non-zero cells, more than the {room} that it may hold"
        raise DataError("kamnet", rule, "experiment: kamnet_bright holds more, or less data.photocoverage")
    column = np.arange(len(event)) - (np.cumsum(length) - length)[event]
    numbers, charges = np.full((n, room), CELLS, np.uint16), np.zeros((n, room), np.float16)
    numbers[event, column], charges[event, column] = cell, charge
    return numbers, charges


def dense(cell: Array, charge: Array) -> Array:
    """(N, 28, 38, 38) float32 from lists (N, K): the slow twin of what networks do on their device."""
    maps = np.zeros((len(cell), CELLS + 1), np.float32)
    for event, (numbers, values) in enumerate(zip(cell, charge, strict=True)):
        for number, value in zip(numbers, values, strict=True):
            maps[event, int(number)] += np.float32(value)
    return maps[:, :CELLS].reshape(len(cell), TIMES, RINGS, SECTORS)
