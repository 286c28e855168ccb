"""Ensembles and what they are worth on validation.

An `Ensemble` is the members that a rule chose from one group of cells (one cell, a repeat, a config, the study) and how their
scores combine. Its score of an event is combined from members that share the list of events; with folds, each fold's members
score their own validation events, and all of them the test events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute

from raresearch.ensembles import table as tables
from raresearch.ensembles.base import SCOPES, Library, Per, ScoreSource, SelectionRule, choose, refuse_missing
from raresearch.ensembles.calibrate import Calibration, calibrate
from raresearch.ensembles.combine import check_combination, combine, logistic, mixture_weights
from raresearch.ensembles.figures import values
from raresearch.ensembles.forward import threaded
from raresearch.ensembles.landing import Landing
from raresearch.errors import SelectionError
from raresearch.metrics.base import FigureOfMerit, on
from raresearch.store.columns import unpacked
from raresearch.store.store import Store
from raresearch.types import Array, EpochTable, Estimate, Member

__all__ = [
    "COLUMNS",
    "Ensemble",
    "Labelled",
    "Per",
    "ScoreReader",
    "best_so_far",
    "cell_values",
    "config_score",
    "epoch_table",
    "estimate",
    "labelled",
    "select",
]

Split = Literal["validation", "test"]


@dataclass(frozen=True)
class Ensemble:
    """Members that score together. ``config``, ``fold``, ``seed``: of the group (-1 where it spans several; config "study").

    ``combine`` names the combination of scores, ``calibration`` what was fitted on validation afterwards.
    """

    config: str
    fold: int
    seed: int
    members: tuple[Member, ...]
    combine: str = "scores"
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Labelled:
    """Scores (N,), labels (N,) int8 (-1 spectators), weights (N,), classes (N,), ids (N,) and observers of the same events."""

    event_id: Array
    scores: Array
    label: Array
    weight: Array
    class_number: Array
    observers: Mapping[str, Array]

    @property
    def columns(self) -> Mapping[str, Array]:
        """What a figure of merit may need besides scores (see `raresearch.metrics.base.on`): class and observers."""
        return {"class": self.class_number, **self.observers}


def epoch_table(store: Store) -> EpochTable:
    """The epochs of every done cell as arrays, ordered by (config, fold, seed, epoch); rules can read scores through it."""
    return tables.epoch_table(store, ScoreReader(store))


def cell_values(store: Store, keys: Sequence[str], rule: SelectionRule, fom: FigureOfMerit) -> dict[str, float]:
    """Key → ``fom`` on validation of each done cell of ``keys``, at the epochs that ``rule`` chooses. Reads those cells alone."""
    cells = store.cells()
    mine = cells.filter(pa.compute.is_in(cells["cell"], pa.array(keys, pa.string())))
    reader = ScoreReader(store)
    table = tables.epoch_table(store, reader, mine)
    return {e.members[0].cell: estimate(reader, e, fom).value for e in (select(table, rule) if len(table) else [])}


def select(
    epochs: EpochTable,
    rule: SelectionRule,
    per: Per = "cell",
    *,
    combine: str | None = None,
    calibrate: str | None = None,
    reader: ScoreSource | None = None,
) -> list[Ensemble]:
    """Apply ``rule`` to the epochs of each group: a cell, a repeat, a config, or the study at once.

    ``combine`` (default: the rule's own, or "scores") and ``calibrate`` (default: none) name what is done with the members'
    scores; what they fit, they fit on validation, through ``reader`` or the table's own. Raises `SelectionError`.
    """
    refuse_missing(rule, epochs)
    source = reader if reader is not None else getattr(epochs, "scores", None)
    how = check_combination(combine or str(getattr(rule, "combine", "scores")))
    made = []
    for group, rows in epochs.groups(*SCOPES[per]):
        ensemble = _ensemble(per, group, tuple(choose(rule, rows, source)), how)
        made.append(_fitted(ensemble, calibrate, source))
    return made


def _ensemble(per: Per, group: tuple[Any, ...], members: tuple[Member, ...], how: str) -> Ensemble:
    named = dict(zip(SCOPES[per], group, strict=True))
    config = str(named.get("config", "study"))
    if not members:
        raise SelectionError(f"config {config}", "the rule chose no epoch", "loosen its conditions")
    return Ensemble(config, int(named.get("fold", -1)), int(named.get("seed", -1)), members, how)


def _fitted(ensemble: Ensemble, calibration: str | None, source: ScoreSource | None) -> Ensemble:
    if ensemble.combine != "weighted" and calibration is None:
        return ensemble
    if not isinstance(source, ScoreReader):
        raise SelectionError("combine, calibrate", "fitting needs the scores", "choose from `epoch_table(store)`")
    if ensemble.combine == "weighted":
        ensemble = source.reweighted(ensemble)
    if calibration is not None:
        sample = source.validation(ensemble)
        fitted = calibrate(calibration, sample.scores, sample.label, sample.weight)
        ensemble = replace(ensemble, calibration=fitted)
    return ensemble


KEPT = 1 << 28  # 256 MiB: 1,800 ensembles of 18,000 events


@dataclass(frozen=True)
class Together:
    """Ensembles number ``numbers`` of a question, which score the same lists of events: ``scores`` (E, N)."""

    numbers: list[int]
    tables: list[pa.Table]
    scores: Array

    def column(self, name: str) -> Array:
        """(N,) of the events."""
        return np.concatenate([unpacked(t[name]) for t in self.tables])

    def on(self, fom: FigureOfMerit) -> FigureOfMerit:
        """``fom`` for these events (see `raresearch.metrics.base.on`)."""
        needs: frozenset[str] = getattr(fom, "needs", frozenset())
        return on(fom, {name: self.column(name) for name in sorted(needs) if name in self.tables[0].column_names})


class ScoreReader:
    """Reads members' logits from the store; landings and events are read once. A `ScoreSource` of validation scores."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._cells: dict[str, dict[str, Any]] | None = None
        self._last: tuple[tuple[Ensemble, ...], list[Together]] | None = None
        self._sample: tuple[pa.Table, Labelled] | None = None  # the last list of events
        self._events = lru_cache(maxsize=64)(store.events)
        self._landing = lru_cache(maxsize=256)(lambda name, events: Landing.read(store, name, events))

    @property
    def cells(self) -> Mapping[str, Mapping[str, Any]]:
        """Cell key → its row in the store."""
        if self._cells is None:
            table = self.store.cells().select(["cell", "landing", "validation_events", "test_events", "config", "fold", "seed"])
            self._cells = {row["cell"]: row for row in table.to_pylist()}
        return self._cells

    def _cell(self, key: str) -> Mapping[str, Any]:
        cell = self.cells.get(key)
        if cell is None:
            raise SelectionError(f"cell {key}", "not in this store")
        return cell

    def logits(self, member: Member, split: Split) -> tuple[str, Array]:
        """(events name, logits (N,)) of one member; `SelectionError` where its scores were not kept."""
        cell = self._cell(member.cell)
        events = cell[f"{split}_events"]
        return events, self._landing(cell["landing"], events).row(member.cell, member.epoch)

    def parts(self, ensemble: Ensemble, split: Split) -> dict[str, tuple[Array, list[Member]]]:
        """Events name → logits (M, N) and members, for each list of events that the ensemble's members scored, by name."""
        by_events: dict[str, list[tuple[Array, Member]]] = {}
        for member in ensemble.members:
            events, logits = self.logits(member, split)
            by_events.setdefault(events, []).append((logits, member))
        return {e: (np.stack([p[0] for p in parts]), [p[1] for p in parts]) for e, parts in sorted(by_events.items())}

    def combined(self, ensemble: Ensemble, split: Split) -> Iterator[tuple[pa.Table, Array]]:
        """(events table, scores (N,)) for each list of events that the ensemble's members scored."""
        for events, (logits, members) in self.parts(ensemble, split).items():
            reference = self._reference(members, split) if ensemble.combine == "ranks" else None
            scores = combine(ensemble.combine, logits, [m.weight for m in members], reference)
            yield self.events(events, len(scores)), scores if ensemble.calibration is None else ensemble.calibration(scores)

    def _reference(self, members: Sequence[Member], split: Split) -> Any:
        """The members' validation logits, a list since folds differ in length; None where these are what is combined."""
        return None if split == "validation" else [self.logits(m, "validation")[1] for m in members]

    def events(self, name: str, scored: int) -> pa.Table:
        """The events of a list; `SelectionError` where it has not as many as were scored."""
        table: pa.Table = self._events(name)
        if len(table) != scored:
            rule = f"{scored} scores for {len(table)} events: ids and scores differ"
            raise SelectionError(f"events {name}", rule, "restore the store's events folder, or run the study in a new folder")
        return table

    def validation(self, ensemble: Ensemble) -> Labelled:
        """The ensemble's scores of its validation events with their labels, all folds together."""
        parts = list(self.combined(ensemble, "validation"))
        if len(parts) > 1:
            return labelled(pa.concat_tables([t for t, _ in parts]), np.concatenate([s for _, s in parts]))
        table, scores = parts[0]
        # Thousands of ensembles score one list of events: its columns are made arrays once. The table is held, so no other has its id.
        held, sample = self._sample if self._sample is not None else (None, None)
        if sample is None or held is not table:
            sample = labelled(table, scores)
            self._sample = table, sample
        return replace(sample, scores=scores)

    def values(self, ensembles: Sequence[Ensemble], fom: FigureOfMerit) -> Array:
        """(E,) ``fom`` of every ensemble on validation, without intervals: many at once, several times faster than `estimate`.

        The combined scores of the last question are kept (up to `KEPT` bytes): the next figure of the same ensembles only ranks them.
        """
        asked = tuple(ensembles)
        if self._last is None or self._last[0] != asked:
            self._last = (asked, self.together(asked))
        groups = self._last[1]
        found = np.empty(len(asked))
        for group in groups:
            found[group.numbers] = values(group.on(fom), group.scores, group.column("label"), group.column("weight"))
        if sum(group.scores.nbytes for group in groups) > KEPT:
            self._last = None
        return found

    def together(self, ensembles: Sequence[Ensemble]) -> list[Together]:
        """The scores of ``ensembles`` on validation, those of the same lists of events in one matrix."""
        pieces = [ensembles[start : start + 32] for start in range(0, len(ensembles), 32)]
        samples = [sample for piece in threaded(self._samples, pieces) for sample in piece]
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, (held, _) in enumerate(samples):
            groups.setdefault(tuple(map(id, held)), []).append(number)
        return [
            Together(numbers, samples[numbers[0]][0], np.stack([samples[n][1] for n in numbers])) for numbers in groups.values()
        ]

    def _samples(self, ensembles: Sequence[Ensemble]) -> list[tuple[list[pa.Table], Array]]:
        """(events tables, scores (N,)) of each ensemble on validation."""
        found: list[tuple[list[pa.Table], Array]] = []
        for ensemble in ensembles:
            if len(ensemble.members) == 1 and ensemble.combine == "scores" and ensemble.calibration is None:
                # What most are, by the ten thousand: the same numbers as `combined`, without its tables of parts.
                events, logits = self.logits(ensemble.members[0], "validation")
                found.append(([self.events(events, len(logits))], logistic(logits)))
            else:
                parts = list(self.combined(ensemble, "validation"))
                found.append(([t for t, _ in parts], np.concatenate([s for _, s in parts])))
        return found

    def libraries(self, epochs: EpochTable) -> list[Library]:
        """See `ScoreSource.libraries`."""
        by_events: dict[str, list[tuple[int, Array]]] = {}
        for row, (key, epoch) in enumerate(zip(epochs["cell"].tolist(), epochs["epoch"].tolist(), strict=True)):
            events, logits = self.logits(Member(key, int(epoch)), "validation")
            by_events.setdefault(events, []).append((row, logits))
        return [self._library(events, epochs, parts) for events, parts in sorted(by_events.items())]

    def _library(self, events: str, epochs: EpochTable, parts: list[tuple[int, Array]]) -> Library:
        table = self.events(events, len(parts[0][1]))
        rows, logits = np.asarray([row for row, _ in parts]), np.stack([logits for _, logits in parts])
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            first = rows[np.flatnonzero(~finite)[0]]
            place = f"cell {epochs['cell'][first]}, epoch {epochs['epoch'][first]}"
            rule = f"{int((~np.isfinite(logits[~finite][0])).sum())} scores are NaN or infinite"
            raise SelectionError(place, rule, "leave this cell out or train it again: a failed training is no member")
        columns = {n: table[n].to_numpy() for n in table.column_names if n not in ("event_id", "label", "weight")}
        return Library(events, rows, logits, table["label"].to_numpy(), table["weight"].to_numpy(), columns)

    def reweighted(self, ensemble: Ensemble) -> Ensemble:
        """``ensemble`` with the weights of least log-loss on validation, fold by fold (`mixture_weights`)."""
        weights: dict[tuple[str, int], float] = {}
        for events, (logits, members) in self.parts(ensemble, "validation").items():
            table = self.events(events, logits.shape[1])
            fitted = mixture_weights(logits, table["label"].to_numpy(), table["weight"].to_numpy())
            weights |= {(m.cell, m.epoch): float(w) for m, w in zip(members, fitted, strict=True)}
        chosen = [replace(m, weight=weights[(m.cell, m.epoch)]) for m in ensemble.members]
        return replace(ensemble, members=tuple(m for m in chosen if m.weight > 0))


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
    return on(fom, sample.columns)(sample.scores, sample.label, sample.weight)


#: epoch columns that every training records on validation, with their goals
COLUMNS: Mapping[str, Literal["max", "min"]] = {"val_loss": "min", "val_accuracy": "max"}


def best_so_far(store: Store, keys: Sequence[str], column: str) -> list[float]:
    """The best value of the epoch column ``column`` (of `COLUMNS`) in each done cell of ``keys``; reads those cells alone."""
    cells = store.cells()
    rows = store.epochs(cells.filter(pa.compute.is_in(cells["cell"], pa.array(keys, pa.string()))))
    found: dict[str, float] = {}
    better = max if COLUMNS[column] == "max" else min
    for key, value in zip(rows["cell"].to_pylist(), rows[column].to_pylist(), strict=True):
        found[key] = better(found.get(key, value), value)
    return [found[key] for key in keys]


STATISTICS: Mapping[str, Any] = {"mean": np.mean, "median": np.median, "min": np.min}


def config_score(values: Sequence[float], statistic: str, goal: str) -> float:
    """What a searcher is told of a config: the statistic over its cells, higher is better."""
    score = float(STATISTICS[statistic](np.asarray(values, dtype=np.float64)))
    return score if goal == "max" else -score
