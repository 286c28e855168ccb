"""What a running study looks like from outside: states, pace, workers, and the best so far. Reads the store alone."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raresearch.api.opened import OpenStudy, open_study
from raresearch.ensembles.evaluation import ScoreReader, config_score, select
from raresearch.ensembles.table import epoch_table
from raresearch.errors import DataError, SelectionError, StoreError
from raresearch.metrics.averaging import student
from raresearch.report.inputs import figures_asked, hashed, named, own_code
from raresearch.store.columns import mask
from raresearch.store.index import LEAST, mark
from raresearch.store.values import remember, remembered
from raresearch.types import Array, EpochTable

WINDOW = 1800.0  # seconds: the pace of a study changes with its networks, so old landings say little of what is to come
LEADERS = 8
CURVE = 32  # points of a learning curve


@dataclass(frozen=True)
class Leader:
    """A config and the objective's mean over its done cells, with Student's interval (68 %; None for fewer than two cells).

    ``curve``: mean validation loss after each epoch (at most `CURVE` of them) over the cells that got that far.
    """

    label: str
    value: float
    low: float | None
    high: float | None
    done: int
    curve: tuple[float, ...]


@dataclass(frozen=True)
class Worker:
    """A process: the cells it has landed, those it is training, and the seconds since it last landed one (None: it has not)."""

    name: str
    landed: int
    running: int
    silent: float | None


@dataclass(frozen=True)
class Pace:
    """Cells an hour over the last landings, and the seconds that are left at that pace with their standard error (None where the
    searcher does not say how many cells there will be). Landings are what is counted: cells of a pack land together."""

    cells_per_hour: float
    left: float | None
    error: float | None


@dataclass(frozen=True)
class View:
    """One look. ``states``: number of cells done, failed, running, lost, preempted. ``idle``: why nothing moves, or empty."""

    study: str
    scale: str | None
    total: int | None
    states: Mapping[str, int]
    objective: str
    leaders: tuple[Leader, ...]
    workers: tuple[Worker, ...]
    pace: Pace | None
    idle: str
    ended: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


class Watcher:
    """Looks at a study's folder again and again; what has landed is read and evaluated once."""

    def __init__(self, folder: Path | str) -> None:
        self.opened: OpenStudy = open_study(folder)
        self._reader = ScoreReader(self.opened.store)
        self._values: dict[str, float] = {}  # by cell; NaN where the objective could not be taken
        rule, objective = self.opened.rule, self.opened.objective
        self._asked = hashed([figures_asked(objective, ()), named(rule)], own_code([rule]))
        self._remembered = remembered(self.opened.folder, self._asked)
        self._curves: dict[str, Array] = {}  # by cell
        self._marks: dict[str, str] = {}  # by cell: what its value is remembered under

    def look(self) -> View:
        """The study now. Raises `StoreError` for a damaged store."""
        cells, facts = self.opened.cells(), self.opened.status()
        landed = facts["done"] + facts["failed"]
        states = {name: int(facts.get(name, 0)) for name in ("done", "failed", "running", "lost", "preempted")}
        left = None if facts["total"] is None else max(0, facts["total"] - landed)
        ended = not facts["driver"] and left == 0
        return View(
            study=facts["study"],
            scale=facts["scale"],
            total=facts["total"],
            states=states,
            objective=self.opened.objective.name,
            leaders=self._leaders(cells),
            workers=self._workers(cells, facts.get("at_work", {})),
            pace=None if ended else pace(self._landings(cells), left, time.time()),
            idle="" if ended else idle(facts, states),
            ended=ended,
        )

    def _leaders(self, cells: pa.Table) -> tuple[Leader, ...]:
        done = cells.filter(mask(np.asarray(cells["state"].to_pylist(), dtype=str) == "done"))
        self._evaluate(done)
        by_config: dict[str, list[str]] = {}
        for config, cell in zip(done["config"].to_pylist(), done["cell"].to_pylist(), strict=True):
            if not math.isnan(self._values.get(cell, math.nan)):
                by_config.setdefault(config, []).append(cell)
        goal, statistic = self.opened.objective.goal, self.opened.spec.statistic
        found = {c: [self._values[k] for k in keys] for c, keys in by_config.items()}
        ranked = sorted(found, key=lambda c: (-config_score(found[c], statistic, goal), c))[:LEADERS]
        return tuple(self._leader(c, found[c], by_config[c]) for c in ranked)

    def _leader(self, config: str, values: Sequence[float], keys: Sequence[str]) -> Leader:
        centre = config_score(values, self.opened.spec.statistic, "max")
        low, high = student(values) if len(values) > 1 else (None, None)
        label = self.opened.labels.get(config, config)
        return Leader(label, centre, low, high, len(values), mean_curve([self._curves[k] for k in keys if k in self._curves]))

    def _evaluate(self, done: pa.Table) -> None:
        """The objective and the learning curve of the cells that are new, all in one go."""
        new = done.filter(mask(np.asarray([cell not in self._values for cell in done["cell"].to_pylist()], dtype=bool)))
        if not len(new):
            return
        self._reader = ScoreReader(self.opened.store)  # it remembers which landing a cell is in
        table = epoch_table(self.opened.store, self._reader, new)
        keys = new["cell"].to_pylist()
        self._marks |= self._marked(new)
        known = {key: self._remembered[mark] for key in keys if (mark := self._marks[key]) in self._remembered}
        self._values |= dict.fromkeys(keys, math.nan) | known
        for (cell,), rows in table.groups("cell"):
            self._curves[str(cell)] = np.asarray(rows["val_loss"], dtype=np.float64)
        unknown = ~np.isin(table["cell"], list(known)) if known else np.ones(len(table), dtype=bool)
        if unknown.any():
            self._value(table.where(unknown))

    def _marked(self, cells: pa.Table) -> dict[str, str]:
        """Cell → its name among the remembered values: another one once it was removed and trained again."""
        pairs = list(zip(cells["cell"].to_pylist(), cells["landing"].to_pylist(), strict=True))
        marks = {landing: mark(self.opened.folder / "cells" / landing, "cells") for _, landing in pairs}
        return {cell: f"{cell} {marks[landing]}" for cell, landing in pairs}

    def _value(self, table: EpochTable) -> None:
        try:
            chosen = select(table, self.opened.rule, "cell")
            values = self._reader.values(chosen, self.opened.objective)
        except (DataError, SelectionError, StoreError):
            return  # scores that were not kept: there is no best to show, and everything else stands
        self._values |= {e.members[0].cell: float(v) for e, v in zip(chosen, values, strict=True)}
        if len(self._values) - len(self._remembered) >= LEAST:
            self._remembered = {self._marks[cell]: value for cell, value in self._values.items() if not math.isnan(value)}
            remember(self.opened.folder, self._asked, self._remembered)

    def _landings(self, cells: pa.Table) -> dict[float, int]:
        """Time of each landing → number of cells in it."""
        names = cells["landing"].to_pylist()
        count: dict[str, int] = {}
        for name in names:
            count[name] = count.get(name, 0) + 1
        times: dict[float, int] = {}
        for name, number in count.items():
            try:
                when = (self.opened.folder / "cells" / name).stat().st_mtime
            except OSError:  # read from the index; the folder itself lies elsewhere
                continue
            times[when] = times.get(when, 0) + number
        return times

    def _workers(self, cells: pa.Table, at_work: Mapping[str, int]) -> tuple[Worker, ...]:
        landed: dict[str, int] = {}
        last: dict[str, str] = {}
        for worker, landing in zip(cells["worker"].to_pylist(), cells["landing"].to_pylist(), strict=True):
            landed[worker] = landed.get(worker, 0) + 1
            last[worker] = landing
        names = [n for n in sorted({*landed, *at_work}) if n and (n in at_work or not at_work)]
        now = time.time()
        return tuple(Worker(n, landed.get(n, 0), at_work.get(n, 0), self._silent(last.get(n), now)) for n in names)

    def _silent(self, landing: str | None, now: float) -> float | None:
        if landing is None:
            return None
        try:
            return max(0.0, now - (self.opened.folder / "cells" / landing).stat().st_mtime)
        except OSError:
            return None


