"""A frozen choice of members, what it is worth on validation, and, once, on test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raresearch.data.sealed import read_sealed
from raresearch.ensembles import operating
from raresearch.ensembles.base import SelectionRule
from raresearch.ensembles.curves import Curve, efficiency_curve
from raresearch.ensembles.evaluation import Ensemble, Labelled, Per, ScoreReader, epoch_table, estimate, labelled
from raresearch.ensembles.operating import OperatingPoint
from raresearch.errors import DataError, SealError, SelectionError, SpecError
from raresearch.metrics.averaging import averaged
from raresearch.metrics.base import FigureOfMerit, on
from raresearch.report.labels import described
from raresearch.statistics.bootstrap import hierarchical, over_events, over_repeats
from raresearch.statistics.optimism import Optimism
from raresearch.statistics.panel import panel
from raresearch.statistics.selection import Rehearsal
from raresearch.statistics.variance import VarianceSplit, cell_noise, split
from raresearch.store.ledger import append_ledger
from raresearch.store.store import Store
from raresearch.types import Estimate, digest

if TYPE_CHECKING:
    from raresearch.deploy.bundle import Bundle


@dataclass(frozen=True)
class Valued:
    """One ensemble and its figure of merit."""

    ensemble: Ensemble
    estimate: Estimate


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
    reader: ScoreReader | None = field(default=None, compare=False, repr=False)

    @cached_property
    def _reader(self) -> ScoreReader:
        return self.reader or ScoreReader(self.store)

    @cached_property
    def hash(self) -> str:
        """Content hash of rule and members: what the ledger remembers."""
        members = [_json(e) for e in self.ensembles]
        return digest({"rule": rule_json(self.rule), "per": self.per, "members": members}, 24)

    def _repr_html_(self) -> str:
        from raresearch.report.notebook import facts_html

        sizes = sorted({len(e.members) for e in self.ensembles})
        facts = {
            "rule": described(self.rule),
            "one ensemble a": self.per,
            "ensembles": len(self.ensembles),
            "members each": " to ".join(str(s) for s in (sizes if len(sizes) < 2 else (sizes[0], sizes[-1]))),
            f"best by {self.objective.name}, on validation": self.label,
            "hash": self.hash,
        }
        return facts_html("choice, frozen", facts)

    def fom(self, name: str | FigureOfMerit) -> FigureOfMerit:
        """A figure of merit of the study by name, or the one given."""
        if not isinstance(name, str):
            return name
        if name not in self.foms:
            from raresearch import plugins

            return plugins.build("foms", name, {}, None)  # type: ignore[no-any-return]
        return self.foms[name]

    def estimates(self, fom: str | FigureOfMerit, config: str | None = None) -> list[Valued]:
        """``fom`` of every ensemble on validation, or of those of ``config`` alone."""
        made = self.fom(fom)
        return [Valued(e, estimate(self._reader, e, made)) for e in self.ensembles if config in (None, e.config)]

    def values(self, fom: str | FigureOfMerit) -> list[float]:
        """``fom`` of every ensemble on validation, without intervals: several times faster than `estimates`."""
        return [float(v) for v in self._reader.values(self.ensembles, self.fom(fom))]

    @cached_property
    def config(self) -> str:
        """Id of the config with the best mean objective on validation; the first where several tie."""
        sign = 1.0 if self.objective.goal == "max" else -1.0
        means: dict[str, list[float]] = {}
        for ensemble, value in zip(self.ensembles, self.values(self.objective), strict=True):
            means.setdefault(ensemble.config, []).append(sign * value)
        left = self.store.verdicts()  # after fewer cells, of which the mean is luckier, or after fewer epochs
        return max(means, key=lambda c: (c not in left, float(np.mean(means[c]))))

    @property
    def label(self) -> str:
        """Label of the best config."""
        return self.labels.get(self.config, self.config)

    def estimate(self, fom: str | FigureOfMerit) -> Estimate:
        """``fom`` of the best config on validation, averaged over its ensembles. Chosen and judged on the same events: optimistic."""
        return averaged([v.estimate for v in self.estimates(fom, self.config)])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by number."""
        return tuple(self.store.about()["schema"]["classes"])

    def samples(self, config: str | None = None) -> list[Labelled]:
        """The validation events as each ensemble of ``config`` (an id; None: the best) scores them."""
        wanted = self.config if config is None else config
        return [self._reader.validation(e) for e in self.ensembles if e.config == wanted]

    def operating_points(
        self, *, maximise: str | FigureOfMerit | None = None, accept: float | None = None, pass_background: float | None = None,
        species: str | int | None = None,
    ) -> list[OperatingPoint]:  # fmt: skip
        """A threshold for each ensemble of the best config, with how well validation fixes it. Exactly one of:

        ``maximise`` a figure of merit; ``accept`` this fraction of ``species`` (default signal; a class's name, such as
        "C100keV"); ``pass_background``, at most this fraction of ``species`` (default background). Raises `SpecError`.
        """
        given = [w is not None for w in (maximise, accept, pass_background)]
        if sum(given) != 1:
            rule = f"{sum(given)} of maximise, accept, pass_background given, exactly one is needed"
            raise SpecError("operating_points", rule, "for example accept=0.3, species='C100keV'")
        if maximise is not None:
            fom = self.fom(maximise)
            return [operating.maximise(s, fom) for s in self.samples()]
        if accept is not None:
            return [operating.fix_acceptance(s, accept, species or "signal", self.classes) for s in self.samples()]
        rate = float(pass_background or 0.0)
        return [operating.fix_background(s, rate, species or "background", self.classes) for s in self.samples()]

    def curve(
        self, observer: str, bins: int | Sequence[float] = 10, *, threshold: float | None = None, species: str | int = "signal"
    ) -> list[Curve]:
        """For each ensemble of the best config, the fraction of ``species`` kept in bins of ``observer`` (see `efficiency_curve`).

        ``threshold`` None: each ensemble's own, where the objective is best. ``bins`` as a number: edges of the first
        ensemble's events for all.
        """
        curves: list[Curve] = []
        for sample in self.samples():
            cut = self._cut(sample) if threshold is None else threshold
            edges = curves[0].edges if curves else bins
            curves.append(efficiency_curve(sample, observer, edges, cut, species, self.classes))
        return curves

    def _cut(self, sample: Labelled) -> float:
        cut = on(self.objective, sample.columns)(sample.scores, sample.label, sample.weight).threshold
        if cut is None:
            raise SpecError("curve: threshold", f"the objective {self.objective.name} has none", "give threshold=…")
        return cut

    def interval(self, fom: str | FigureOfMerit, over: str = "both", resamples: int = 200) -> Estimate:
        """``fom`` of the best config, averaged over its repeats, with a bootstrap interval ``over`` events, repeats or both."""
        made, repeats = self.fom(fom), panel(self._reader, [e for e in self.ensembles if e.config == self.config])
        if over == "repeats":
            return over_repeats(repeats.values(made))
        if over not in ("events", "both"):
            raise SpecError(f"over {over!r}", "intervals are over events, repeats or both", "over='both'")
        return (over_events if over == "events" else hierarchical)(repeats, made, resamples=resamples)

    def variance(self, fom: str | FigureOfMerit, resamples: int = 100) -> VarianceSplit:
        """The variance of ``fom`` among cells, split into config, fold, seed and finite events (see `VarianceSplit`).

        Raises `SelectionError` for a choice that is not per cell.
        """
        if self.per != "cell":
            raise SelectionError("variance", f"the choice is per {self.per}", "select with per='cell'")
        made = self.fom(fom)
        noise = cell_noise(self._reader, self.ensembles, self.config, made, resamples)
        values = np.asarray(self.values(made))
        config, fold = (np.asarray([getattr(e, name) for e in self.ensembles]) for name in ("config", "fold"))
        return split(values, config, fold, noise.own, noise.common)

    def optimism(self, fom: str | FigureOfMerit | None = None, rounds: int = 50, seed: int = 0) -> Optimism:
        """How much better ``fom`` (default: the objective) looks on the events that this selection chose on (see `optimism`).

        The whole selection is made again in each round: epochs, members, threshold, best config. Calibration is left out.
        """
        table = epoch_table(self.store)
        if self.per != "study":
            table = table.where(np.isin(table["config"], [e.config for e in self.ensembles]))
        how, made = self.ensembles[0].combine, self.fom(fom or self.objective)
        return Rehearsal.of(self._reader, table, self.rule, self.per, how, self.objective, made).run(rounds, seed)

    def export(self, path: Path | str, **which: Any) -> Bundle:
        """Freeze one ensemble of this choice into the file ``path`` (see `raresearch.deploy.export.export_choice`)."""
        from raresearch.deploy.export import export_choice

        return export_choice(self, path, **which)

    def unseal(self, reason: str) -> Unsealed:
        """Open the test labels for this choice: once for each choice, recorded in the ledger before anything is read.

        Raises `SealError` for an empty reason or a study without test events.
        """
        if not reason.strip():
            raise SealError("unseal", "a reason is needed", 'for example --reason "selection frozen for the analysis note"')
        self.store.elsewhere.pull_datasets()
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
            bound = on(made, sample.columns)
            values.append(Valued(valued.ensemble, bound(sample.scores, sample.label, sample.weight, threshold=threshold)))
        return values

    def estimate(self, fom: str | FigureOfMerit) -> Estimate:
        """``fom`` of the best config on test, averaged over its ensembles."""
        return averaged([v.estimate for v in self.estimates(fom) if v.ensemble.config == self.choice.config])


def _json(ensemble: Ensemble) -> list[Any]:
    """What identifies an ensemble; combination and calibration only where they are not the plain mean of scores."""
    content: list[Any] = [
        ensemble.config,
        ensemble.fold,
        ensemble.seed,
        [[m.cell, m.epoch, m.weight] for m in ensemble.members],
    ]
    if ensemble.combine != "scores":
        content.append(ensemble.combine)
    if ensemble.calibration is not None:
        content.append(asdict(ensemble.calibration))
    return content


def rule_json(rule: SelectionRule) -> dict[str, Any]:
    """A rule's name and options as JSON."""
    options = asdict(rule) if hasattr(rule, "__dataclass_fields__") else {}  # type: ignore[call-overload]
    return {"rule": type(rule).__name__, "options": {k: v for k, v in options.items() if v is not None}}
