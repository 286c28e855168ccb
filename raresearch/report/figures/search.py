"""How a search went: its convergence, and its configs in parallel coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection

from raresearch.report.axes import StudyAxis, is_grid, study_axes
from raresearch.report.figures.style import BACKGROUND, FAINT, INK, SIGNAL, Drawing, canvas, robust_ends
from raresearch.report.labels import pretty
from raresearch.report.numbers import Spread
from raresearch.report.results import Results
from raresearch.types import Array

FEWEST, MOST_AXES, BEST, FAINTEST = 3, 12, 20, 300
GAPS = 0.04  # what conditional axes leave below for configs that lack them


def landed_order(results: Results) -> list[str]:
    """Configs with done repeats in the order in which their last cell landed, by the files' times; ties by id."""
    when: dict[str, float] = {}
    for cell in results.cells:
        landing = results.reader.cells[cell.key]["landing"]
        time = (results.store.root / "cells" / landing / "cells.parquet").stat().st_mtime
        when[cell.config] = max(when.get(cell.config, 0.0), time)
    return sorted(results.ranked(), key=lambda c: (when[c], c))


def convergence(results: Results) -> Drawing | None:
    """Best so far against the number of configs; None for grids and searches of fewer than three configs."""
    order = landed_order(results) if not is_grid(results) else []
    if len(order) < FEWEST:
        return None
    name = results.objective.name
    spreads = [Spread.of(k.estimates[name].value for r in results.done(c) for k in r.cells) for c in order]
    mean = np.asarray([np.mean([r.value(name) for r in results.done(c)]) for c in order])
    std = np.asarray([np.nan if s.std is None else s.std for s in spreads])
    up = results.objective.goal == "max"
    counted = np.where([c in results.stopped for c in order], -np.inf if up else np.inf, mean)
    best = np.maximum.accumulate(counted) if up else np.minimum.accumulate(counted)
    number = np.arange(1, len(order) + 1)
    figure = canvas(9.5, 5.2, results.stamp)
    axes = figure.add_subplot()
    style: dict[str, Any] = {"fmt": "o", "ms": 4.5, "elinewidth": 1, "alpha": 0.75}
    axes.errorbar(number, mean, std, color=SIGNAL, label="config, ± std of its trainings", **style)
    axes.step(number, best, where="post", color=BACKGROUND, lw=2.2, label="best so far")
    _limits(axes, mean, std)
    axes.set(xlabel="config", ylabel=f"{pretty(name)} (validation)")
    axes.grid(axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    what = "folds and repeats" if results.folds > 1 else "repeats"
    caption = (
        f"Convergence of the search: {pretty(name)} of each config in the order in which they landed in the store (by the files' "
        f"times), mean and sample standard deviation over {what}, and the best mean so far. The best of many noisy values is "
        "optimistic."
    )
    alt = f"Best {pretty(name)} so far over {len(order)} configs; it ends at {best[-1]:.4g}."
    rows = [
        {"number": int(n), "config": results.labels[c], "mean": float(m), "std": float(s), "best_so_far": float(b)}
        for n, c, m, s, b in zip(number, order, mean, std, best, strict=True)
    ]
    return Drawing("convergence", "Convergence of the search", caption, alt, figure, rows)


def _limits(axes: Any, mean: Array, std: Array) -> None:
    """An axis that a few bad configs do not flatten; it says how many are beyond."""
    ends = robust_ends(mean, std)
    if ends is not None:
        axes.set_ylim(*ends)
        text = f"{int(((mean < ends[0]) | (mean > ends[1])).sum())} configs lie beyond the axis"
        axes.annotate(text, (0.99, 0.02), xycoords="axes fraction", ha="right", fontsize=10.5, color=FAINT)


def parallel(results: Results) -> Drawing | None:
    """Configs as lines across their axes; None for grids, fewer than three configs or a single axis."""
    axes_of_study = study_axes(results)[:MOST_AXES]
    ranked = results.ranked()
    if is_grid(results) or len(ranked) < FEWEST or len(axes_of_study) < 2:
        return None
    name = results.objective.name
    means = np.asarray([np.mean([r.value(name) for r in results.done(c)]) for c in ranked])
    shown = ranked[:FAINTEST]
    lines = np.column_stack(
        [_heights(a, a.places([results.configs[c] for c in shown])) for a in axes_of_study]
        + [_scaled(means[: len(shown)], _bad(means))]
    )
    figure = canvas(max(9.0, 1.7 * (len(axes_of_study) + 1)), 5.6, results.stamp)
    axes = figure.add_subplot()
    best = min(BEST, max(3, len(shown) // 4))
    x = np.arange(lines.shape[1])
    axes.add_collection(LineCollection(_segments(x, lines[best:]), colors=FAINT, lw=0.7, alpha=0.3))
    for number in reversed(range(best)):
        own = lines[number]
        axes.plot(
            x, own, color=BACKGROUND if number == 0 else SIGNAL, lw=2.6 if number == 0 else 1.3, alpha=1 if number == 0 else 0.6
        )
    _rulers(axes, axes_of_study, means, results)
    axes.plot([], [], color=BACKGROUND, lw=2.6, label="best config")
    axes.plot([], [], color=SIGNAL, lw=1.3, label=f"the {best} best")
    axes.plot([], [], color=FAINT, lw=0.7, label="others")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    caption = (
        f"Every config as a line across the axes of the search, and its mean {pretty(name)} on validation at the right. Logarithmic "
        "axes are those that were searched so; a config without an axis (a condition it does not meet) runs below it."
        + (f" The {len(shown)} best of {len(ranked)} configs are shown." if len(shown) < len(ranked) else "")
    )
    rows = [
        {"config": results.labels[c]} | {a.name: results.configs[c].get(a.name) for a in axes_of_study} | {name: float(m)}
        for c, m in zip(ranked, means, strict=True)
    ]
    alt = f"Parallel coordinates of {len(shown)} configs over {', '.join(a.short for a in axes_of_study)}."
    return Drawing("parallel", "Parallel coordinates", caption, alt, figure, rows)


def _heights(axis: StudyAxis, places: Array) -> Array:
    """(C,) heights in 0 … 1; below 0 where a config lacks the axis."""
    low, high = _ends(axis)
    scaled = (_warp(axis, places) - low) / ((high - low) or 1.0)
    return np.where(np.isnan(scaled), -2 * GAPS, scaled)


def _warp(axis: StudyAxis, places: Array) -> Array:
    return np.asarray(np.log(places) if axis.log else places)


def _ends(axis: StudyAxis) -> tuple[float, float]:
    if not axis.numeric:
        return 0.0, len(axis.levels) - 1.0
    ends = _warp(axis, np.asarray([axis.levels[0], axis.levels[-1]], dtype=np.float64))
    return float(ends[0]), float(ends[1])


def _bad(means: Array) -> float:
    """The foot of the objective's ruler: the worst, but no farther from the best than six times the middle one is."""
    best, middle = float(means[0]), float(np.median(means))
    worst, reach = float(means[-1]), best + 6 * (middle - best)
    return worst if abs(worst - best) <= abs(reach - best) or middle == best else reach


def _scaled(means: Array, bad: float) -> Array:
    """(C,) heights of the objective: the best at 1, ``bad`` and worse at 0."""
    good = float(means[0])
    return np.clip((means - bad) / ((good - bad) or 1.0), 0.0, 1.0)


def _segments(x: Array, lines: Array) -> list[Array]:
    return [np.column_stack([x, line]) for line in lines]


def _rulers(axes: Any, study: list[StudyAxis], means: Array, results: Results) -> None:
    """Vertical rulers with the axes' ends, or all levels where they are few."""
    bad = _bad(means)
    for x, axis in enumerate(study):
        axes.axvline(x, color=INK, lw=1)
        few = len(axis.levels) <= 6 or not axis.numeric
        marks = (
            list(zip(axis.levels, axis.texts, strict=True))
            if few
            else [(v, f"{v:.3g}") for v in (axis.levels[0], axis.levels[-1])]
        )
        heights = _heights(axis, axis.places([{axis.name: v} for v, _ in marks]))
        for height, (_, text) in zip(heights, marks, strict=True):
            axes.annotate(text, (x, height), (4, 0), textcoords="offset points", va="center", fontsize=10, bbox=_paper())
    axes.axvline(len(study), color=INK, lw=1)
    for height, value in ((0.0, bad), (1.0, float(means[0]))):
        beyond = "≤ " if results.objective.goal == "max" else "≥ "
        sign = beyond if height == 0 and bad != means[-1] else ""
        axes.annotate(
            f"{sign}{value:.4g}",
            (len(study), height),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            bbox=_paper(),
        )
    names = [*(a.short for a in study), pretty(results.objective.name)]
    axes.set_xticks(range(len(names)), [n.replace(" ", "\n") for n in names], fontsize=11.5)
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.set(xlim=(-0.15, len(study) + 0.45), ylim=(-3 * GAPS, 1 + GAPS))
    for side in axes.spines.values():
        side.set_visible(False)


def _paper() -> dict[str, Any]:
    return {"facecolor": "#ffffff", "edgecolor": "none", "alpha": 0.75, "pad": 1.0}
