"""The distribution of the objective over repeats, config by config."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from raresearch.report.figures.style import INK, MOST_LINES, PALETTE, Drawing, best_of, canvas
from raresearch.report.labels import pretty
from raresearch.report.results import Results
from raresearch.types import Array

FEWEST = 5  # repeats that make a distribution


def draw(results: Results) -> Drawing | None:
    """A histogram a config, on one axis; None where no config has five done repeats."""
    name = results.objective.name
    found = {c: np.asarray([r.value(name) for r in results.done(c)]) for c in results.ranked()}
    enough = {c: v[np.isfinite(v)] for c, v in found.items() if np.isfinite(v).sum() >= FEWEST}
    shown = dict(list(enough.items())[:MOST_LINES])
    if not shown:
        return None
    edges = _edges(list(shown.values()))
    figure = canvas(9, 1.3 + 1.25 * len(shown), results.stamp)
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False).ravel()
    for number, (axes, (config, values)) in enumerate(zip(panels, shown.items(), strict=True)):
        _panel(axes, results.short[config], values, edges, PALETTE[number % len(PALETTE)])
    panels[-1].set_xlabel(f"{pretty(name)} of one repeat (validation)")
    figure.supylabel("repeats", fontsize=14)
    caption = (
        f"How {pretty(name)} scatters over repeats, which differ in nothing but their seed, best config first. Each small line is "
        "a repeat; the thick line is their mean, with one sample standard deviation. All repeats see the same validation events, "
        f"whose luck is common to them and not in this scatter.{best_of(len(shown), len(enough))}"
    )
    alt = f"Histograms of {pretty(name)} over repeats for {len(shown)} configs."
    seeds = {c: [r.seed for r in results.done(c)] for c in shown}
    rows = [
        {"config": results.labels[c], "seed": seed, name: float(value)}
        for c in shown
        for seed, value in zip(seeds[c], found[c], strict=True)
    ]
    return Drawing("seeds", "Scatter of the seeds", caption, alt, figure, rows)


def _edges(values: list[Array]) -> Array:
    """Common edges: bins of half the typical config's standard deviation, 8 at least and 60 at most."""
    everything = np.concatenate(values)
    low, high = float(everything.min()), float(everything.max())
    margin = 0.02 * (high - low) or 0.5e-3 * max(abs(low), 1.0)
    width = 0.5 * float(np.median([v.std(ddof=1) for v in values]))
    bins = int(np.clip(math.ceil((high - low) / width), 8, 60)) if width > 0 else 8
    return np.linspace(low - margin, high + margin, bins + 1)


def _panel(axes: Any, label: str, values: Array, edges: Array, colour: str) -> None:
    counts, _ = np.histogram(values, edges)
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.3)
    axes.stairs(counts, edges, color=colour, lw=1.6)
    top = counts.max() * 1.45
    axes.vlines(values, 0, 0.09 * top, color=INK, lw=0.9)
    at = 0.87 * top
    axes.errorbar(
        [values.mean()], [at], xerr=[values.std(ddof=1)], fmt="|", color=INK, ms=13, mew=2.4, elinewidth=1.6, capsize=3
    )
    axes.set_ylim(0, top)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    axes.set_title(f"{label} ({len(values)} repeats)", loc="left", fontsize=11.5, pad=2)
