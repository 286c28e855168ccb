"""What several commands print."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console

from raresearch.api.opened import OpenStudy
from raresearch.report.table import StudyTable


def console() -> Console:
    """Standard output; wide enough for tables where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 160)


def print_table(opened: OpenStudy) -> None:
    """The study's table, one row a config."""
    if opened.done():
        console().print(opened.table().to_rich())


def table_json(table: StudyTable) -> dict[str, Any]:
    """A study's table as JSON; what is not a number is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return plain(asdict(table))  # type: ignore[no-any-return]


def print_failures(opened: OpenStudy, quiet: bool = False) -> int:
    """Name the failed cells on standard error; their number."""
    failed = opened.failed()
    if not quiet:
        err = Console(stderr=True)
        for row in failed[:10]:
            name = opened.labels.get(row["config"], row["config"])
            err.print(f"failed: {name}, fold {row['fold']}, seed {row['seed']}: {row['error']}", markup=False, highlight=False)
        if len(failed) > 10:
            err.print(f"failed: … and {len(failed) - 10} more (raresearch status {opened.folder})", markup=False)
    return len(failed)


def print_report(opened: OpenStudy, quiet: bool = False, anew: bool = False) -> None:
    """Write the report and say where it is."""
    if not opened.done():
        return
    paths = opened.report(anew)
    if not quiet:
        console().print(f"report: {paths.html}", highlight=False, soft_wrap=True)
