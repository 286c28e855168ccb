"""A grid of configs by its axes (as arXiv:1911.09210 draws its Figs. 9 to 11): the objective along one axis, a line for each
value of a second, a panel for each combination of the others; and as a heat map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter, NullLocator

from raresearch.report.axes import StudyAxis, is_grid, study_axes
from raresearch.report.figures.style import MARKERS, Drawing, canvas, look
from raresearch.report.labels import pretty, sentence
from raresearch.report.numbers import Spread, decimals
from raresearch.report.results import Results
from raresearch.types import Array, canonical

MOST_LEVELS, MOST_PANELS = 10, 9
EPOCHS = "train.epochs"


@dataclass(frozen=True)
class Plan:
    """Which axis is drawn how. ``panels``: one combination of levels of ``others`` each."""

    x: StudyAxis
    second: StudyAxis | None
    others: tuple[StudyAxis, ...]

    @property
    def panels(self) -> list[tuple[Any, ...]]:
        return list(product(*(a.levels for a in self.others)))

    def title(self, panel: Sequence[Any]) -> str:
        """The levels that a panel stands for."""
        parts = []
        for axis, level in zip(self.others, panel, strict=True):
            text = axis.texts[[canonical(v) for v in axis.levels].index(canonical(level))]
            parts.append(f"{axis.short} {text}" if axis.numeric else text)
        return ", ".join(parts)


def line_plan(axes: Sequence[StudyAxis]) -> Plan | None:
    """Along x the numeric axis with most levels (epochs where several have as many); of the others, the one that varies
    fastest makes the lines. None without a numeric axis, or where there would be too many panels or lines.
    """
    numeric = [a for a in axes if a.numeric and len(a.levels) > 1]
    if not numeric:
        return None
    x = max(numeric, key=lambda a: (len(a.levels), a.name == EPOCHS))
    rest = [a for a in axes if a is not x]
    plan = Plan(x, rest[-1] if rest else None, tuple(rest[:-1]))
    return plan if _fits(plan, MOST_LEVELS) else None


def heat_plan(axes: Sequence[StudyAxis]) -> Plan | None:
    """The two numeric axes with most levels across and up; None without two, or where there would be too many panels."""
    numeric = [a for a in axes if a.numeric and len(a.levels) > 1]
    if len(numeric) < 2:
        return None
    x = max(numeric, key=lambda a: (len(a.levels), a.name == EPOCHS))
    y = max((a for a in numeric if a is not x), key=lambda a: (len(a.levels), axes.index(a)))
    plan = Plan(x, y, tuple(a for a in axes if a not in (x, y)))
    return plan if _fits(plan, 30) else None


def _fits(plan: Plan, levels: int) -> bool:
    lines = len(plan.second.levels) if plan.second else 1
    return len(plan.panels) <= MOST_PANELS and lines <= levels


def draw(results: Results) -> Drawing | None:
    """Lines with error bars; None where the study is no grid or has no numeric axis."""
    plan = line_plan(study_axes(results)) if is_grid(results) else None
    if plan is None:
        return None
    spreads = _spreads(results)
    figure, panels = _panels(plan, results, 4.3, 4.4)
    for axes, panel in zip(panels, plan.panels, strict=False):
        _lines(axes, plan, results, panel, spreads)
        axes.set_title(plan.title(panel), fontsize=12.5)
        axes.grid()
    _x_axis(panels, plan.x)
    handles, labels = _handles(panels)
    if plan.second:
        figure.legend(handles, labels, loc="outside upper left", ncols=5, title=plan.second.short, title_fontsize=11.5)
    name = pretty(results.objective.name)
    figure.supylabel(f"{name} (validation)", fontsize=14)
    what = "repeats and folds" if results.folds > 1 else "repeats"
    caption = (
        f"{sentence(name)} on validation against {plan.x.short}{_for(plan)}: mean over {what}, bars of one sample standard deviation "
        "of single trainings. "
        + (
            "Neighbours along the axis of epochs are the same trainings, so their errors move together."
            if _prefix(plan)
            else ""
        )
    ).strip()
    alt = f"{name} against {plan.x.short}{_for(plan)}."
    return Drawing("grid", f"{sentence(name)} along the grid", caption, alt, figure, _rows(results, plan, spreads))


def _prefix(plan: Plan) -> bool:
    return plan.x.name == EPOCHS


def _for(plan: Plan) -> str:
    text = f", a line for each {plan.second.short}" if plan.second else ""
    return text + (f", a panel for each {' and '.join(a.short for a in plan.others)}" if plan.others else "")


def _spreads(results: Results) -> dict[str, Spread]:
    name = results.objective.name
    return {c: Spread.of(k.estimates[name].value for r in results.done(c) for k in r.cells) for c in results.ranked()}


def _panels(plan: Plan, results: Results, width: float, height: float) -> tuple[Any, Any]:
    n = len(plan.panels)
    columns = min(n, 3)
    lines = math.ceil(n / columns)
    figure = canvas(max(8.0, 1.2 + width * columns), 1.0 + height * lines * (0.8 if lines > 1 else 1.0), results.stamp)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.ravel()[n:]:
        axes.remove()
    return figure, panels.ravel()[:n]


def _lines(axes: Any, plan: Plan, results: Results, panel: Sequence[Any], spreads: Mapping[str, Spread]) -> None:
    levels = plan.second.levels if plan.second else (None,)
    for number, level in enumerate(levels):
        found = [
            (plan.x.place(results.configs[c]), s.mean, s.std if s.std is not None else np.nan)
            for c, s in spreads.items()
            if _is(results.configs[c], plan, panel, level)
        ]
        if found:
            x, mean, std = np.asarray(sorted(found)).T
            marker = {"marker": MARKERS[number % len(MARKERS)], "ms": 5.5, "capsize": 3, "elinewidth": 1.3, "lw": 1.6}
            label = plan.second.texts[number] if plan.second else ""
            axes.errorbar(_apart(x, number, len(levels), plan.x.log), mean, std, label=label, **look(number), **marker)


def _apart(x: Any, number: int, lines: int, log: bool) -> Any:
    """Lines stand a little beside each other, so that no bar hides another."""
    if len(x) < 2:
        return x
    side = 0.035 * (number - (lines - 1) / 2)
    step = float(np.min(np.diff(np.log(x) if log else x)))
    return x * np.exp(side * step) if log else x + side * step


def _is(config: Mapping[str, Any], plan: Plan, panel: Sequence[Any], level: Any) -> bool:
    wanted = [*zip(plan.others, panel, strict=True), *([(plan.second, level)] if plan.second else [])]
    return all(a.name in config and canonical(config[a.name]) == canonical(v) for a, v in wanted)


def _x_axis(panels: Any, axis: StudyAxis) -> None:
    for axes in panels:
        if axis.log:
            axes.set_xscale("log")
        if len(axis.levels) <= 8:
            axes.set_xticks([float(v) for v in axis.levels], axis.texts)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_minor_formatter(NullFormatter())
    columns = min(len(panels), 3)
    for number, axes in enumerate(panels):
        last = number >= len(panels) - columns
        axes.set_xlabel(axis.short if last else "")
        axes.tick_params(labelbottom=last)


def _handles(panels: Any) -> tuple[list[Any], list[str]]:
    """One handle a line, from whichever panel has it."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _rows(results: Results, plan: Plan, spreads: Mapping[str, Spread]) -> list[Mapping[str, object]]:
    axes = [*plan.others, *([plan.second] if plan.second else []), plan.x]
    return [
        {"config": results.labels[c]}
        | {a.name: a.texts[[canonical(v) for v in a.levels].index(canonical(results.configs[c][a.name]))] for a in axes}
        | {"mean": s.mean, "std": s.std, "trainings": s.n}
        for c, s in sorted(spreads.items(), key=lambda item: [a.place(results.configs[item[0]]) for a in axes])
        if all(a.name in results.configs[c] for a in axes)
    ]


