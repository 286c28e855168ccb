"""The store read once: every cell with its chosen epochs and its estimates on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from raresearch.ensembles.base import SelectionRule
from raresearch.ensembles.evaluation import Ensemble, Labelled, ScoreReader, epoch_table, select
from raresearch.errors import SelectionError
from raresearch.metrics.base import FigureOfMerit
from raresearch.report.estimates import Evaluated, KeptEstimates, evaluate
from raresearch.report.inputs import figures_asked
from raresearch.report.labels import LONGEST, described, label_configs
from raresearch.store.records import parse_config
from raresearch.store.store import Store
from raresearch.types import EpochTable, Estimate


@dataclass(frozen=True)
class CellResult:
    """One cell; ``budget`` is the largest number of epochs that it might have trained.

    ``estimates`` (figure of merit → estimate on validation) and ``epochs`` are empty where it failed.
    """

    key: str
    config: str
    label: str
    fold: int
    seed: int
    budget: int
    state: str
    error: str
    seconds: float
    ensemble: Ensemble | None
    estimates: Mapping[str, Estimate]

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs of the chosen members."""
        return tuple(m.epoch for m in self.ensemble.members) if self.ensemble else ()


def _mean(values: Sequence[float]) -> float:
    """Most often of one value, tens of thousands of times a report: an array for each would take a second."""
    return float(values[0]) if len(values) == 1 else float(np.mean(values))


@dataclass(frozen=True)
class Repeat:
    """One seed of one config: its cells of all folds. A repeat counts as done when every fold is."""

    config: str
    seed: int
    cells: tuple[CellResult, ...]
    folds: int

    @property
    def state(self) -> str:
        """``done``, ``failed`` (at least one fold failed) or ``open`` (folds are missing)."""
        if any(c.state == "failed" for c in self.cells):
            return "failed"
        return "done" if len(self.cells) == self.folds else "open"

    def value(self, fom: str) -> float:
        """Mean over folds of the estimates of ``fom``; NaN where a fold has none."""
        return _mean([c.estimates[fom].value if fom in c.estimates else math.nan for c in self.cells])

    @property
    def epoch(self) -> float:
        """Mean over folds and chosen members of the epoch."""
        return _mean([_mean(c.epochs) for c in self.cells])


