"""The objective and the chosen epoch by config (PandaX-II, JINST 18 T06002, Fig. 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from raresearch.report.figures.style import FAINT, SIGNAL, Drawing, canvas, config_axis, error_bars, label_height, legend_above
from raresearch.report.labels import pretty, sentence
from raresearch.report.results import Results
from raresearch.report.table import StudyRow, StudyTable, tabulate
from raresearch.report.tabular import averaged_how

MOST = 40  # configs side by side that can still be read


def draw(results: Results) -> Drawing | None:
    """Two panels that share the configs; None where nothing is done."""
    ranked = results.ranked()
    if not ranked:
        return None
    table = tabulate(results)
    kept = results.side_by_side(MOST) if len(ranked) > MOST or results.shortened else list(results.labels)
    rows = sorted((r for r in table.rows if r.config in kept), key=lambda r: kept.index(r.config))
    labels = [results.short[r.config] for r in rows]
    figure = canvas(max(9.0, min(14.0, 3 + 0.5 * len(rows))), 6.4 + label_height(labels), results.stamp)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
    x = np.arange(len(rows))
    _points(upper, x, [r.objective.mean for r in rows], [r.objective.std for r in rows], _what(table))
    _points(lower, x, [r.epoch.mean for r in rows], [r.epoch.std for r in rows], "")
    _standard_errors(upper, x, rows)
    _paper(upper, x, rows, "value", "spread")
    _paper(lower, x, rows, "best_epoch", "")
    legend_above(upper, *upper.get_legend_handles_labels())
    upper.set_ylabel(f"{pretty(results.objective.name)}\n(validation)")
    lower.set_ylabel("best epoch" if table.single else "mean of\nchosen epochs")
    lower.set_ylim(bottom=0)
    lower.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    lower.set_xlabel("config")
    config_axis(lower, labels)
    for axes in (upper, lower):
        axes.grid(axis="y")
    figure.align_ylabels()
    title = sentence(f"{pretty(results.objective.name)} by config")
    return Drawing("objective", title, _caption(results, table, rows), _alt(results), figure, [_numbers(r) for r in rows])


def _numbers(row: StudyRow) -> dict[str, object]:
    own = {"mean": row.objective.mean, "std": row.objective.std, "standard_error": row.objective.error}
    epochs = {"epoch_mean": row.epoch.mean, "epoch_std": row.epoch.std}
    paper = {f"paper_{n}": getattr(row.paper, n, None) for n in ("value", "spread", "best_epoch")}
    return {"config": row.label, **own, **epochs, **paper}


def _what(table: StudyTable) -> str:
    return "mean ± std over repeats" if table.repeated else "the one repeat"


def _points(axes: Any, x: Any, mean: list[float], std: list[float | None], label: str) -> None:
    axes.errorbar(x, mean, error_bars(std), fmt="o", color=SIGNAL, ms=6.5, elinewidth=1.6, capsize=3.5, label=label)


def _standard_errors(axes: Any, x: Any, rows: list[StudyRow]) -> None:
    errors = error_bars([r.objective.error for r in rows])
    if np.isfinite(errors).any():
        axes.errorbar(
            x,
            [r.objective.mean for r in rows],
            errors,
            fmt="none",
            ecolor=SIGNAL,
            elinewidth=7,
            alpha=0.35,
            label="std. error of the mean",
        )


def _paper(axes: Any, x: Any, rows: list[StudyRow], value: str, spread: str) -> None:
    found = [
        (i, getattr(r.paper, value), getattr(r.paper, spread) if spread else None)
        for i, r in zip(x, rows, strict=True)
        if r.paper
    ]
    found = [f for f in found if f[1] is not None]
    if found:
        where, values, bars = zip(*found, strict=True)
        style = {"fmt": "D", "mfc": "white", "mec": FAINT, "ecolor": FAINT, "ms": 6, "elinewidth": 1.2, "capsize": 2.5}
        axes.errorbar(np.asarray(where) + 0.22, values, error_bars(bars), label="paper", **style)


def _caption(results: Results, table: StudyTable, rows: list[StudyRow]) -> str:
    cut = f" The {len(rows)} best of {len(results.ranked())} configs are shown." if len(rows) < len(results.labels) else ""
    paper = " Open markers: the values that the paper printed, for its own events." if any(r.paper for r in rows) else ""
    return (
        f"Above: {pretty(results.objective.name)} on validation, {averaged_how(table)}. "
        f"Below: the epochs that the rule chose.{paper}{cut} Thresholds and epochs were chosen on the same validation events, "
        "so the values are optimistic, and the best of many means is more so."
    )


def _alt(results: Results) -> str:
    best = tabulate(results).best
    return (
        f"Objective and best epoch by config; the best mean is {best.objective.mean:.4g} of config {best.label}."
        if best
        else ""
    )
