"""A study's table as columns of text: for the terminal, Markdown, the page; and as numbers for CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import JustifyMethod
from rich.table import Table

from raresearch.report.labels import pretty
from raresearch.report.numbers import NONE, Spread, decimals, fixed, plus_minus
from raresearch.report.table import StudyRow, StudyTable

WIDEST = 48  # characters of a config's label in one line of the terminal
HARD = "\u00a0"  # a space at which a header does not break


@dataclass(frozen=True)
class Column:
    """One printed column. ``group`` stands above neighbours that share it; ``meaning`` explains it in one sentence."""

    header: str
    cells: tuple[str, ...]
    meaning: str = ""
    group: str = ""

    @property
    def title(self) -> str:
        """Group and header in one line."""
        return f"{self.group} {self.header}".strip()


def columns(table: StudyTable) -> list[Column]:
    """What is printed, from left to right; columns that no row fills are left out."""
    return [Column("config", tuple(r.label for r in table.rows)), *_own(table), *_paper(table), *_test(table), *_others(table)]


def _own(table: StudyTable) -> Iterator[Column]:
    rows, name = table.rows, pretty(table.objective)
    places = _places([r.objective for r in rows])
    texts = _texts([r.objective for r in rows], places)
    cells = tuple(_limit(r) + text for r, text in zip(rows, texts, strict=True))
    what = table.described.get(table.objective, table.objective)
    yield Column(name, cells, f"{what}: {averaged_how(table)}")
    if table.repeated:
        yield Column("std. error", tuple(fixed(r.objective.error, places + 1) for r in rows), "standard error of the mean")
    meaning = "mean half-width of one training's interval, which comes from the finite number of events"
    yield Column(f"±{HARD}events", tuple(fixed(r.interval, places) for r in rows), meaning)
    if any(r.relative is not None for r in rows):
        cells = tuple(fixed(r.relative, 3) for r in rows)
        yield Column("S/√n", cells, "mean over its value for perfect separation of the n expected signal events")
    header = "best epoch" if table.single else "chosen epochs"
    cells = _texts([r.epoch for r in rows], 1)
    yield Column(header, cells, "mean ± standard deviation of the epochs that the rule chose")
    yield Column(f"done{HARD}/ failed", tuple(f"{r.done} / {r.failed}" for r in rows), "repeats; a failed one is in no mean")
    if any(r.left is not None for r in rows):
        cells = tuple(NONE if r.left is None else str(r.left) for r in rows)
        yield Column("left after", cells, "cells after which the config left the race: its means are over these alone")
    if any(r.stopped is not None for r in rows):
        cells = tuple(NONE if r.stopped is None else str(r.stopped) for r in rows)
        yield Column(
            "stopped after", cells, "epochs after which early stopping ended its trainings: its numbers are of these alone"
        )
    if any(r.open for r in rows):
        yield Column("open", tuple(str(r.open) for r in rows), "repeats that are not in yet")


def _others(table: StudyTable) -> Iterator[Column]:
    for name in table.others:
        spreads = [r.others[name] for r in table.rows]
        if any(s.n for s in spreads):
            cells = _texts(spreads, _places(spreads))
            meaning = f"{table.described.get(name, name)}: {averaged_how(table)}"
            yield Column(pretty(name), cells, meaning)


def _paper(table: StudyTable) -> Iterator[Column]:
    papers = [r.paper for r in table.rows]
    values = [p for p in papers if p is not None]
    if any(p.value is not None for p in values):
        places = decimals([p.spread for p in values], [p.value for p in values if p.value is not None])
        cells = _pairs([(p.value, p.spread) if p else (None, None) for p in papers], places)
        yield Column(pretty(table.objective), cells, "as the paper printed it, for its own events", "paper")
    if any(p.best_epoch is not None for p in values):
        cells = tuple(fixed(p.best_epoch, 1) if p else NONE for p in papers)
        yield Column("stop epoch", cells, "as the paper printed it", "paper")


def _test(table: StudyTable) -> Iterator[Column]:
    tests = [r.test for r in table.rows]
    values = [t for t in tests if t is not None]
    if values:
        places = decimals([t.std for t in values] + [t.high - t.low for t in values], [t.mean for t in values])
        cells = _pairs([(t.mean, t.std) if t else (None, None) for t in tests], places)
        yield Column(pretty(table.objective), cells, "on test, with thresholds frozen on validation", "test")
        cells = tuple(f"[{fixed(t.low, places)}, {fixed(t.high, places)}]" if t else NONE for t in tests)
        yield Column("interval", cells, "of the value on test, from the finite number of events", "test")


def averaged_how(table: StudyTable) -> str:
    """What the values of a table are made of."""
    return "mean ± sample standard deviation over the done repeats" if table.repeated else "of the one repeat"


def _texts(spreads: list[Spread], places: int) -> tuple[str, ...]:
    """Mean ± spread; the mean alone where no row of the column has a second repeat."""
    return _pairs([(s.mean, s.std) for s in spreads], places)


def _pairs(pairs: list[tuple[float | None, float | None]], places: int) -> tuple[str, ...]:
    if all(spread is None for _, spread in pairs):
        return tuple(fixed(value, places) for value, _ in pairs)
    return tuple(plus_minus(value, spread, places) for value, spread in pairs)


def _places(spreads: list[Spread]) -> int:
    return decimals([s.std for s in spreads], [s.mean for s in spreads])


def _limit(row: StudyRow) -> str:
    return "≥ " if row.limits else ""


def to_rich(table: StudyTable) -> Table:
    """For the terminal; the best mean is bold."""
    printed = columns(table)
    rich = Table(
        title=f"{pretty(table.objective)} on validation{', mean ± std over repeats' if table.repeated else ''}",
        title_justify="left",
    )
    spare = {pretty(name) for name in table.others}  # what folds first where the terminal is narrow
    for column in printed:
        side: JustifyMethod = "left" if column.header == "config" else "right"
        # The label of a searched config names ten values: it folds, and leaves the width to the numbers.
        long = column.header == "config" and max(map(len, column.cells), default=0) > WIDEST
        rich.add_column(
            column.title.replace(" ", "\n"),
            justify=side,
            no_wrap=column.header not in spare and not long,
            max_width=WIDEST if long else None,
        )
    for number, row in enumerate(table.rows):
        rich.add_row(*(c.cells[number] for c in printed), style="bold" if row is table.best else "")
    return rich


def to_markdown(table: StudyTable) -> str:
    """Pipes in labels are escaped."""
    printed = columns(table)
    lines = [
        [c.title for c in printed],
        ["---" if c.header == "config" else "---:" for c in printed],
        *([c.cells[n].replace("|", "\\|") for c in printed] for n in range(len(table.rows))),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_csv(table: StudyTable) -> str:
    """Full precision; empty where there is no number."""
    return csv_text([dict(_numbers(table, row)) for row in table.rows])


def csv_text(rows: list[dict[str, object]]) -> str:
    """Comma-separated rows under the keys of the first; NaN and None are empty."""
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None or v != v else v for k, v in row.items()} for row in rows)
    return out.getvalue()


def _numbers(table: StudyTable, row: StudyRow) -> Iterator[tuple[str, object]]:
    yield from (("label", row.label), ("config", row.config))
    yield from _spread(table.objective, row.objective)
    yield from (("standard_error", row.objective.error), ("interval_half_width", row.interval), ("s_over_sqrt_n", row.relative))
    yield from (("lower_limits", row.limits), *_spread("epoch", row.epoch))
    yield from (("done", row.done), ("failed", row.failed), ("open", row.open))
    if any(r.left is not None for r in table.rows):
        yield "left_after", row.left
    if any(r.stopped is not None for r in table.rows):
        yield "stopped_after", row.stopped
    for name in table.others:
        yield from _spread(name, row.others[name])
    if any(r.paper for r in table.rows):
        for key in ("value", "spread", "best_epoch"):
            yield f"paper_{key}", getattr(row.paper, key, None)
    if table.unsealed:
        for key in ("mean", "std", "low", "high"):
            yield f"test_{key}", getattr(row.test, key, None)


def _spread(name: str, spread: Spread) -> Iterator[tuple[str, object]]:
    yield from ((f"{name}_mean", spread.mean), (f"{name}_std", spread.std))
