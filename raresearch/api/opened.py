"""A study's folder, opened for questions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from raresearch import plugins
from raresearch.api import frames
from raresearch.api.choice import Choice, Unsealed
from raresearch.api.parts import build_fom, build_rule, configs_planned
from raresearch.api.readouts import findings, keep_read_outs
from raresearch.api.tables import choice_table
from raresearch.ensembles.base import SelectionRule
from raresearch.ensembles.evaluation import Per, ScoreReader, cell_values, config_score, select
from raresearch.ensembles.table import epoch_table
from raresearch.errors import SelectionError, nearest
from raresearch.metrics.averaging import averaged
from raresearch.metrics.base import FigureOfMerit
from raresearch.report.kept import ReportPaths, forget, keep, kept, one_at_a_time, report_inputs
from raresearch.report.table import StudyTable, UnsealedRow, UnsealedTable, summary
from raresearch.spec import Component, StudySpec
from raresearch.statistics.comparison import Comparison
from raresearch.store.columns import places
from raresearch.store.files import write_atomic
from raresearch.store.lease import only_driver
from raresearch.store.ledger import read_ledger
from raresearch.store.life import under_way, workers
from raresearch.store.records import parse_config
from raresearch.store.remote import local
from raresearch.store.store import Store
from raresearch.types import Config, EpochTable, Estimate

if TYPE_CHECKING:
    from raresearch.experiment import Findings

UNSEALED = "unsealed.json"


def open_study(folder: Path | str) -> OpenStudy:
    """The study in ``folder``; `StoreError` where there is none."""
    store = Store.open(local(folder))
    store.index()
    return OpenStudy(store)


class OpenStudy:
    """Tables, selections and figures of merit of what has landed. Reads the store only; trains nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.about = store.about()
        self._seen: tuple[tuple[str, ...], EpochTable, ScoreReader] | None = None

    def _repr_html_(self) -> str:
        from raresearch.report.notebook import facts_html, together

        failed = len(self.failed())
        looks = len(self.ledger())
        facts = {
            "folder": self.folder,
            "cells": f"{self.done()} done, {failed} failed",
            "objective": self.objective.name,
            "test labels": f"opened {looks} time(s)" if looks else "sealed",
        }
        parts = [facts_html(f"study {self.spec.name}", facts)]
        return together([*parts, self.table()._repr_html_()] if self.done() else parts)

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

    def to_pandas(self, what: Literal["cells", "epochs"] = "cells") -> Any:
        """`cells` or `epochs` as a pandas data frame."""
        return self._rows(what).to_pandas()

    def to_polars(self, what: Literal["cells", "epochs"] = "cells") -> Any:
        """`cells` or `epochs` as a polars data frame; `StoreError` where polars is not installed."""
        return frames.to_polars(self._rows(what))

    def to_optuna(self, path: Path | str) -> Path:
        """Write the configs as trials into an Optuna journal for `optuna-dashboard` (see `frames.write_journal`)."""
        return frames.write_journal(self, Path(path))

    def _rows(self, what: str) -> pa.Table:
        if what not in ("cells", "epochs"):
            raise SelectionError(f"table {what!r}", "there is no such table", "ask for cells or epochs")
        return self.cells() if what == "cells" else self.epochs()

    def ledger(self) -> list[dict[str, Any]]:
        """Every look at the test labels."""
        return read_ledger(self.store.root)

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Config id → label."""
        labels = dict(self.about["labels"])
        for row in self.store.cells().to_pylist():
            if row["config"] not in labels:
                config = parse_config(row["values"])
                labels[row["config"]] = self.spec.space.label(self.spec.space.project(config)) or row["config"]
        return labels

    @cached_property
    def objective(self) -> FigureOfMerit:
        return build_fom(self.spec.objective, self.spec.base_dir)

    @cached_property
    def others(self) -> tuple[FigureOfMerit, ...]:
        """The figures of merit that are reported besides the objective."""
        listed = [
            Component(c) if isinstance(c, str) else Component(*next(iter(c.items()))) for c in self.about["figures_of_merit"]
        ]
        return tuple(build_fom(c, self.spec.base_dir) for c in listed)

    @property
    def foms(self) -> Mapping[str, FigureOfMerit]:
        """The study's figures of merit by name; the objective wins where two share a name."""
        return {**{f.name: f for f in self.others}, self.objective.name: self.objective}

    @cached_property
    def rule(self) -> SelectionRule:
        """The study's own selection rule."""
        return build_rule(self.spec.selection, self.spec.base_dir)

    def epoch_table(self) -> EpochTable:
        """The epochs as arrays: what rules read."""
        return self._read()[0]

    def _read(self) -> tuple[EpochTable, ScoreReader]:
        """Epochs and scores of what has landed; read again only when something more has."""
        landed = tuple(path.name for path in self.store.landings())
        if self._seen is None or self._seen[0] != landed:
            reader = ScoreReader(self.store)
            self._seen = landed, epoch_table(self.store, reader), reader
        return self._seen[1:]

    def done(self) -> int:
        """Cells that are done."""
        return sum(state == "done" for state in self.cells()["state"].to_pylist())

    def failed(self) -> list[dict[str, Any]]:
        """Rows of the cells that failed and were not trained again since."""
        cells = self.cells()
        failed = [number for number, state in enumerate(cells["state"].to_pylist()) if state == "failed"]
        return cells.take(places(np.asarray(failed, dtype=np.int64))).to_pylist()  # type: ignore[no-any-return]

    def status(self) -> dict[str, Any]:
        """Cells by state, failures with their reasons, whether a driver is at work, and the ledger."""
        cells = self.cells()
        size, each = configs_planned(self.spec), self.spec.repeats * self.spec.folds
        left = self.store.verdicts()
        skipped = sum(each - int(verdict["rounds"]) for verdict in left.values() if "rounds" in verdict)
        paused = len(self.store.paused())
        failed, done = self.failed(), self.done() - paused
        seconds = float(sum(cells["seconds"].to_pylist()))
        begun, troubles = under_way(self.folder, cells["cell"].to_pylist())
        with only_driver(self.folder / "driver.lock") as free:
            driver = not free
        return {
            "study": self.spec.name,
            "scale": self.spec.scale,
            "total": None if size is None else size * each - skipped,
            "racing": {"left": len(left), "cells_saved": skipped} if self.spec.racing else None,
            "stopping": self._stopping() if self.spec.stopping else None,
            "paused": paused,
            "done": done,
            "failed": len(failed),
            **{state: list(begun.values()).count(state) for state in ("running", "preempted", "lost")},
            "at_work": workers(self.folder, begun),
            "retries": troubles.get("retries", 0),
            "troubles": troubles.get("recent", []),
            "failures": [{**_pick(r, "fold", "seed", "error"), "label": self.labels[r["config"]]} for r in failed],
            "driver": driver,
            "seconds": seconds,
            "packs": len(set(cells["pack"].to_pylist())),
            "cells_per_worker_hour": 3600 * done / seconds if seconds else None,
            "ledger": self.ledger(),
        }

    def _stopping(self) -> dict[str, int]:
        """What early stopping has done: ``epochs_saved`` of cells that were stopped, at most (patience may have ended them)."""
        stopped, spent, saved = self.store.stopped(), 0, 0
        for row in self.cells().to_pylist():
            spent += row["stop_epoch"]
            if row["config"] in stopped and row["state"] == "done":
                saved += int(str(parse_config(row["values"])["train.epochs"])) - row["stop_epoch"]
        return {"stopped": len(stopped), "epochs_trained": spent, "epochs_saved": saved}

    def ranked(self) -> list[str]:
        """Ids of the configs whose cells are done, best first by the study's own rule, objective and statistic.

        Configs that left a race early come after those that ran to its end: their means are over fewer cells. So do those that
        were stopped early, or have cells that wait at a rung.
        """
        values = cell_values(self.store, self.cells()["cell"].to_pylist(), self.rule, self.objective)
        found: dict[str, list[float]] = {}
        for row in self.cells().to_pylist():
            if row["cell"] in values:
                found.setdefault(row["config"], []).append(values[row["cell"]])
        goal, statistic = self.objective.goal, self.spec.statistic
        paused = self.store.paused()
        left = {*self.store.verdicts(), *(r["config"] for r in self.cells().to_pylist() if r["cell"] in paused)}
        return sorted(found, key=lambda c: (c in left, -config_score(found[c], statistic, goal), c))

    def best(self, count: int = 1) -> list[Config]:
        """Points of the ``count`` best configs. Raises `SelectionError` where fewer are done."""
        ranked = self.ranked()
        if len(ranked) < count:
            rule = f"only {len(ranked)} configs are done, {count} are asked for"
            raise SelectionError(str(self.folder), rule, "run the study to its end, or see what failed")
        values = {row["config"]: row["values"] for row in self.cells().to_pylist()}
        return [self.spec.space.project(parse_config(values[config])) for config in ranked[:count]]

    def stages(self) -> dict[str, OpenStudy]:
        """The later stages that have begun, by name, in their order."""
        inside = {p.parent.name: OpenStudy(Store.open(p.parent)) for p in self.folder.glob("*/study.json")}
        return dict(sorted(inside.items(), key=lambda item: str(item[1].about["created"])))

    def select(
        self, rule: str | SelectionRule | None = None, *, per: Per | None = None, combine: str | None = None,
        calibrate: str | None = None, configs: Sequence[str] | None = None, **options: Any,
    ) -> Choice:  # fmt: skip
        """Choose members on validation: by the study's own rule, by the name and options of another, or by a rule object.

        ``per`` says what one ensemble is made from: "cell" (repeats are averaged afterwards), "repeat" (all folds of a
        seed), "config", "study"; default: the rule's own, or "cell". ``combine``: scores, logits, ranks, median or weighted;
        ``calibrate``: isotonic, temperature or platt, fitted on validation. ``configs``: labels or ids, these alone.
        Raises `SelectionError` where nothing has landed or the rule does not fit.
        """
        made = self._rule(rule, combine, options)
        table, reader = self._read()
        if not len(table):
            raise SelectionError(str(self.folder), "no cell is done yet", "run the study first")
        if configs is not None:
            table = table.where(np.isin(table["config"], [self.config(name) for name in configs]))
        own: Per = "cell" if rule is None else getattr(made, "per", "cell")
        scope = per or own
        ensembles = tuple(select(table, made, scope, combine=combine, calibrate=calibrate, reader=reader))
        return Choice(self.store, made, scope, ensembles, self.labels, self.objective, self.foms, reader)

    def _rule(self, rule: str | SelectionRule | None, combine: str | None, options: dict[str, Any]) -> SelectionRule:
        if rule is None:
            return self.rule
        if not isinstance(rule, str):
            return rule
        if combine is not None and "combine" in getattr(
            plugins.resolve("rules", rule, self.spec.base_dir), "__annotations__", {}
        ):
            options = {**options, "combine": combine}  # a rule that builds ensembles must know how their scores combine
        if isinstance(options.get("fom"), str):
            options = {**options, "fom": self._figure(options["fom"])}
        return build_rule(Component(rule, options), self.spec.base_dir)

    def _figure(self, name: str) -> str | dict[str, Any]:
        """A figure of merit by the study's own options where the study has it."""
        own = [self.spec.objective, *self.spec.figures_of_merit]
        return next(({name: dict(c.options)} for c in own if c.name == name and c.options), name)

    def config(self, name: str) -> str:
        """The id of a config given by its label or id; `SelectionError` names the nearest."""
        by_label = {label: config for config, label in self.labels.items()}
        done = {str(c) for c in np.unique(self.epoch_table()["config"])}
        config = by_label.get(name, name)
        if config not in self.labels and config not in done:
            raise SelectionError(f"config {name!r}", "there is no such config in this study", nearest(name, by_label))
        if config not in done:
            raise SelectionError(
                f"config {name!r}", "none of its cells is done", "run the study to its end, or see what failed"
            )
        return config

    def compare(self, a: str | Choice, b: str | Choice, fom: str | None = None, **options: Any) -> Comparison:
        """Is ``a`` better than ``b``? Configs by label or id, or choices (see `raresearch.api.compare.compare_sides`)."""
        from raresearch.api.compare import compare_sides

        return compare_sides(self, a, b, fom, **options)

    def compare_all(
        self, a: str, others: Sequence[str] | None = None, fom: str | None = None, **options: Any
    ) -> list[Comparison]:
        """``a`` against each of ``others`` (default: every other config), corrected for their number."""
        from raresearch.api.compare import compare_all

        return compare_all(self, a, others, fom, **options)

    def table(self, choice: Choice | None = None) -> StudyTable:
        """One row a config, on validation; the columns headed ``test`` after `unseal` are of the study's own rule only."""
        own = choice is None or choice.hash == self.select().hash
        return self._table(choice, self._unsealed() if own else None)

    def _table(self, choice: Choice | None, unsealed: UnsealedTable | None) -> StudyTable:
        if choice is not None and choice.per != "cell":
            return choice_table(choice, unsealed)
        return summary(
            self.store,
            objective=self.objective,
            others=self.others,
            rule=self.rule if choice is None else choice.rule,
            labels=self.labels,
            unsealed=unsealed,
            ensembles=None if choice is None else choice.ensembles,
        )

    def report(self, anew: bool = False) -> ReportPaths:
        """Write ``report/`` into the study's folder; one that stands is left as it is where nothing of what it is made of, and none
        of its files, has changed since. ``anew``: whatever was kept is forgotten, evaluations of cells too."""
        if anew:
            forget(self.folder)
        parts: dict[str, Any] = {
            "objective": self.objective,
            "others": self.others,
            "rule": self.rule,
            "labels": self.labels,
            "unsealed": self._unsealed(),
        }
        inputs = report_inputs(self.store, **parts)
        made = kept(self.folder, inputs)
        if made is None:
            with one_at_a_time(self.folder):
                made = kept(self.folder, inputs) or self._report(parts, inputs)  # somebody may have made it meanwhile
        return made

    def _report(self, parts: Mapping[str, Any], inputs: str) -> ReportPaths:
        from raresearch.report.build import build_report  # here: it imports matplotlib

        made = build_report(self.store, **parts)
        keep(self.folder, inputs, made)
        return made

    def findings(self) -> Findings:
        """What an experiment's read-outs are given: configs, events and validation scores of the study's own choice."""
        return findings(self)

    def unseal(self, choice: Choice, reason: str) -> StudyTable:
        """Open the test labels for ``choice`` (see `Choice.unseal`); the table with its ``test`` columns."""
        opened = choice.unseal(reason)
        table = unsealed_table(opened)
        if choice.hash == self.select().hash:
            keep_read_outs(self, opened)
            write_atomic(self.folder / UNSEALED, lambda p: _write_json(p, asdict(table)))
            self.store.elsewhere.push(self.folder / UNSEALED)
        return self._table(choice, table)

    def _unsealed(self) -> UnsealedTable | None:
        path = self.folder / UNSEALED
        if not path.is_file():
            return None
        content = json.loads(path.read_text())
        return UnsealedTable(**{**content, "rows": tuple(UnsealedRow(**row) for row in content["rows"])})


def unsealed_table(opened: Unsealed) -> UnsealedTable:
    """The objective of every config on test, thresholds from validation: mean, spread and interval over its ensembles."""
    by_config: dict[str, list[Estimate]] = {}
    for valued in opened.estimates(opened.choice.objective):
        by_config.setdefault(valued.ensemble.config, []).append(valued.estimate)
    rows = []
    for config, estimates in by_config.items():
        mean = averaged(estimates)
        spread = float(np.std([e.value for e in estimates], ddof=1)) if len(estimates) > 1 else None
        rows.append(UnsealedRow(opened.choice.labels.get(config, config), mean.value, spread, mean.low, mean.high))
    return UnsealedTable(tuple(rows), opened.entry["time"], opened.entry["reason"], opened.entry["hash"])


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1))


def _pick(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {n: row[n] for n in names}
