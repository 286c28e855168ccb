"""The whole report, written into ``<store>/report/``: every file is replaced whole, none is ever half there."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from raresearch.ensembles.base import SelectionRule
from raresearch.errors import StoreError
from raresearch.metrics.base import FigureOfMerit
from raresearch.report.bibliography import bibtex
from raresearch.report.card import make_card
from raresearch.report.cost import TITLE, cost_sheet
from raresearch.report.encoders import Encoders, Encoding
from raresearch.report.figures import front
from raresearch.report.figures.style import Drawing, style
from raresearch.report.findings import find
from raresearch.report.kept import ReportPaths, report_paths
from raresearch.report.page import Picture, html, markdown
from raresearch.report.readouts import read_outs
from raresearch.report.results import CellResult, Results, gather
from raresearch.report.sections import SECTIONS
from raresearch.report.table import UnsealedTable, tabulate
from raresearch.report.tabular import csv_text
from raresearch.report.tensorboard import write_pictures, write_tensorboard
from raresearch.statistics.comparison import Comparison
from raresearch.store.files import make_folder, refusals, write_atomic
from raresearch.store.store import Store

FILES: Mapping[str, str] = {
    "index.html": "this report as one page",
    "table.csv": "the table, full precision",
    "cells.csv": "every cell: chosen epochs, objective with its interval and threshold, other figures",
    "comparison.csv": "the best config against every other one",
    "references.bib": "the sources of what the study used, as BibTeX",
    "figures/": "every figure as PNG and SVG, and its numbers as CSV",
    "tensorboard/": "`tensorboard --logdir tensorboard`",
}


def build_report(
    store: Store,
    *,
    objective: FigureOfMerit,
    others: Sequence[FigureOfMerit],
    rule: SelectionRule,
    labels: Mapping[str, str],
    unsealed: UnsealedTable | None = None,
) -> ReportPaths:
    """Write the report of ``store``. The same store gives the same bytes.

    Raises as `results.gather` does, and `StoreError` where the folder cannot be written or the ledger was altered.
    """
    root = store.root / "report"
    if root.exists() and not root.is_dir():
        raise StoreError(str(root), "a file stands where the report's folder belongs", "move it away")
    with Encoders() as encoders:  # before the store is read: they get ready meanwhile
        results = gather(store, objective=objective, others=others, rule=rule, labels=labels)
        drawn, absent = draw(results, encoders)
        table, card = tabulate(results, unsealed), make_card(results)
        findings, own = find(results), read_outs(store.root)
        if pareto := front.sheet(results):
            own = [pareto, *own]
        if spent := cost_sheet(results):
            own = [*own, (TITLE, spent)]
        make_folder(root)
        _put(root / "table.csv", table.to_csv())
        _put(root / "cells.csv", csv_text([_cell_row(results, c) for c in results.cells]))
        _put(root / "comparison.csv", csv_text([_comparison_row(c) for c in findings.comparisons]))
        _put(root / "references.bib", bibtex(card.references))
        with _swapped(root / "tensorboard", store.root / ".tmp") as folder:
            write_tensorboard(results, folder)  # the longest of what needs no picture
            pictures = finished(drawn, encoders)
            write_pictures(results, folder, {f"{p.section}/{p.drawing.name}": p.png for p in pictures})
    figures = {p.drawing.name: _put_picture(root / "figures", p) for p in pictures}
    _remove_stale(root / "figures", {path for files in figures.values() for path in files})
    _put(root / "report.md", markdown(table, card, findings, [p.drawing for p in pictures], FILES, own))
    _put(root / "index.html", html(table, card, findings, pictures, absent, own))
    return report_paths(root, list(figures))


@dataclass(frozen=True)
class Drawn:
    """A drawing of ``section`` that is being encoded."""

    drawing: Drawing
    section: str
    encoding: Encoding


def draw(results: Results, encoders: Encoders) -> tuple[list[Drawn], list[tuple[str, str]]]:
    """All figures that the study has something for; and (section, line) for each that it has not."""
    drawn, absent = [], []
    with style():
        for section in SECTIONS:
            for make, reason in section.figures:
                drawing = make(results)
                if drawing is not None:
                    drawn.append(Drawn(drawing, section.name, encoders.begin(drawing.figure)))
                elif reason and results.best_cell is not None:
                    absent.append((section.name, reason))
    return drawn, absent


def finished(drawn: Sequence[Drawn], encoders: Encoders) -> list[Picture]:
    """The pictures, when they are encoded."""
    files = encoders.finish([d.encoding for d in drawn])
    return [Picture(d.drawing, d.section, png, svg) for d, (png, svg) in zip(drawn, files, strict=True)]


def _comparison_row(comparison: Comparison) -> dict[str, object]:
    return {**comparison.to_json(), "notes": "; ".join(comparison.notes)}


def _cell_row(results: Results, cell: CellResult) -> dict[str, object]:
    own = cell.estimates.get(results.objective.name)
    row: dict[str, object] = {n: getattr(cell, n) for n in ("label", "config", "fold", "seed", "state")}
    row["epochs"] = " ".join(str(e) for e in cell.epochs)
    for key in ("value", "low", "high", "threshold", "n_effective", "lower_limit"):
        row[f"{results.objective.name}_{key}"] = getattr(own, key, None)
    for name in results.others:
        row[name] = cell.estimates[name].value if name in cell.estimates else None
    return {**row, "seconds": cell.seconds, "error": cell.error, "cell": cell.key}


def _put_picture(folder: Path, picture: Picture) -> tuple[Path, Path, Path]:
    make_folder(folder)
    name = picture.drawing.name
    png, svg, numbers = (folder / f"{name}.{form}" for form in ("png", "svg", "csv"))
    write_atomic(png, lambda p: _write(p, picture.png))
    write_atomic(svg, lambda p: _write(p, picture.svg))
    _put(numbers, csv_text([dict(row) for row in picture.drawing.rows]))
    return png, svg, numbers


def _put(path: Path, text: str) -> None:
    write_atomic(path, lambda p: _write(p, text.encode()))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _remove_stale(folder: Path, ours: set[Path]) -> None:
    """Figures of an earlier report that this one does not have: nobody must take them for its own."""
    for path in folder.glob("*") if folder.is_dir() else ():
        if path not in ours and path.suffix in (".png", ".svg", ".csv"):
            path.unlink()


@contextmanager
def _swapped(final: Path, scratch_root: Path) -> Iterator[Path]:
    """A new folder to be filled, which then takes the place of ``final``: readers see the old one or the new one."""
    scratch = scratch_root / f"{final.name}.{uuid.uuid4().hex[:8]}"
    old = scratch.with_name(scratch.name + ".old")
    try:
        with refusals(final):
            scratch.mkdir(parents=True)
            yield scratch
            if final.exists():
                os.rename(final, old)
            os.rename(scratch, final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
