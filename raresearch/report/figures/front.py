"""The Pareto front of a study with two objectives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from raresearch.errors import DataError
from raresearch.metrics.averaging import averaged
from raresearch.report.figures.style import BACKGROUND, FAINT, INK, SIGNAL, Drawing, canvas
from raresearch.report.findings import Sheet
from raresearch.report.labels import pretty
from raresearch.report.numbers import NONE
from raresearch.report.results import Results
from raresearch.statistics.front import non_dominated
from raresearch.types import Estimate

NAMED = 12  # points of the front that carry their names


@dataclass(frozen=True)
class Point:
    """One finished config with both objectives, each averaged over its trainings."""

    config: str
    first: Estimate
    second: Estimate
    front: bool


def points(results: Results) -> list[Point]:
    """Every finished config that has both objectives; empty where the study has one."""
    name = results.second
    if name is None:
        return []
    pairs = []
    for config in results.finished():
        cells = [c.estimates for r in results.done(config) for c in r.cells]
        if cells and all(name in c for c in cells):
            pairs.append((config, averaged([c[results.objective.name] for c in cells]), averaged([c[name] for c in cells])))
    signs = [1.0 if fom.goal == "max" else -1.0 for fom in (results.objective, results.others[name])]
    values = np.asarray([[signs[0] * a.value, signs[1] * b.value] for _, a, b in pairs]).reshape(-1, 2)
    return [Point(*pair, bool(kept)) for pair, kept in zip(pairs, non_dominated(values), strict=True)]


def on_front(results: Results) -> list[Point]:
    """The points of the front, best in the first objective first."""
    sign = -1.0 if results.objective.goal == "max" else 1.0
    return sorted((p for p in points(results) if p.front), key=lambda p: (sign * p.first.value, p.config))


def sheet(results: Results) -> tuple[str, Sheet] | None:
    """(title, table) of the front; None where the study has one objective or nothing is done."""
    front = on_front(results)
    if not front or results.second is None:
        return None
    header = ("config", pretty(results.objective.name), "interval", pretty(results.second), "interval")
    rows = tuple(
        (results.labels[p.config], _text(p.first.value), _interval(p.first), _text(p.second.value), _interval(p.second))
        for p in front
    )
    note = (
        f"On the front, {len(front)} of {len(points(results))} finished configs: no other beats them in both objectives at once, "
        "on validation. Means over their trainings, with intervals of one sigma. Which of neighbours within their intervals is "
        "on the front is chance, and the front of many noisy values is optimistic."
    )
    return "Pareto front", Sheet(header, rows, ("",) * len(header), note)


def draw(results: Results) -> Drawing | None:
    """The two objectives against each other with the front as a line; None where the study has one objective."""
    found, front = points(results), on_front(results)
    if not front or results.second is None:
        return None
    figure = canvas(8.6, 6.2, results.stamp)
    axes = figure.add_subplot()
    others = [p for p in found if not p.front]
    axes.plot(
        [p.first.value for p in others], [p.second.value for p in others], "o", color=FAINT, ms=5, alpha=0.6, label="config"
    )
    x, y = [p.first.value for p in front], [p.second.value for p in front]
    across, up = _bars([p.first for p in front]), _bars([p.second for p in front])
    style: dict[str, Any] = {"fmt": "o", "ms": 7, "elinewidth": 1.3, "capsize": 2.5, "label": "on the front, ± one sigma"}
    axes.errorbar(x, y, up, across, color=SIGNAL, **style)
    axes.step(x, y, where="post", color=BACKGROUND, lw=1.8, label="Pareto front")
    for point in front[:NAMED]:
        place = (point.first.value, point.second.value)
        axes.annotate(results.short[point.config], place, (5, 5), textcoords="offset points", fontsize=10, color=INK)
    axes.set(xlabel=f"{pretty(results.objective.name)} (validation)", ylabel=f"{pretty(results.second)} (validation)")
    axes.grid()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    goals = [f"{pretty(n)} ({'more' if g == 'max' else 'less'} is better)" for n, g in _goals(results)]
    caption = (
        f"{goals[0]} against {goals[1]} of every finished config, means over trainings. On the line, {len(front)} of "
        f"{len(found)}: no other beats them in both; neighbours within their errors may stand on either side of it by chance."
    )
    rows = [
        {"config": results.labels[p.config], "front": p.front}
        | {f"{n}_{k}": getattr(e, k) for n, e in (("first", p.first), ("second", p.second)) for k in ("value", "low", "high")}
        for p in found
    ]
    alt = f"Pareto front of {len(front)} of {len(found)} configs in {pretty(results.objective.name)} and {pretty(results.second)}."
    return Drawing("front", "Pareto front", caption, alt, figure, rows)


def _goals(results: Results) -> list[tuple[str, str]]:
    if results.second is None:
        raise DataError("Pareto front", "the study has one objective")
    return [(results.objective.name, results.objective.goal), (results.second, results.others[results.second].goal)]


def _bars(estimates: list[Estimate]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(2, C) lengths down and up; 0 where an interval is open."""
    ends = [[e.value - e.low, e.high - e.value] for e in estimates]
    return np.maximum(np.nan_to_num(np.asarray(ends, dtype=np.float64).T, nan=0.0, posinf=0.0, neginf=0.0), 0.0)


def _interval(estimate: Estimate) -> str:
    return f"[{_text(estimate.low)}, {_text(estimate.high)}]"


def _text(value: float) -> str:
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else NONE
