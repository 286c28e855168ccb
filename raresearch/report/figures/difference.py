"""Where a grid has two numeric axes and one more of two levels: the difference of the two, point by point, as a heat map
(as arXiv:2203.01870 compares its Figs. 3 a and b).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raresearch.report.axes import is_grid, study_axes
from raresearch.report.figures.grid import Plan, heat_plan, means_of
from raresearch.report.figures.style import Drawing, canvas
from raresearch.report.labels import pretty, sentence
from raresearch.report.results import Results
from raresearch.types import Array


def draw(results: Results) -> Drawing | None:
    """The map of differences of mean objectives, its mean with a standard error in the caption; None for other studies."""
    plan = heat_plan(study_axes(results)) if is_grid(results) else None
    if plan is None or plan.second is None or len(plan.others) != 1 or len(plan.others[0].levels) != 2:
        return None
    first, second = plan.others[0].texts
    maps = [means_of(results, plan, (level,)) for level in plan.others[0].levels]
    apart = maps[0] - maps[1]
    if not np.isfinite(apart).any():
        return None
    figure = canvas(9.0, 5.6, results.stamp)
    axes = figure.subplots()
    largest = float(np.nanmax(np.abs(apart))) or 1e-9
    edges = np.arange(apart.shape[1] + 1) - 0.5, np.arange(apart.shape[0] + 1) - 0.5
    image = axes.pcolormesh(*edges, np.ma.masked_invalid(apart), cmap="PuOr", vmin=-largest, vmax=largest)
    axes.set_xticks(range(apart.shape[1]), plan.x.texts)
    axes.set_yticks(range(apart.shape[0]), plan.second.texts)
    axes.set_xlabel(plan.x.short)
    axes.set_ylabel(plan.second.short)
    name = pretty(results.objective.name)
    figure.colorbar(image, ax=axes, label=f"{name}: {first} − {second}", pad=0.02)
    alt = f"Heat map of the difference in {name} between {first} and {second} over {plan.x.short} and {plan.second.short}."
    caption = f"{sentence(name)} on validation, {first} less {second}, point by point. {_summary(apart)}"
    return Drawing("difference", f"{first} less {second}", caption, alt, figure, _rows(plan, maps))


def _summary(apart: Array) -> str:
    """Mean with the standard error that the spread over the points gives, and how many are above zero."""
    values = apart[np.isfinite(apart)]
    text = f"Mean {values.mean():+.3f}".replace("-", "−")
    if len(values) > 1:
        text += f" ± {values.std(ddof=1) / np.sqrt(len(values)):.3f} (standard error from the spread over {len(values)} points)"
    return f"{text}; {int((values > 0).sum())} of {len(values)} points are above zero."


def _rows(plan: Plan, maps: list[Array]) -> list[Mapping[str, object]]:
    second = plan.second
    texts = second.texts if second else ()
    names = plan.others[0].texts
    return [
        {
            plan.x.name: plan.x.texts[x],
            (second.name if second else ""): texts[y],
            names[0]: a,
            names[1]: maps[1][y, x],
            "difference": a - maps[1][y, x],
        }
        for (y, x), a in np.ndenumerate(maps[0])
    ]