def heat_map(results: Results) -> Drawing | None:
    """The mean as colour over two numeric axes; None where the study is no grid or has no two numeric axes."""
    plan = heat_plan(study_axes(results)) if is_grid(results) else None
    if plan is None or plan.second is None:
        return None
    spreads = _spreads(results)
    figure, panels = _panels(plan, results, 4.0, 4.2)
    means = [s.mean for s in spreads.values()]
    places = decimals([s.std for s in spreads.values()], means)
    for axes, panel in zip(panels, plan.panels, strict=False):
        image = _heat(axes, plan, results, panel, spreads, (min(means), max(means)), places)
        axes.set_title(plan.title(panel), fontsize=12.5)
    for number, axes in enumerate(panels):
        axes.set_xlabel(plan.x.short if number >= len(panels) - min(len(panels), 3) else "")
        axes.set_ylabel(plan.second.short if number % 3 == 0 else "")
    name = pretty(results.objective.name)
    figure.colorbar(image, ax=list(panels), label=f"{name} (validation)", pad=0.02)
    others = f", a panel for each {' and '.join(a.short for a in plan.others)}" if plan.others else ""
    caption = (
        f"Mean {name} on validation over {plan.x.short} and {plan.second.short}{others}. The best one is framed; whether it is better "
        "than its neighbours, the comparison says."
    )
    alt = f"Heat map of {name} over {plan.x.short} and {plan.second.short}."
    return Drawing("heat", f"{sentence(name)} over two axes", caption, alt, figure, _rows(results, plan, spreads))


