"""A report that stands already: not made again while nothing that it is made of, and none of its own files, has changed."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from raresearch.ensembles.base import SelectionRule
from raresearch.errors import StoreError
from raresearch.metrics.base import FigureOfMerit
from raresearch.report.estimates import FILE as ESTIMATES
from raresearch.report.inputs import figures_asked, hashed, landing_marks, marks, named, own_code
from raresearch.report.readouts import FILE as READ_OUTS
from raresearch.report.table import UnsealedTable
from raresearch.store.files import make_folder, refusals, write_atomic
from raresearch.store.ledger import FILE as LEDGER
from raresearch.store.store import Store

FILE = "report.json"  # in the store's index, which may be deleted at any time
LOCK = "report.lock"


@dataclass(frozen=True)
class ReportPaths:
    """Where everything is. ``figures``: name → (PNG, SVG, CSV)."""

    root: Path
    html: Path
    markdown: Path
    table: Path
    cells: Path
    figures: Mapping[str, tuple[Path, Path, Path]]
    tensorboard: Path


def report_inputs(
    store: Store,
    objective: FigureOfMerit,
    others: Sequence[FigureOfMerit],
    rule: SelectionRule,
    labels: Mapping[str, str],
    unsealed: UnsealedTable | None,
) -> str:
    """The hash of everything that a report of ``store`` says."""
    root = store.root
    small = [root / "study.json", root / LEDGER, root / READ_OUTS, *sorted((root / "race").glob("*.json"))]
    landings = [f"{name} {mark}" for name, mark in landing_marks(store).items()]
    texts = [figures_asked(objective, others), named(rule), repr(list(labels.items())), repr(unsealed and asdict(unsealed))]
    return hashed([*texts, *landings, *marks(root / "events")], [*small, *own_code([rule])])


def report_paths(root: Path, figures: list[str]) -> ReportPaths:
    """The files of the report in folder ``root`` with these figures."""
    drawn = {name: _figure(root / "figures", name) for name in figures}
    return ReportPaths(
        root, root / "index.html", root / "report.md", root / "table.csv", root / "cells.csv", drawn, root / "tensorboard"
    )


def _figure(folder: Path, name: str) -> tuple[Path, Path, Path]:
    return folder / f"{name}.png", folder / f"{name}.svg", folder / f"{name}.csv"


def kept(store: Path, inputs: str) -> ReportPaths | None:
    """The report beside ``store`` where it is of ``inputs`` and each of its files has the bytes that were written; else None."""
    try:
        content = json.loads((store / "index" / FILE).read_text(encoding="utf-8"))
        if content["inputs"] != inputs or _sums(store / "report") != content["files"]:
            return None
        return report_paths(store / "report", [str(name) for name in content["figures"]])
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def one_at_a_time(store: Path) -> Iterator[None]:
    """Wait until nobody else writes the report beside ``store``: the files of two would be mixed, and kept as one of them.

    Raises `StoreError` where ``store`` cannot be written.
    """
    path = make_folder(store / "index") / LOCK
    with refusals(path), path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep(store: Path, inputs: str, made: ReportPaths) -> None:
    """Remember that the report beside ``store`` is of ``inputs``; not at all where that cannot be written."""
    with suppress(OSError, StoreError):
        make_folder(store / "index")
        text = json.dumps({"inputs": inputs, "figures": list(made.figures), "files": _sums(made.root)})
        write_atomic(store / "index" / FILE, lambda path: _write(path, text))


def forget(store: Path) -> None:
    """Whatever was kept of reports of ``store``, and of the evaluations for them."""
    for name in (FILE, ESTIMATES):
        with refusals(store / "index" / name):
            (store / "index" / name).unlink(missing_ok=True)


def _sums(root: Path) -> dict[str, str]:
    """SHA-256 of every file below ``root`` by its path: one that was added, removed or altered makes a difference."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
