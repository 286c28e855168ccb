"""Every repeat of every config: how far trainings that differ only in their seed lie apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from raresearch.report.figures.style import BACKGROUND, INK, SIGNAL, Drawing, canvas, config_axis, label_height, legend_above
from raresearch.report.labels import pretty, sentence
from raresearch.report.results import Results
from raresearch.types import Estimate

MOST, BARS = 40, 12  # configs side by side; trainings a config that still show a bar each


def draw(results: Results) -> Drawing | None:
    """A strip of points a config; None where nothing is done."""
    if not results.ranked():
        return None
    configs = results.side_by_side(MOST)
    labels = [results.short[c] for c in configs]
    figure = canvas(max(9.0, min(14.0, 3 + 0.5 * len(configs))), 5.6 + label_height(labels), results.stamp)
    axes = figure.add_subplot()
    strips = [[c.estimates[results.objective.name] for r in results.done(config) for c in r.cells] for config in configs]
    sparse = max(len(found) for found in strips) <= BARS
    for x, found in enumerate(strips):
        _strip(axes, x, found, sparse)
    _failures(axes, configs, results)
    config_axis(axes, labels)
    axes.set_xlabel("config")
    axes.set_ylabel(f"{pretty(results.objective.name)} (validation)")
    axes.grid(axis="y")
    legend_above(axes, *_once(axes))
    rows = [
        {"config": c.label, "seed": c.seed, "fold": c.fold}
        | {n: getattr(c.estimates[results.objective.name], n) for n in ("value", "low", "high")}
        for config in configs
        for r in results.done(config)
        for c in r.cells
    ]
    return Drawing("repeats", "Every repeat", _caption(results), _alt(results, configs), figure, rows)


def _strip(axes: Any, x: int, found: list[Estimate], sparse: bool) -> None:
    values = np.asarray([e.value for e in found])
    bars = np.array([[max(e.value - e.low, 0) for e in found], [max(e.high - e.value, 0) for e in found]])
    # Evenly beside each other in the order of the seeds: no random jitter, so the figure is the same every time.
    where = x + np.linspace(-0.28, 0.28, len(values)) if len(values) > 1 else np.array([float(x)])
    mean = values.mean()
    if sparse:
        label = "one training, with its interval from finite events"
        axes.errorbar(where, values, bars, fmt="o", color=SIGNAL, ms=4.5, elinewidth=1, alpha=0.85, label=label)
    else:
        axes.plot(where, values, "o", color=SIGNAL, ms=3, alpha=0.5, label="one training")
        ends = mean - bars[0].mean(), mean + bars[1].mean()
        label = "typical interval of one, from finite events"
        axes.fill_between([x - 0.36, x + 0.36], *ends, color=INK, alpha=0.1, lw=0, zorder=0, label=label)
    axes.plot([x - 0.36, x + 0.36], [mean] * 2, color=INK, lw=2.2, label="mean", solid_capstyle="butt")


def _failures(axes: Any, configs: list[str], results: Results) -> None:
    for x, config in enumerate(configs):
        failed = sum(r.state == "failed" for r in results.repeats[config])
        if failed:
            spot = {"xy": (x, 0), "xycoords": axes.get_xaxis_transform(), "xytext": (0, 5), "textcoords": "offset points"}
            axes.annotate(f"{failed}×", ha="center", va="bottom", color=BACKGROUND, fontsize=11, weight="bold", **spot)
    if any(c.state == "failed" for c in results.cells):
        axes.margins(y=0.12)
        axes.plot([], [], ls="", marker="$n×$", color=BACKGROUND, ms=16, label="failed repeats")


def _once(axes: Any) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    first = {label: handle for handle, label in reversed(list(zip(handles, labels, strict=True)))}
    order = sorted(dict.fromkeys(labels), key=lambda label: label in ("mean", "failed repeats"))
    return [first[label] for label in order], order


def _caption(results: Results) -> str:
    folds = "fold of a repeat" if results.folds > 1 else "repeat"
    shared = len({results.reader.cells[c.key]["validation_events"] for c in results.cells if c.state == "done"}) == 1
    together = " All trainings see the same validation events, so their errors move together." if shared else ""
    return (
        f"{sentence(pretty(results.objective.name))} on validation of every done {folds}. Intervals come from the finite "
        f"number of events at a fixed cut; the scatter of the points comes from seeds.{together} Failed repeats are counted at "
        "the foot and are in no mean."
    )


def _alt(results: Results, configs: list[str]) -> str:
    name = pretty(results.objective.name)
    return f"One strip of points for each of {len(configs)} configs: {name} of every training, with the mean."
