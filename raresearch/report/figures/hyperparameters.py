"""What each axis of a search does: its influence, and the objective against it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from raresearch.report.axes import StudyAxis, is_grid, study_axes
from raresearch.report.figures.style import BACKGROUND, FAINT, INK, SIGNAL, Drawing, canvas, log_axis, robust_ends
from raresearch.report.influence import FEWEST, Influence, influence
from raresearch.report.labels import pretty, sentence
from raresearch.report.results import Results
from raresearch.types import Array

MOST_AXES = 12
FEW = 6  # levels that have a median each


def importance(results: Results) -> Drawing | None:
    """Shares of the ranks' variance and rank correlations; None for grids and fewer than six configs."""
    found = influences(results)
    if not found:
        return None
    figure = canvas(10.5, 1.9 + 0.42 * len(found), results.stamp)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.2, 1))
    place = np.arange(len(found))
    left.barh(place, [i.share for i in found], color=SIGNAL, height=0.62, label="η² of the ranks")
    left.plot([i.chance for i in found], place, "|", color=INK, ms=18, mew=2, label="95 % of shuffles lie below")
    left.set_yticks(place, [i.axis.short for i in found])
    left.set_ylim(len(found) - 0.4, -0.6)
    left.set(
        xlabel="share of the ranks' variance, axis by axis",
        xlim=(0, max(0.3, 1.1 * max(max(i.share, i.chance) for i in found))),
    )
    for y, one in zip(place, found, strict=True):
        if one.correlation is not None and one.low is not None and one.high is not None:
            bars = [[one.correlation - one.low], [one.high - one.correlation]]
            right.errorbar([one.correlation], [y], xerr=bars, fmt="o", color=BACKGROUND, capsize=3, elinewidth=1.6)
        else:
            right.text(0, y, "no order", ha="center", va="center", color=FAINT, fontsize=10.5)
    right.axvline(0, color=FAINT, lw=1)
    right.set(xlim=(-1.02, 1.02), xlabel=f"Spearman's rank correlation\nwith {pretty(results.objective.name)}")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    caption = (
        f"What each axis alone has to do with {pretty(results.objective.name)}, by ranks. Left: Kruskal–Wallis effect size η², the "
        "share of the ranks' variance that groups of the axis explain (numeric axes in up to four groups of equal size); a bar "
        "that does not reach its mark is what chance gives. Right: Spearman's rank correlation with its interval of one sigma. "
        "Interactions are not seen, and a searcher that crowds where it is good hides what is bad elsewhere."
    )
    alt = "; ".join(f"{i.axis.short}: η² {i.share:.2f}, chance {i.chance:.2f}" for i in found)
    rows = [
        {"axis": i.axis.name, "configs": i.n, "eta_squared": i.share, "chance_95": i.chance}
        | {"spearman": i.correlation, "low": i.low, "high": i.high}
        for i in found
    ]
    return Drawing("importance", "Influence of the hyperparameters", caption, alt, figure, rows)


def influences(results: Results) -> list[Influence]:
    """Of every axis of a search, the largest first."""
    ranked = results.finished()
    if is_grid(results) or len(ranked) < FEWEST:
        return []
    means = objective_means(results, ranked)
    found = [influence(a, a.places([results.configs[c] for c in ranked]), means) for a in study_axes(results)]
    return sorted((i for i in found if i is not None), key=lambda i: -i.share)[:MOST_AXES]


def objective_means(results: Results, configs: list[str]) -> Array:
    """(C,) mean objective over done repeats."""
    return np.asarray([np.mean([r.value(results.objective.name) for r in results.done(c)]) for c in configs])


def dependence(results: Results) -> Drawing | None:
    """The objective of every config against each axis; None for grids and fewer than six configs."""
    found = [i.axis for i in influences(results)]
    if not found:
        return None
    ranked = results.finished()
    means = objective_means(results, ranked)
    columns = min(len(found), 3)
    lines = math.ceil(len(found) / columns)
    figure = canvas(1.2 + 3.6 * columns, 1.0 + 3.0 * lines, results.stamp)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes, axis in zip(panels, found, strict=False):
        _panel(axes, axis, axis.places([results.configs[c] for c in ranked]), means)
    for axes in panels[len(found) :]:
        axes.remove()
    ends = robust_ends(means, np.zeros(1))
    beyond = 0 if ends is None else int(((means < ends[0]) | (means > ends[1])).sum())
    if ends is not None:
        panels[0].set_ylim(*ends)
    figure.supylabel(f"{pretty(results.objective.name)} (validation)", fontsize=14)
    figure.legend(*_handles(panels[: len(found)]), loc="outside upper left", ncols=3)
    caption = (
        f"{sentence(pretty(results.objective.name))} of every config against each axis, most influential first, with a running median "
        "(medians of the levels where there are few). Other axes vary at the same time: this is where the search went, not what one "
        "axis alone would do." + (f" {beyond} configs lie beyond the axis." if beyond else "")
    )
    rows = [
        {"config": results.labels[c]} | {a.name: results.configs[c].get(a.name) for a in found} | {"objective": float(m)}
        for c, m in zip(ranked, means, strict=True)
    ]
    alt = f"Scatter of {pretty(results.objective.name)} against {', '.join(a.short for a in found)}."
    return Drawing("dependence", "Dependence on the hyperparameters", caption, alt, figure, rows)


def _panel(axes: Any, axis: StudyAxis, x: Array, means: Array) -> None:
    known = np.isfinite(x)
    axes.plot(x[known], means[known], "o", color=SIGNAL, ms=4.2, alpha=0.6, label="config")
    if known[0]:
        axes.plot(x[0], means[0], "*", color=BACKGROUND, ms=13, label="best")
    at, median = running_median(x[known], means[known])
    level = {"marker": "_", "ms": 16, "mew": 2.4} if len(at) <= FEW else {}
    axes.plot(at, median, color=INK, lw=1.8, ls="-" if axis.numeric else "", label="running median", **level)
    if axis.log:
        axes.set_xscale("log")
        log_axis(axes.xaxis, axis.levels[0], axis.levels[-1])
    if not axis.numeric:
        axes.set_xticks(range(len(axis.levels)), axis.texts, fontsize=10.5)
        axes.set_xlim(-0.5, len(axis.levels) - 0.5)
    axes.set_xlabel(axis.short)
    axes.grid(axis="y")


def running_median(x: Array, y: Array) -> tuple[Array, Array]:
    """Median of ``y`` at each level of ``x`` where it has six at most, else over the neighbours of each point in the order of
    ``x``: a quarter of all points, seven at least."""
    levels = np.unique(x)
    if len(levels) <= FEW:
        return levels, np.asarray([np.median(y[x == level]) for level in levels])
    order = np.argsort(x, kind="stable")
    half = max(3, len(x) // 8)
    windows = [order[max(0, i - half) : i + half + 1] for i in range(half, len(x) - half)] or [order]
    return np.asarray([np.median(x[w]) for w in windows]), np.asarray([np.median(y[w]) for w in windows])


def _handles(panels: Any) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