@dataclass(frozen=True)
class Results:
    """Everything that tables and figures are made of. ``labels``: config id → label, in the order of the rows."""

    store: Store
    about: Mapping[str, Any]
    objective: FigureOfMerit
    others: Mapping[str, FigureOfMerit]
    rule: SelectionRule
    labels: Mapping[str, str]
    configs: Mapping[str, Mapping[str, Any]]
    cells: tuple[CellResult, ...]
    epochs: EpochTable
    reader: ScoreReader
    notes: tuple[str, ...]

    @cached_property
    def folds(self) -> int:
        """Folds of a repeat: the study's, or as many as landed where its spec does not say."""
        return int(self.about.get("spec", {}).get("folds") or max((c.fold for c in self.cells), default=0) + 1)

    @cached_property
    def left(self) -> Mapping[str, int]:
        """Config id → number of cells after which it left the study's race."""
        return {config: int(verdict["rounds"]) for config, verdict in self.store.verdicts().items() if "rounds" in verdict}

    @property
    def second(self) -> str | None:
        """Name, in ``others``, of the second objective, where the study has two: it stands first there."""
        return next(iter(self.others), None) if isinstance(self.about.get("spec", {}).get("objective"), list) else None

    @cached_property
    def stopped(self) -> Mapping[str, int]:
        """Config id → epochs after which early stopping ended its trainings."""
        return self.store.stopped()

    @cached_property
    def repeats(self) -> Mapping[str, tuple[Repeat, ...]]:
        """Config id → its repeats by seed, for every label."""
        grouped: dict[str, dict[int, list[CellResult]]] = {config: {} for config in self.labels}
        for cell in self.cells:
            grouped[cell.config].setdefault(cell.seed, []).append(cell)
        return {
            # A config that left the race is not waited for: what it has of a repeat is that repeat.
            config: tuple(
                Repeat(config, seed, tuple(cells), len(cells) if config in self.left else self.folds)
                for seed, cells in sorted(seeds.items())
            )
            for config, seeds in grouped.items()
        }

    def done(self, config: str) -> tuple[Repeat, ...]:
        """The done repeats of ``config``."""
        return self._done[config]

    @cached_property
    def _done(self) -> Mapping[str, tuple[Repeat, ...]]:
        return {config: tuple(r for r in repeats if r.state == "done") for config, repeats in self.repeats.items()}

    def ranked(self) -> list[str]:
        """Configs with done repeats, best mean objective first."""
        return list(self._ranked)

    @cached_property
    def _ranked(self) -> Sequence[str]:
        sign = -1.0 if self.objective.goal == "max" else 1.0
        means = {c: float(np.mean([r.value(self.objective.name) for r in self.done(c)])) for c in self.labels if self.done(c)}
        # Of fewer cells, so luckier; or after fewer epochs, so not what they would have become.
        return sorted(means, key=lambda c: (c in self.left or c in self.stopped, sign * means[c]))

    def finished(self) -> list[str]:
        """`ranked` without those that were stopped early."""
        return [c for c in self.ranked() if c not in self.stopped]

    @cached_property
    def shortened(self) -> bool:
        """Whether labels are too long for figures."""
        return any(len(label) > LONGEST for label in self.labels.values())

    @cached_property
    def short(self) -> Mapping[str, str]:
        """Config id → its name in figures: the label, or, where labels are too long, its rank (#1 is the best)."""
        if not self.shortened:
            return self.labels
        places = {config: f"#{number}" for number, config in enumerate(self.ranked(), start=1)}
        return {config: places.get(config, config[:6]) for config in self.labels}

    def side_by_side(self, most: int) -> list[str]:
        """The ``most`` best configs as they stand beside each other: in the order of the space, or by rank where they are
        named by it."""
        best = self.ranked()[:most]
        return best if self.shortened else [c for c in self.labels if c in set(best)]

    @cached_property
    def best_cell(self) -> CellResult | None:
        """The best cell of the best config: what figures of a single training show."""
        ranked = self.ranked()
        if not ranked:
            return None
        cells = [c for r in self.done(ranked[0]) for c in r.cells]
        sign = -1.0 if self.objective.goal == "max" else 1.0
        return min(cells, key=lambda c: sign * c.estimates[self.objective.name].value)

    def sample(self, cell: CellResult) -> Labelled:
        """The validation events of a done cell with the scores of its chosen members."""
        if cell.ensemble is None:
            raise SelectionError(
                f"cell {cell.key}", "it failed and has no scores", "retry it: run the study with --retry-failed"
            )
        return self.reader.validation(cell.ensemble)

    def named(self, cell: CellResult) -> str:
        """Which cell a figure shows."""
        return f"config {self.short[cell.config]}, seed {cell.seed}" + (f", fold {cell.fold}" if self.folds > 1 else "")

    @property
    def stamp(self) -> str:
        """``simulated by <experiment> v<version>``; empty where the events are measured."""
        experiment = self.about.get("experiment", {})
        if not experiment.get("simulated"):
            return ""
        return f"simulated by {experiment.get('name', 'an unnamed experiment')} v{experiment.get('version', '?')}"


