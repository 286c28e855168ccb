"""A study's whole selection, made again on resampled validation events: what `optimism` calls in each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from raresearch.ensembles.base import Library, Per, SelectionRule
from raresearch.ensembles.combine import combine
from raresearch.ensembles.evaluation import Ensemble, ScoreReader, select
from raresearch.ensembles.figures import values
from raresearch.errors import SelectionError
from raresearch.metrics.base import FigureOfMerit
from raresearch.statistics.optimism import Optimism, optimism
from raresearch.types import Array, EpochTable, Member

#: scores of all candidates are held in memory, with as many losses
MOST_SCORES = 250_000_000
#: columns that are computed anew from the scores in each round
FROM_SCORES = ("val_loss", "val_accuracy")


@dataclass(frozen=True)
class Rehearsal:
    """``epochs``: the rows that may be chosen, all of them scored; ``libraries``: their scores. Raises `SelectionError` for rules
    that read validation columns which scores cannot give, or where ``val_loss`` is not the binary cross-entropy.
    """

    epochs: EpochTable
    libraries: Sequence[Library]
    rule: SelectionRule
    per: Per
    how: str
    objective: FigureOfMerit
    fom: FigureOfMerit

    @classmethod
    def of(
        cls,
        reader: ScoreReader,
        epochs: EpochTable,
        rule: SelectionRule,
        per: Per,
        how: str,
        objective: FigureOfMerit,
        fom: FigureOfMerit,
    ) -> Rehearsal:
        """Read the scores of every row of ``epochs``."""
        other = [name for name in sorted(rule.needs) if name.startswith("val_") and name not in FROM_SCORES]
        if other:
            raise SelectionError(
                f"column {other[0]!r}", "cannot be computed anew from scores", "choose by val_loss or val_accuracy"
            )
        if how == "weighted":
            raise SelectionError("optimism", "weights fitted after the choice are not rehearsed", "use combine: scores")
        made = cls(epochs, _read(reader, epochs), rule, per, how, objective, fom)
        if "val_loss" in rule.needs:
            made._check_loss()
        return made

    def run(self, rounds: int, seed: int) -> Optimism:
        """`optimism` of the rule, of the choice of the best config by the objective, and of the threshold."""
        return optimism(self.trial, [lib.label for lib in self.libraries], self.fom.goal, rounds=rounds, seed=seed)

    def trial(self, chosen: Sequence[Array], held: Sequence[Array]) -> tuple[float, float]:
        """One round: choose on ``chosen`` events, report there, and judge on ``held``."""
        table = self._table(chosen)
        ensembles = select(table, self.rule, self.per, combine=self.how, reader=_Chosen(self, table, chosen))
        samples = [self._scores(e, chosen, chosen) for e in ensembles]
        label, weight = self._labels(chosen)
        sign = 1.0 if self.objective.goal == "max" else -1.0
        objective = sign * values(self.objective, np.stack(samples), label, weight)
        configs = np.asarray([e.config for e in ensembles])
        best = max(dict.fromkeys(configs.tolist()), key=lambda c: float(objective[configs == c].mean()))
        judged = [self._judge(e, s, chosen, held) for e, s in zip(ensembles, samples, strict=True) if e.config == best]
        reported, found = np.mean(judged, axis=0)
        return float(reported), float(found)

    def _judge(self, ensemble: Ensemble, scores: Array, chosen: Sequence[Array], held: Sequence[Array]) -> tuple[float, float]:
        there = self.fom(scores, *self._labels(chosen))
        threshold = there.threshold if self.fom.cuts else None
        here = self.fom(self._scores(ensemble, held, chosen), *self._labels(held), threshold=threshold)
        return there.value, here.value

    def _labels(self, events: Sequence[Array]) -> tuple[Array, Array]:
        pairs = list(zip(self.libraries, events, strict=True))
        return np.concatenate([b.label[e] for b, e in pairs]), np.concatenate([b.weight[e] for b, e in pairs])

    def _scores(self, ensemble: Ensemble, events: Sequence[Array], chosen: Sequence[Array]) -> Array:
        """Combined scores of ``events`` of all lists; ranks go by the ``chosen`` events."""
        parts = []
        for number, library in enumerate(self.libraries):
            mine = [
                (self._place[number][(m.cell, m.epoch)], m)
                for m in ensemble.members
                if (m.cell, m.epoch) in self._place[number]
            ]
            if not mine:
                rule = f"config {ensemble.config} does not score the events {library.events}"
                raise SelectionError("optimism", rule, "choose per repeat or config where there are folds, within one dataset")
            logits = library.logits[[place for place, _ in mine]]
            weights = [m.weight for _, m in mine]
            parts.append(combine(self.how, logits[:, events[number]], weights, logits[:, chosen[number]]))
        return np.concatenate(parts)

    @cached_property
    def _place(self) -> list[Mapping[tuple[str, int], int]]:
        """For each library: (cell, epoch) → row of its logits."""
        cells, epochs = self.epochs["cell"].tolist(), self.epochs["epoch"].tolist()
        return [{(cells[row], int(epochs[row])): place for place, row in enumerate(lib.rows)} for lib in self.libraries]

    def _table(self, events: Sequence[Array] | None) -> EpochTable:
        """The epochs with loss and accuracy as ``events`` (None: all) give them."""
        columns = dict(self.epochs.columns)
        loss, accuracy = np.full(len(self.epochs), np.nan), np.full(len(self.epochs), np.nan)
        for number, library in enumerate(self.libraries):
            losses, right = self._each[number]
            share = library.weight * (library.label >= 0)
            if events is not None:
                share = share * np.bincount(events[number], minlength=len(share))
            share = (share / share.sum()).astype(np.float32)
            loss[library.rows], accuracy[library.rows] = losses @ share, right @ share
        return EpochTable({**columns, "val_loss": loss, "val_accuracy": accuracy})

    @cached_property
    def _each(self) -> list[tuple[Array, Array]]:
        """For each library (M, N) float32: every event's loss, and whether it is on its side."""
        found = []
        for library in self.libraries:
            signal = library.label == 1
            margin = np.where(signal, library.logits, -library.logits)
            right = ((library.logits > 0) == signal).astype(np.float32)
            found.append((-scipy.special.log_expit(margin), right))
        return found

    def _check_loss(self) -> None:
        ours, theirs = self._table(None)["val_loss"], np.asarray(self.epochs["val_loss"], dtype=np.float64)
        if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-5):
            rule = "is not the binary cross-entropy of the scores, so resampled events cannot give it"
            raise SelectionError(
                "column 'val_loss'", rule, "choose by val_accuracy, or by a figure of merit (best_of_repeats, greedy)"
            )


@dataclass(frozen=True)
class _Chosen:
    """A `ScoreSource` of the chosen events only, each as often as it was drawn."""

    rehearsal: Rehearsal
    table: EpochTable
    events: Sequence[Array]

    def libraries(self, epochs: EpochTable) -> list[Library]:
        keys = list(zip(epochs["cell"].tolist(), epochs["epoch"].tolist(), strict=True))
        found = []
        for library, place, events in zip(self.rehearsal.libraries, self.rehearsal._place, self.events, strict=True):
            rows = np.asarray([row for row, key in enumerate(keys) if key in place], dtype=np.int64)
            if len(rows):
                logits = library.logits[[place[keys[row]] for row in rows]][:, events]
                found.append(Library(library.events, rows, logits, library.label[events], library.weight[events]))
        return found


def _read(reader: ScoreReader, epochs: EpochTable) -> list[Library]:
    first = Member(str(epochs["cell"][0]), int(epochs["epoch"][0]))
    n = len(reader.logits(first, "validation")[1]) * len(epochs)
    if n > MOST_SCORES:
        rule = f"{n:.2g} scores are too many to hold in memory"
        raise SelectionError("optimism", rule, "ask for fewer: configs=[…], or a choice of one config")
    return reader.libraries(epochs)
