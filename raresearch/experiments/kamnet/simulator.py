"""`simulate`: a block of exactly n events, matched in N_hit, as a function of config and random stream alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from raresearch.errors import DataError, SpaceError, nearest
from raresearch.experiments.constants import build
from raresearch.experiments.kamnet.detector import Detector, Physics
from raresearch.experiments.kamnet.events import Seen, throw
from raresearch.experiments.kamnet.hitmaps import cells, count, lists
from raresearch.experiments.kamnet.light import hits, proper_times
from raresearch.experiments.kamnet.matching import matched
from raresearch.types import Array, Config

MODELS = (Detector, Physics)
OBSERVERS = ("hits", "energy", "radius")
CLASSES = ("0vbb", "C10", "Bi214", "Bi214_film", "electron", "Sb118", "I122", "I124", "I130", "I132")
EXCITED_CLASSES = ("2vbb", "2v_0+", "2v_2+", "2v_2+2", "electron")
CONTROL = "electron"
_CHUNK = 200  # events whose tubes are drawn at once: 200 x 1879 numbers fit into a cache
_THROWN = 1000  # events that a throw of decays should leave: fewer make many small arrays
_MAX_THROWS = 200_000  # decays at once
_MAX_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Pool:
    """Events of one class before matching: lists of cells (N, K), observers (N,)."""

    cell: Array
    charge: Array
    hits: Array
    energy: Array
    radius: Array

    _NAMES: ClassVar[tuple[str, ...]] = ("cell", "charge", "hits", "energy", "radius")

    def __len__(self) -> int:
        return len(self.hits)

    @classmethod
    def merge(cls, parts: list[Pool]) -> Pool:
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in cls._NAMES))

    def select(self, rows: Array) -> Pool:
        return Pool(*(getattr(self, n)[rows] for n in self._NAMES))


@dataclass(frozen=True, slots=True)
class Settings:
    """A parsed config."""

    detector: Detector
    physics: Physics
    mix: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, config: Config, classes: tuple[str, ...], usual: tuple[str, ...]) -> Settings:
        """From a flat config; ``data.mix`` is a list such as ``["0vbb:0.45", "C10:0.45", "electron:0.1"]``."""
        detector, physics = build(Detector, config), build(Physics, config)
        if physics.energy_low >= physics.energy_high:
            raise SpaceError("data.energy_low", "must lie below data.energy_high", "the paper has 2 and 3 MeV")
        if physics.match_bin < 1:
            raise SpaceError(f"data.match_bin: {physics.match_bin}", "must be at least 1 hit", "1 is the paper's")
        if detector.balloon_radius >= detector.scintillator_radius or detector.scintillator_radius >= detector.pmt_radius:
            raise SpaceError("data.balloon_radius", "balloon, scintillator and tubes lie inside each other in this order")
        return cls(detector, physics, _mix(config.get("data.mix", usual), classes))


def simulate(
    config: Config, rng: np.random.Generator, n: int, classes: tuple[str, ...], usual: tuple[str, ...], room: int
) -> dict[str, Array]:
    """Exactly ``n`` events in random order: ``cell`` (n, room) uint16, ``charge`` (n, room) float16, ``class`` (n,) int8,
    observers (n,) float64. All classes of ``data.mix`` have the same distribution of N_hit.

    Raises `SpaceError` for a bad config, `DataError` where events cannot be found or do not fit.
    """
    settings = Settings.of(config, classes, usual)
    numbers = _numbers(n, [share for _, share in settings.mix])
    wanted = [(name, m) for (name, _), m in zip(settings.mix, numbers, strict=True) if m]
    pools = _matched_pools(wanted, settings, rng, room)
    events, order = Pool.merge(pools), rng.permutation(n)
    class_number = np.repeat(np.asarray([classes.index(name) for name, _ in wanted], np.int8), [m for _, m in wanted])
    chosen = events.select(order)
    columns = {"cell": chosen.cell, "charge": chosen.charge, "class": class_number[order]}
    return columns | {name: getattr(chosen, name).astype(np.float64) for name in OBSERVERS}


def _matched_pools(wanted: list[tuple[str, int]], settings: Settings, rng: np.random.Generator, room: int) -> list[Pool]:
    """Pools of each class grow until their overlap holds what is wanted."""
    streams = [accepted(name, settings, child, room) for (name, _), child in zip(wanted, rng.spawn(len(wanted)), strict=True)]
    pools: list[list[Pool]] = [[] for _ in wanted]
    numbers, width = [m for _, m in wanted], settings.physics.match_bin
    for _ in range(_MAX_ROUNDS):
        for parts, stream, number in zip(pools, streams, numbers, strict=True):
            parts.append(_gather(stream, max(60, number)))
        merged = [Pool.merge(parts) for parts in pools]
        if len(wanted) == 1:
            return [merged[0].select(np.arange(numbers[0]))] if len(merged[0]) >= numbers[0] else []
        rows = matched([p.hits for p in merged], numbers, width, rng)
        if rows is not None:
            return [pool.select(each) for pool, each in zip(merged, rows, strict=True)]
        pools = [[p] for p in merged]
    raise DataError("kamnet", f"N_hit of {', '.join(n for n, _ in wanted)} hardly overlap", "a wider data.match_bin or window")


def _gather(stream: Iterator[Pool], number: int) -> Pool:
    parts, have = [], 0
    while have < number:
        parts.append(next(stream))
        have += len(parts[-1])
    return Pool.merge(parts)


def accepted(name: str, settings: Settings, rng: np.random.Generator, room: int) -> Iterator[Pool]:
    """Events of a class that pass the windows, chunk by chunk, without end."""
    species, film = name.removesuffix("_film"), name.endswith("_film")
    throws = 400
    while True:
        seen = throw(species, film, settings.detector, settings.physics, rng, throws)
        if not len(seen):
            if throws >= _MAX_THROWS:
                raise DataError(f"kamnet: {name}", f"none of {throws} decays passes the windows", "reset the `data.*` values")
            throws = min(_MAX_THROWS, throws * 4)
            continue
        throws = int(np.clip(throws * _THROWN / len(seen), 400, _MAX_THROWS))
        for start in range(0, len(seen), _CHUNK):
            rows = (np.arange(len(seen)) // _CHUNK) == start // _CHUNK
            yield lit(seen.select(rows), settings.detector, rng, room)


def lit(seen: Seen, detector: Detector, rng: np.random.Generator, room: int) -> Pool:
    """Hit maps of events that the windows kept."""
    found = hits(seen, detector, rng)
    event, cell, charge = cells(found, proper_times(found, seen.vertex, detector), len(seen))
    numbers, charges = lists(event, cell, charge, len(seen), room)
    return Pool(numbers, charges, count(event, len(seen)), seen.energy, seen.radius)


def _numbers(n: int, shares: list[float]) -> list[int]:
    """Whole events of each class, ``n`` in all.

    >>> _numbers(10, [0.45, 0.45, 0.1])
    [5, 4, 1]
    """
    edges = np.floor(np.cumsum(shares) / np.sum(shares) * n + 0.5).astype(int)
    return [int(m) for m in np.diff(np.r_[0, edges])]


def _mix(given: object, classes: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    if not isinstance(given, (tuple, list)) or not given:
        raise SpaceError(f"data.mix: {given!r}", "must be a list of class:share", 'as ["0vbb:0.5", "C10:0.5"]')
    found: dict[str, float] = {}
    for item in given:
        name, _, share = str(item).rpartition(":")
        if name not in classes or name in found:
            raise SpaceError(f"data.mix: {item!r}", "must name each class once", nearest(name, classes))
        try:
            found[name] = float(share)
        except ValueError as error:
            raise SpaceError(f"data.mix: {item!r}", "the share must be a number", f"{name}:0.1") from error
        if not 0.0 < found[name] < float("inf"):
            raise SpaceError(f"data.mix: {item!r}", "the share must be positive", f"{name}:0.1")
    return tuple(found.items())
