"""One row a config: the objective over repeats, on validation; beside it what the paper and, once unsealed, the test say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from raresearch.ensembles.base import SelectionRule
from raresearch.ensembles.evaluation import Ensemble
from raresearch.metrics.base import FigureOfMerit
from raresearch.report.labels import described
from raresearch.report.numbers import Spread
from raresearch.report.results import Repeat, Results, gather
from raresearch.store.store import Store

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class UnsealedRow:
    """One config on test, thresholds frozen on validation: mean and sample std over repeats, interval of the mean."""

    label: str
    mean: float
    std: float | None
    low: float
    high: float


@dataclass(frozen=True)
class UnsealedTable:
    """What `unseal` found. ``ledger`` is the hash of its line in the ledger, ``time`` ISO 8601."""

    rows: Sequence[UnsealedRow]
    time: str
    reason: str
    ledger: str

    def row(self, label: str) -> UnsealedRow | None:
        """The row of ``label``; None where the test was not opened for it."""
        return next((r for r in self.rows if r.label == label), None)


@dataclass(frozen=True)
class PaperRow:
    """What the paper printed. It is shown and never used."""

    value: float | None
    spread: float | None
    best_epoch: float | None


@dataclass(frozen=True)
class StudyRow:
    """One config. ``interval``: mean half-width of one cell's interval, from its finite number of events alone.

    ``relative``: mean S/√n where the objective is a significance with n expected signal events. ``done``, ``failed`` and
    ``open`` count repeats; a failed repeat is in no mean. ``limits`` counts done cells whose value is only a lower limit;
    ``left``: cells after which the config left the study's race, over which its means are; ``stopped``: epochs after which
    early stopping ended its trainings, of which its numbers are.
    """

    label: str
    config: str
    objective: Spread
    interval: float
    epoch: Spread
    done: int
    failed: int
    open: int
    relative: float | None = None
    limits: int = 0
    left: int | None = None
    stopped: int | None = None
    others: Mapping[str, Spread] = field(default_factory=dict)
    paper: PaperRow | None = None
    test: UnsealedRow | None = None


@dataclass(frozen=True)
class StudyTable:
    """Rows in the order of the space. ``single`` is True where the rule chooses one epoch a cell.

    ``described``: figure of merit → its name with options; ``notes``: what a reader of the table must know besides.
    """

    rows: tuple[StudyRow, ...]
    objective: str
    goal: str
    others: tuple[str, ...] = ()
    single: bool = True
    unsealed: UnsealedTable | None = None
    notes: tuple[str, ...] = ()
    described: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> StudyRow | None:
        """The row with the best mean; None where nothing is done."""
        done = [r for r in self.rows if r.done]
        sign = -1.0 if self.goal == "max" else 1.0
        return min(done, key=lambda r: (r.left is not None or r.stopped is not None, sign * r.objective.mean)) if done else None

    @property
    def repeated(self) -> bool:
        """True where some config has a second repeat: only then are there spreads."""
        return any(r.objective.std is not None for r in self.rows)

    def _repr_html_(self) -> str:
        from raresearch.report.notebook import table_html

        return table_html(self)

    def to_rich(self) -> Table:
        """For the terminal."""
        from raresearch.report.tabular import to_rich

        return to_rich(self)

    def to_markdown(self) -> str:
        """A Markdown table, with a newline at its end."""
        from raresearch.report.tabular import to_markdown

        return to_markdown(self)

    def to_csv(self) -> str:
        """Comma-separated, full precision, one column a number."""
        from raresearch.report.tabular import to_csv

        return to_csv(self)


def summary(
    store: Store,
    *,
    objective: FigureOfMerit,
    others: Sequence[FigureOfMerit],
    rule: SelectionRule,
    labels: Mapping[str, str],
    unsealed: UnsealedTable | None = None,
    ensembles: Sequence[Ensemble] | None = None,
) -> StudyTable:
    """The table of ``store`` at the epochs that ``rule`` chooses, or of ``ensembles``; raises as `results.gather` does."""
    results = gather(store, objective=objective, others=others, rule=rule, labels=labels, ensembles=ensembles)
    return tabulate(results, unsealed)


def tabulate(results: Results, unsealed: UnsealedTable | None = None) -> StudyTable:
    """The table of results that were read already."""
    paper = paper_rows(results)
    return StudyTable(
        rows=tuple(_row(results, config, paper, unsealed) for config in results.labels),
        objective=results.objective.name,
        goal=results.objective.goal,
        others=tuple(results.others),
        single=all(len(c.epochs) <= 1 for c in results.cells),
        unsealed=unsealed,
        notes=results.notes,
        described={n: described(f, n) for n, f in ((results.objective.name, results.objective), *results.others.items())},
    )


def paper_rows(results: Results) -> dict[str, PaperRow]:
    """Label → the paper's numbers, for the labels that the paper has."""
    return {
        str(entry["label"]): PaperRow(entry.get("value"), entry.get("spread"), entry.get("best_epoch"))
        for entry in results.about.get("paper") or []
    }


def _row(results: Results, config: str, paper: Mapping[str, PaperRow], unsealed: UnsealedTable | None) -> StudyRow:
    name, label = results.objective.name, results.labels[config]
    repeats, done = results.repeats[config], results.done(config)
    states = [r.state for r in repeats]
    objective = Spread.of(r.value(name) for r in done)
    estimates = [c.estimates[name] for r in done for c in r.cells]
    return StudyRow(
        label=label,
        config=config,
        objective=objective,
        interval=float(np.mean([(e.high - e.low) / 2 for e in estimates])) if estimates else math.nan,
        epoch=Spread.of(r.epoch for r in done),
        done=len(done),
        failed=states.count("failed"),
        open=_planned(results, config, repeats) - len(done) - states.count("failed"),
        relative=_relative(results, objective),
        limits=sum(e.lower_limit for e in estimates),
        left=results.left.get(config),
        stopped=results.stopped.get(config),
        others={fom: Spread.of(r.value(fom) for r in done) for fom in results.others},
        paper=paper.get(label),
        test=unsealed.row(label) if unsealed else None,
    )


def _planned(results: Results, config: str, repeats: Sequence[Repeat]) -> int:
    if config in results.left:
        return len(repeats)
    return max(int(results.about.get("spec", {}).get("repeats") or 0), len(repeats))


def _relative(results: Results, objective: Spread) -> float | None:
    """S/√n: 1 is perfect separation of n signal events, so studies with different n compare."""
    expected = getattr(results.objective, "n_signal", None)
    if results.objective.name != "significance" or expected is None:
        return None
    return objective.mean / math.sqrt(expected)