def gather(
    store: Store,
    *,
    objective: FigureOfMerit,
    others: Sequence[FigureOfMerit],
    rule: SelectionRule,
    labels: Mapping[str, str],
    ensembles: Sequence[Ensemble] | None = None,
) -> Results:
    """Read ``store`` and evaluate every done cell at the epochs that ``rule`` chooses, or with ``ensembles`` (one a cell)
    that were made already.

    Raises `SelectionError` where the rule asks for columns or scores that the store lacks, and `DataError` where the
    objective cannot be computed. Another figure of merit that cannot be is left out, and ``notes`` say so.
    """
    foms = distinct(objective, others)
    paused, stopped = store.paused(), store.stopped()
    rows = [row for row in store.cells().to_pylist() if row["cell"] not in paused]
    # Of thousands of cells; parsed once a config.
    configs = {config: parse_config(text) for config, text in {row["config"]: row["values"] for row in rows}.items()}
    names = label_configs(configs, labels)
    epochs, reader, notes = epoch_table(store), ScoreReader(store), dict[str, None]()
    made = ensembles if ensembles is not None else select(epochs, rule) if len(epochs) else ()
    chosen = {e.members[0].cell: e for e in made}
    # Ensembles of another rule are asked for once; keeping theirs would drive out the study's own.
    kept = KeptEstimates(store, figures_asked(objective, others)) if ensembles is None else None
    asked = {row["cell"]: (row["landing"], chosen[row["cell"]]) for row in rows if row["cell"] in chosen}
    evaluated = dict(zip(asked, _evaluated(reader, list(asked.values()), objective, foms, kept), strict=True))
    cells = []
    for row in rows:
        ensemble, found = chosen.get(row["cell"]), evaluated.get(row["cell"], Evaluated({}))
        notes |= dict.fromkeys(found.notes)
        same = {n: row[n] for n in ("config", "fold", "seed", "state", "error", "seconds")}
        same["error"] = same["error"] or ""
        # A stopped one was not at the end of what its config allows.
        budget = configs[row["config"]]["train.epochs"] if row["config"] in stopped else row["epochs"]
        own = {"key": row["cell"], "label": names[row["config"]], "budget": budget}
        cells.append(CellResult(**own, ensemble=ensemble, estimates=found.estimates, **same))
    if kept is not None:
        kept.write()
    if unturned := _unturned(cells, rule):
        notes[unturned] = None
    if stopped:
        notes[_early(stopped, configs)] = None
    return Results(store, store.about(), objective, foms, rule, names, configs, tuple(cells), epochs, reader, tuple(notes))


def _unturned(cells: Sequence[CellResult], rule: SelectionRule) -> str:
    """A note where the one chosen epoch is the last one allowed: such a training might have gone on to a better one.

    None for a rule that looks at nothing but the epoch: it takes the last one by design.
    """
    if rule.needs <= {"epoch"}:
        return ""
    single = [c for c in cells if len(c.epochs) == 1]
    last = [c for c in single if c.epochs[0] == c.budget]
    if not last:
        return ""
    return f"In {len(last)} of {len(single)} trainings the chosen epoch is the last one allowed: longer ones may do better."


def _early(stopped: Mapping[str, int], configs: Mapping[str, Mapping[str, Any]]) -> str:
    """A note that says what a stopped config's numbers are."""
    full = max(int(config["train.epochs"]) for config in configs.values())
    span = f"{min(stopped.values())} to {max(stopped.values())}" if len({*stopped.values()}) > 1 else f"{min(stopped.values())}"
    return (
        f"{len(stopped)} of {len(configs)} configs were stopped early, after {span} of {full} epochs: their numbers are those of "
        "the epochs they got, stand behind all that finished, and enter no comparison or dependence."
    )


def distinct(objective: FigureOfMerit, others: Sequence[FigureOfMerit]) -> dict[str, FigureOfMerit]:
    """Name → figure for ``others``; one that shares a name but not its options is called with them, a double is dropped."""
    found: dict[str, FigureOfMerit] = {objective.name: objective}
    for fom in others:
        if fom not in found.values():
            found[fom.name if fom.name not in found else described(fom, fom.name)] = fom
    del found[objective.name]
    return found


def _evaluated(
    reader: ScoreReader,
    asked: Sequence[tuple[str, Ensemble]],
    objective: FigureOfMerit,
    others: Mapping[str, FigureOfMerit],
    kept: KeptEstimates | None,
) -> list[Evaluated]:
    """Of each (landing, ensemble): what was kept, and the rest evaluated."""
    keys = [kept.key(landing, e) if kept is not None and e.calibration is None else "" for landing, e in asked]
    found = [kept.get(key) if kept is not None and key else None for key in keys]
    missing = [number for number, one in enumerate(found) if one is None]
    made = evaluate(reader, [asked[number][1] for number in missing], objective, others)
    for number, one in zip(missing, made, strict=True):
        found[number] = one
        if kept is not None and keys[number]:
            kept.put(keys[number], one)
    return [one for one in found if one is not None]
