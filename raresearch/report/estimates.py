"""Estimates of thousands of cells, kept beside the store: a report after a few more cells evaluates those alone.

A cache, which may be deleted at any time. An entry is of one cell's landed files, one list of chosen members, and the figures of
merit with the code that computes them; where any of these is another one, it is not found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from raresearch.ensembles.evaluation import Ensemble, ScoreReader, Together
from raresearch.ensembles.figures import estimates
from raresearch.errors import DataError, StoreError
from raresearch.metrics.base import FigureOfMerit
from raresearch.report.inputs import events_mark, landing_marks
from raresearch.store.files import make_folder, write_atomic
from raresearch.store.store import Store
from raresearch.types import Array, Estimate, digest

FILE = "estimates.json"
_values = attrgetter(*(field.name for field in fields(Estimate)))  # `asdict` copies deeply: ten times slower
LEAST = 64  # new entries that are worth writing all of them
BLOCK = 1 << 22  # scores that are evaluated together: 32 MiB


@dataclass(frozen=True)
class Evaluated:
    """``estimates``: figure of merit → estimate; ``notes``: what is to be said of one that is missing."""

    estimates: Mapping[str, Estimate]
    notes: tuple[str, ...] = ()


def evaluate(
    reader: ScoreReader, ensembles: Sequence[Ensemble], objective: FigureOfMerit, others: Mapping[str, FigureOfMerit]
) -> list[Evaluated]:
    """``objective`` and ``others`` (by name) of every ensemble on validation, in bounded memory.

    Raises `DataError` where the objective cannot be computed; another figure that cannot be is left out, with a note.
    """
    found: list[Evaluated] = []
    while len(found) < len(ensembles):
        first = ensembles[len(found)]
        events = sum(len(reader.logits(member, "validation")[1]) for member in first.members)
        some = ensembles[len(found) : len(found) + max(1, BLOCK // max(1, events))]
        found += _evaluate(reader, some, objective, others)
    return found


def _evaluate(
    reader: ScoreReader, ensembles: Sequence[Ensemble], objective: FigureOfMerit, others: Mapping[str, FigureOfMerit]
) -> list[Evaluated]:
    made: list[dict[str, Estimate]] = [{} for _ in ensembles]
    notes: list[list[str]] = [[] for _ in ensembles]
    for group in reader.together(ensembles):
        label, weight = group.column("label"), group.column("weight")
        for number, own in zip(group.numbers, estimates(group.on(objective), group.scores, label, weight), strict=True):
            made[number][objective.name] = own
        for name, fom in others.items():
            for number, found in zip(group.numbers, _where_possible(fom, group, label, weight), strict=True):
                if isinstance(found, Estimate):
                    made[number][name] = found
                else:  # e.g. too little background for this figure: the study's own objective still stands
                    notes[number].append(f"{name} is missing for some cells: {found}")
    return [Evaluated(each, tuple(said)) for each, said in zip(made, notes, strict=True)]


def _where_possible(fom: FigureOfMerit, group: Together, label: Array, weight: Array) -> Sequence[Estimate | DataError]:
    """``fom`` of every row, or why it has none."""
    try:
        return estimates(group.on(fom), group.scores, label, weight)
    except DataError:
        return [_or_why(fom, group, row, label, weight) for row in range(len(group.scores))]


def _or_why(fom: FigureOfMerit, group: Together, row: int, label: Array, weight: Array) -> Estimate | DataError:
    try:
        return group.on(fom)(group.scores[row], label, weight)
    except DataError as error:
        return error


class KeptEstimates:
    """Estimates of cells of ``store`` under the question ``asked`` (`inputs.figures_asked`)."""

    def __init__(self, store: Store, asked: str) -> None:
        self._path = store.root / "index" / FILE
        self._asked = asked
        self._marks, self._events = landing_marks(store), events_mark(store)
        self._before = _read(self._path, asked)
        self._now: dict[str, Any] = {}
        self._new = 0

    def key(self, landing: str, ensemble: Ensemble) -> str:
        """The name of an ensemble, not calibrated, within one landing."""
        members = [[m.cell, m.epoch, m.weight] for m in ensemble.members]
        return digest([landing, self._marks.get(landing, ""), self._events, members, ensemble.combine], 32)

    def get(self, key: str) -> Evaluated | None:
        """What was kept under ``key``."""
        entry = self._before.get(key)
        if entry is None:
            return None
        self._now[key] = entry
        return Evaluated({name: Estimate(*values) for name, values in entry["e"].items()}, tuple(entry["n"]))

    def put(self, key: str, evaluated: Evaluated) -> None:
        """Keep ``evaluated`` at the next `write`."""
        entry = {"e": {n: _values(e) for n, e in evaluated.estimates.items()}, "n": evaluated.notes}
        self._now[key] = entry
        self._new += 1

    def write(self) -> None:
        """Write what this look has asked for, where it has enough that is new; not at all where that is refused."""
        if self._new < LEAST:
            return
        with suppress(OSError, StoreError):
            make_folder(self._path.parent)
            entries = json.dumps(self._now)
            text = json.dumps({"asked": self._asked, "sum": _sum(entries)}) + "\n" + entries
            write_atomic(self._path, lambda path: _write(path, text))


def _read(path: Path, asked: str) -> Mapping[str, Any]:
    """The entries in ``path``; none where another question was asked, or where the file is damaged."""
    try:
        first, entries = path.read_text(encoding="utf-8").split("\n")
        head = json.loads(first)
        return dict(json.loads(entries)) if head == {"asked": asked, "sum": _sum(entries)} else {}
    except (OSError, ValueError, TypeError):
        return {}


def _sum(entries: str) -> str:
    return hashlib.sha256(entries.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