def pace(landings: Mapping[float, int], left: int | None, now: float, window: float = WINDOW) -> Pace | None:
    """Pace of ``landings`` (time → cells) within ``window`` seconds before ``now``; None before the second landing.

    The first landing in the window only starts the clock. The error is that of a count of n landings, 1/√n.

    >>> pace({0.0: 5, 60.0: 10, 120.0: 10}, 20, 120.0)
    Pace(cells_per_hour=600.0, left=120.0, error=84.85281374238569)
    """
    recent = sorted(when for when in landings if when >= now - window)
    if len(recent) < 2:
        return None
    counted = sum(landings[when] for when in recent[1:])
    # Up to now, not to the last landing: a study that has stopped landing is slow, not as fast as it was.
    rate = counted / max(now - recent[0], 1e-9)
    seconds = None if left is None else left / rate
    return Pace(3600 * rate, seconds, None if seconds is None else seconds / math.sqrt(len(recent) - 1))


def idle(facts: Mapping[str, Any], states: Mapping[str, int]) -> str:
    """Why no worker trains, in one line; empty where one does or where that cannot be known."""
    if not facts["driver"]:
        return "no driver is at work: give the same `raresearch run` line again, it goes on from here"
    if states["running"]:
        return ""
    if troubles := facts.get("troubles"):
        return f"waiting to try again: {troubles[-1]['reason']}"
    return "no cell is in training: events are being prepared, workers start, or the searcher waits for scores"


def mean_curve(curves: Sequence[Array], points: int = CURVE) -> tuple[float, ...]:
    """Mean of curves of different length, epoch by epoch over those that got there, thinned to ``points``.

    >>> mean_curve([np.array([3.0, 1.0]), np.array([1.0])])
    (2.0, 1.0)
    """
    longest = max((len(c) for c in curves), default=0)
    if not longest:
        return ()
    padded = np.full((len(curves), longest), np.nan)
    for row, curve in zip(padded, curves, strict=True):
        row[: len(curve)] = curve
    seen = np.isfinite(padded)
    mean = np.where(seen, padded, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    kept = mean[seen.any(axis=0)]
    thin = np.linspace(0, len(kept) - 1, min(points, len(kept))).round().astype(int)
    return tuple(float(v) for v in kept[thin])
