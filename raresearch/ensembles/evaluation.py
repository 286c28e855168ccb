"""Ensembles and what they are worth on validation.

An `Ensemble` is the members that a rule chose from one group of cells (one cell, or all cells of a config). Its score of an
event is combined from members that share the list of events; with folds, each fold's members score their own events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from raresearch.ensembles.base import SelectionRule
from raresearch.ensembles.combine import mean_of_scores
from raresearch.errors import SelectionError
from raresearch.metrics.base import FigureOfMerit
from raresearch.store.store import Store
from raresearch.types import Array, EpochTable, Estimate, Member

Per = Literal["cell", "config"]


@dataclass(frozen=True)
class Ensemble:
    """Members that score together. ``config``, ``fold``, ``seed``: of the group (-1 where it spans several)."""

    config: str
    fold: int
    seed: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Labelled:
    """Scores (N,), labels (N,) int8 (-1 spectators), weights (N,), classes (N,), ids (N,) and observers of the same events."""

    event_id: Array
    scores: Array
    label: Array
    weight: Array
    class_number: Array
    observers: Mapping[str, Array]


def epoch_table(store: Store) -> EpochTable:
    """The epochs of every done cell as arrays, ordered by (config, fold, seed, epoch)."""
    table = store.epochs()
    columns = {}
    for name in table.column_names:
        column = table[name]
        columns[name] = np.asarray(column.to_pylist(), dtype=str) if pa.types.is_string(column.type) else column.to_numpy()
    return EpochTable(columns)


def select(epochs: EpochTable, rule: SelectionRule, per: Per = "cell") -> list[Ensemble]:
    """Apply ``rule`` to each cell's epochs, or to the epochs of all cells of a config at once."""
    for name in sorted(rule.needs):
        epochs[name]  # names the missing column before anything is chosen
    names = ("config", "fold", "seed") if per == "cell" else ("config",)
    ensembles = []
    for group, rows in epochs.groups(*names):
        members = tuple(rule.choose(rows))
        if not members:
            raise SelectionError(f"config {group[0]}", "the rule chose no epoch", "loosen its conditions")
        fold, seed = (int(group[1]), int(group[2])) if per == "cell" else (-1, -1)
        ensembles.append(Ensemble(str(group[0]), fold, seed, members))
    return ensembles


class ScoreReader:
    """Reads members' logits from the store; landings and events are read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.cells = {row["cell"]: row for row in store.cells().to_pylist()}
        self._events = lru_cache(maxsize=64)(store.events)
        self._landing = lru_cache(maxsize=256)(self._read)

    def _read(self, landing: str, events: str) -> tuple[dict[tuple[str, int], int], Array]:
        keys, epochs, matrix = self.store.scores(landing, events)
        return {(str(k), int(e)): row for row, (k, e) in enumerate(zip(keys, epochs, strict=True))}, matrix

    def logits(self, member: Member, split: Literal["validation", "test"]) -> tuple[str, Array]:
        """(events name, logits (N,)) of one member; `SelectionError` where its scores were not kept."""
        cell = self.cells.get(member.cell)
        if cell is None:
            raise SelectionError(f"cell {member.cell}", "not in this store")
        events = cell[f"{split}_events"]
        index, matrix = self._landing(cell["landing"], events)
        row = index.get((member.cell, member.epoch))
        if row is None:
            remedy = "set `keep: {scores: all}`, or choose with the rule that the study was run with"
            raise SelectionError(f"cell {member.cell}, epoch {member.epoch}", "its scores were not kept", remedy)
        return events, matrix[row]

    def combined(self, ensemble: Ensemble, split: Literal["validation", "test"]) -> Iterator[tuple[pa.Table, Array]]:
        """(events table, scores (N,)) for each list of events that the ensemble's members scored."""
        by_events: dict[str, list[tuple[Array, float]]] = {}
        for member in ensemble.members:
            events, logits = self.logits(member, split)
            by_events.setdefault(events, []).append((logits, member.weight))
        for events, parts in sorted(by_events.items()):
            yield self._events(events), mean_of_scores(np.stack([p[0] for p in parts]), [p[1] for p in parts])

    def validation(self, ensemble: Ensemble) -> Labelled:
        """The ensemble's scores of its validation events with their labels, all folds together."""
        parts = list(self.combined(ensemble, "validation"))
        table = pa.concat_tables([t for t, _ in parts])
        return labelled(table, np.concatenate([s for _, s in parts]))


def labelled(events: pa.Table, scores: Array) -> Labelled:
    """Scores beside an events table that has ``class``, ``label`` and ``weight``."""
    fixed = ("event_id", "class", "label", "weight")
    return Labelled(
        event_id=events["event_id"].to_numpy(),
        scores=scores,
        label=events["label"].to_numpy(),
        weight=events["weight"].to_numpy(),
        class_number=events["class"].to_numpy(),
        observers={n: events[n].to_numpy() for n in events.column_names if n not in fixed},
    )


def estimate(reader: ScoreReader, ensemble: Ensemble, fom: FigureOfMerit) -> Estimate:
    """``fom`` of ``ensemble`` on validation; a FOM that cuts chooses its threshold there."""
    sample = reader.validation(ensemble)
    return fom(sample.scores, sample.label, sample.weight)


STATISTICS: Mapping[str, Any] = {"mean": np.mean, "median": np.median, "min": np.min}


def config_score(values: Sequence[float], statistic: str, goal: str) -> float:
    """What a searcher is told of a config: the statistic over its cells, higher is better."""
    score = float(STATISTICS[statistic](np.asarray(values, dtype=np.float64)))
    return score if goal == "max" else -score
