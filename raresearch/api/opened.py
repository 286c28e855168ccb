"""A study's folder, opened for questions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from raresearch.api.choice import Choice
from raresearch.api.parts import build_fom, build_rule
from raresearch.ensembles.base import SelectionRule
from raresearch.ensembles.evaluation import Per, epoch_table, select
from raresearch.errors import SelectionError
from raresearch.metrics.base import FigureOfMerit
from raresearch.spec import Component, StudySpec
from raresearch.store.ledger import read_ledger
from raresearch.store.lease import only_driver
from raresearch.store.records import parse_config
from raresearch.store.store import Store
from raresearch.types import EpochTable


def open_study(folder: Path | str) -> OpenStudy:
    """The study in ``folder``; `StoreError` where there is none."""
    return OpenStudy(Store.open(folder))


class OpenStudy:
    """Tables, selections and figures of merit of what has landed. Reads the store only; trains nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.about = store.about()

    @property
    def folder(self) -> Path:
        return self.store.root

    @cached_property
    def spec(self) -> StudySpec:
        """The study as it was run."""
        return StudySpec.from_json(self.about["spec"])

    def cells(self) -> pa.Table:
        """One row a cell: config, fold, seed, state, stop and best epoch, error."""
        return self.store.cells()

    def epochs(self) -> pa.Table:
        """One row a (cell, epoch): losses and metrics on training and validation."""
        return self.store.epochs()

    def ledger(self) -> list[dict[str, Any]]:
        """Every look at the test labels."""
        return read_ledger(self.store.root)

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Config id → label."""
        labels = dict(self.about.get("labels", {}))
        for row in self.store.cells().to_pylist():
            if row["config"] not in labels:
                config = parse_config(row["values"])
                labels[row["config"]] = self.spec.space.label(self.spec.space.project(config)) or row["config"]
        return labels

    @cached_property
    def objective(self) -> FigureOfMerit:
        return build_fom(self.spec.objective, self.spec.base_dir)

    @cached_property
    def foms(self) -> Mapping[str, FigureOfMerit]:
        """The study's figures of merit by name, the objective first."""
        named = {self.spec.objective.name: self.objective}
        for component in self.spec.figures_of_merit:
            named.setdefault(component.name, build_fom(component, self.spec.base_dir))
        return named

    @cached_property
    def rule(self) -> SelectionRule:
        """The study's own selection rule."""
        return build_rule(self.spec.selection, self.spec.base_dir)

    def epoch_table(self) -> EpochTable:
        """The epochs as arrays: what rules read."""
        return epoch_table(self.store)

    def done(self) -> int:
        """Cells that are done."""
        return sum(state == "done" for state in self.cells()["state"].to_pylist())

    def failed(self) -> list[dict[str, Any]]:
        """Rows of the cells that failed and were not trained again since."""
        return [row for row in self.cells().to_pylist() if row["state"] == "failed"]

    def status(self) -> dict[str, Any]:
        """Cells by state, failures with their reasons, whether a driver is at work, and the ledger."""
        cells = self.cells()
        size = self.spec.space.size() if self.spec.searcher.name == "grid" else self.spec.searcher.options.get("configs")
        each = self.spec.repeats * self.spec.folds
        with only_driver(self.folder / "driver.lock") as free:
            driver = not free
        return {
            "study": self.spec.name,
            "scale": self.spec.scale,
            "total": None if size is None else int(str(size)) * each,
            "done": self.done(),
            "failed": len(self.failed()),
            "failures": [{**_pick(r, "fold", "seed", "error"), "label": self.labels[r["config"]]} for r in self.failed()],
            "driver": driver,
            "seconds": float(sum(cells["seconds"].to_pylist())),
            "ledger": self.ledger(),
        }

    def select(self, rule: str | SelectionRule | None = None, *, per: Per = "cell", **options: Any) -> Choice:
        """Choose members on validation: by the study's own rule, by the name and options of another, or by a rule object.

        ``per="cell"`` makes one ensemble of each cell (repeats are averaged afterwards), ``"config"`` one of all cells of a config.
        Raises `SelectionError` where nothing has landed or the rule does not fit.
        """
        if rule is None:
            made = self.rule
        elif isinstance(rule, str):
            made = build_rule(Component(rule, options), self.spec.base_dir)
        else:
            made = rule
        table = self.epoch_table()
        if not len(table):
            raise SelectionError(str(self.folder), "no cell is done yet", "run the study first")
        ensembles = tuple(select(table, made, per))
        return Choice(self.store, made, per, ensembles, self.labels, self.objective, self.foms)


def _pick(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {n: row[n] for n in names}