def _heat(
    axes: Any,
    plan: Plan,
    results: Results,
    panel: Sequence[Any],
    spreads: Mapping[str, Spread],
    ends: tuple[float, float],
    places: int,
) -> Any:
    second = plan.second
    grid, best = np.full((len(second.levels) if second else 0, len(plan.x.levels)), np.nan), next(iter(spreads))
    for config, (y, x) in _places(results, plan, panel, spreads):
        grid[y, x] = spreads[config].mean
        if config == best:
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, ec="#d55e00", lw=3.5, zorder=3))
    low, high = ends if ends[1] > ends[0] else (ends[0] - 1e-9, ends[1] + 1e-9)
    edges = np.arange(grid.shape[1] + 1) - 0.5, np.arange(grid.shape[0] + 1) - 0.5
    image = axes.pcolormesh(*edges, np.ma.masked_invalid(grid), cmap="cividis", vmin=low, vmax=high)
    if grid.size <= 60:
        for y, x in np.argwhere(np.isfinite(grid)):
            value = grid[y, x]
            dark = (value - low) / (high - low) < 0.55
            axes.text(
                x, y, f"{value:.{places}f}", ha="center", va="center", fontsize=10.5, color="#fffffe" if dark else "#000001"
            )
    # A panel is a few inches wide: more than these letters run into each other.
    axes.set_xticks(range(grid.shape[1]), plan.x.texts, rotation=90 if sum(map(len, plan.x.texts)) > 30 else 0)
    axes.set_yticks(range(grid.shape[0]), second.texts if second else [])
    return image


def _places(
    results: Results, plan: Plan, panel: Sequence[Any], configs: Iterable[str]
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Each of ``configs`` that lies in ``panel``, and where: (second, x)."""
    for config in configs:
        values = results.configs[config]
        for y, level in enumerate(plan.second.levels if plan.second else ()):
            if _is(values, plan, panel, level):
                yield config, (y, plan.x.levels.index(values[plan.x.name]))


def means_of(results: Results, plan: Plan, panel: Sequence[Any]) -> Array:
    """(second, x) mean objectives of a panel; NaN where a config has no finished training."""
    spreads = _spreads(results)
    grid = np.full((len(plan.second.levels) if plan.second else 0, len(plan.x.levels)), np.nan)
    for config, place in _places(results, plan, panel, spreads):
        grid[place] = spreads[config].mean
    return grid
