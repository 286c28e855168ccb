"""A frozen choice of members, what it is worth on validation, and, once, on test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from raresearch.data.sealed import read_sealed
from raresearch.ensembles.base import SelectionRule
from raresearch.ensembles.evaluation import Ensemble, Labelled, Per, ScoreReader, estimate, labelled
from raresearch.errors import DataError, SealError
from raresearch.metrics.base import FigureOfMerit
from raresearch.store.ledger import append_ledger
from raresearch.store.store import Store
from raresearch.types import Estimate, digest


@dataclass(frozen=True)
class Valued:
    """One ensemble and its figure of merit."""

    ensemble: Ensemble
    estimate: Estimate


def averaged(values: Sequence[Estimate]) -> Estimate:
    """Mean over ensembles (repeats). The interval adds, in quadrature, the repeats' standard error (Student) and the mean
    half-width from finite events: repeats share their events, so averaging over them does not shrink that part.

    >>> averaged([Estimate(1.0, 0.9, 1.1, 50.0)]).value
    1.0
    """
    if len(values) == 1:
        return values[0]
    centre = np.asarray([e.value for e in values])
    level = values[0].level
    students = stats.t.ppf(0.5 + level / 2, len(values) - 1) * centre.std(ddof=1) / math.sqrt(len(values))
    down = math.hypot(students, float(np.mean([e.value - e.low for e in values])))
    up = math.hypot(students, float(np.mean([e.high - e.value for e in values])))
    mean = float(centre.mean())
    return Estimate(
        value=mean,
        low=mean - down,
        high=mean + up,
        n_effective=float(np.mean([e.n_effective for e in values])),
        level=level,
        method=f"mean of {len(values)} repeats; Student and events' interval in quadrature",
        lower_limit=any(e.lower_limit for e in values),
    )


@dataclass(frozen=True)
class Choice:
    """Members chosen by a rule from validation; immutable. ``config`` is the best config by the study's objective."""

    store: Store
    rule: SelectionRule
    per: Per
    ensembles: tuple[Ensemble, ...]
    labels: Mapping[str, str]
    objective: FigureOfMerit
    foms: Mapping[str, FigureOfMerit]

    @cached_property
    def _reader(self) -> ScoreReader:
        return ScoreReader(self.store)

    @cached_property
    def hash(self) -> str:
        """Content hash of rule and members: what the ledger remembers."""
        members = [[e.config, e.fold, e.seed, [[m.cell, m.epoch, m.weight] for m in e.members]] for e in self.ensembles]
        return digest({"rule": rule_json(self.rule), "per": self.per, "members": members}, 24)

    def fom(self, name: str | FigureOfMerit) -> FigureOfMerit:
        """A figure of merit of the study by name, or the one given."""
        if not isinstance(name, str):
            return name
        if name not in self.foms:
            from raresearch import plugins

            return plugins.build("foms", name, {}, None)  # type: ignore[no-any-return]
        return self.foms[name]

    def estimates(self, fom: str | FigureOfMerit) -> list[Valued]:
        """``fom`` of every ensemble on validation."""
        made = self.fom(fom)
        return [Valued(e, estimate(self._reader, e, made)) for e in self.ensembles]

    @cached_property
    def config(self) -> str:
        """Id of the config with the best mean objective on validation; the first where several tie."""
        sign = 1.0 if self.objective.goal == "max" else -1.0
        means: dict[str, list[float]] = {}
        for valued in self.estimates(self.objective):
            means.setdefault(valued.ensemble.config, []).append(sign * valued.estimate.value)
        return max(means, key=lambda c: float(np.mean(means[c])))

    @property
    def label(self) -> str:
        """Label of the best config."""
        return self.labels.get(self.config, self.config)

    def estimate(self, fom: str | FigureOfMerit) -> Estimate:
        """``fom`` of the best config on validation, averaged over its ensembles. Chosen and judged on the same events: optimistic."""
        return averaged([v.estimate for v in self.estimates(fom) if v.ensemble.config == self.config])

    def unseal(self, reason: str) -> Unsealed:
        """Open the test labels for this choice: once for each choice, recorded in the ledger before anything is read.

        Raises `SealError` for an empty reason or a study without test events.
        """
        if not reason.strip():
            raise SealError("unseal", "a reason is needed", 'for example --reason "selection frozen for the analysis note"')
        datasets = sorted({p.name for p in (self.store.root / "datasets").iterdir() if (p / "sealed").is_dir()})
        thresholds = {v.ensemble: v.estimate.threshold for v in self.estimates(self.objective)}
        cells = self.store.cells()
        entry = append_ledger(
            self.store.root,
            {
                "reason": reason.strip(),
                "choice": self.hash,
                "rule": rule_json(self.rule),
                "per": self.per,
                "config": self.label,
                "cells": cells.filter(pa.compute.equal(cells["state"], "done")).num_rows,
                "thresholds": digest(list(thresholds.values()), 24),
            },
        )
        sealed = {name: read_sealed(self.store.root / "datasets" / name) for name in datasets}
        return Unsealed(self, entry, sealed)


@dataclass(frozen=True)
class Unsealed:
    """A frozen choice on test events, each figure of merit at the threshold fixed on validation."""

    choice: Choice
    entry: Mapping[str, Any]
    sealed: Mapping[str, Any]

    def _test(self, ensemble: Ensemble) -> Labelled:
        parts = list(self.choice._reader.combined(ensemble, "test"))
        if len(parts) != 1:
            raise DataError(
                "test events", "members of one ensemble scored different test events", "choose per config of one dataset"
            )
        (events, scores), cell = parts[0], self.choice._reader.cells[ensemble.members[0].cell]
        labels = self.sealed[cell["test_events"].removesuffix("-test")]
        order = np.argsort(labels.event_id)
        rows = order[np.searchsorted(labels.event_id, events["event_id"].to_numpy(), sorter=order)]
        table = (
            events.append_column("class", pa.array(labels.class_number[rows]))
            .append_column("label", pa.array(labels.label[rows]))
            .append_column("weight", pa.array(labels.weight[rows]))
        )
        return labelled(table, scores)

    def sample(self, ensemble: Ensemble) -> Labelled:
        """The ensemble's scores of the test events with their labels."""
        return self._test(ensemble)

    def estimates(self, fom: str | FigureOfMerit) -> list[Valued]:
        """``fom`` of every ensemble on test, at the threshold that validation fixed where it cuts."""
        made = self.choice.fom(fom)
        values = []
        for valued in self.choice.estimates(made):
            sample = self._test(valued.ensemble)
            threshold = valued.estimate.threshold if made.cuts else None
            values.append(Valued(valued.ensemble, made(sample.scores, sample.label, sample.weight, threshold=threshold)))
        return values

    def estimate(self, fom: str | FigureOfMerit) -> Estimate:
        """``fom`` of the best config on test, averaged over its ensembles."""
        return averaged([v.estimate for v in self.estimates(fom) if v.ensemble.config == self.choice.config])


def rule_json(rule: SelectionRule) -> dict[str, Any]:
    """A rule's name and options as JSON."""
    options = asdict(rule) if hasattr(rule, "__dataclass_fields__") else {}  # type: ignore[call-overload]
    return {"rule": type(rule).__name__, "options": {k: v for k, v in options.items() if v is not None}}
