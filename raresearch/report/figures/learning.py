"""Learning curves: training and validation loss against the epoch, one small panel a config."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from raresearch.report.curves import Curve, mean_curve
from raresearch.report.figures.style import BACKGROUND, SIGNAL, Drawing, canvas
from raresearch.report.results import Results
from raresearch.types import EpochTable

MOST = 24
COLUMNS = (("train_loss", "training", SIGNAL), ("val_loss", "validation", BACKGROUND))


def draw(results: Results) -> Drawing | None:
    """At most 24 panels, the best configs where there are more; None where nothing is done."""
    groups = {str(key[0]): rows for key, rows in results.epochs.groups("config")} if len(results.epochs) else {}
    configs = [c for c in results.side_by_side(MOST) if c in groups]
    if not configs:
        return None
    columns = min(len(configs), 6 if len(configs) > 12 else 4 if len(configs) > 3 else 3)
    lines = math.ceil(len(configs) / columns)
    figure = canvas(max(1.95 * columns + 1, 7), 1.8 * lines + 1.2 if lines > 1 else 4.6, results.stamp)
    # Equal limits, not shared axes: of 24 shared ones each looks through all others for every tick.
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    drawn = [_panel(axes, results, config, groups[config]) for axes, config in zip(panels, configs, strict=False)]
    _limits(panels[: len(configs)], drawn)
    for axes in panels[len(configs) :]:
        axes.remove()
    for number, axes in enumerate(panels[: len(configs)]):
        axes.tick_params(labelbottom=number >= len(configs) - columns, labelleft=number % columns == 0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3)
    for number, axes in enumerate(panels[: len(configs)]):
        axes.set_xlabel("epoch" if number >= len(configs) - columns else "")
        axes.set_ylabel("loss" if number % columns == 0 else "")
    rows = [row for config, curves in zip(configs, drawn, strict=True) for row in _rows(results.labels[config], curves)]
    return Drawing("learning", "Learning curves", _caption(results, configs), _alt(configs), figure, rows)


def _rows(label: str, curves: list[Curve]) -> list[dict[str, object]]:
    return [
        {"config": label, "loss": name, "epoch": int(e), "mean": float(m), "std": float(s), "trainings": int(n)}
        for (_, name, _), c in zip(COLUMNS, curves, strict=True)
        for e, m, s, n in zip(c.epoch, c.mean, c.std, c.count, strict=True)
    ]


def _panel(axes: Any, results: Results, config: str, rows: EpochTable) -> list[Curve]:
    curves = []
    for column, name, colour in COLUMNS:
        curve = mean_curve(rows, column).where_most()
        axes.plot(curve.epoch, curve.mean, color=colour, label=name, lw=1.5)
        axes.fill_between(curve.epoch, curve.mean - curve.std, curve.mean + curve.std, color=colour, alpha=0.22, lw=0)
        curves.append(curve)
    chosen = _chosen(results, config, rows)
    if len(chosen):
        axes.plot(*chosen.T, "o", mfc="white", mec="black", ms=4.5, mew=1.1, label="chosen epochs")
    axes.set_title(results.short[config], fontsize=12, pad=3)
    axes.tick_params(labelsize=10.5)
    axes.grid()
    return curves


def _chosen(results: Results, config: str, rows: EpochTable) -> Any:
    """(M, 2): epoch and validation loss of every chosen member."""
    columns = (rows[name].tolist() for name in ("cell", "epoch", "val_loss"))
    loss = {(c, e): v for c, e, v in zip(*columns, strict=True)}
    members = [m for c in results.cells if c.config == config and c.ensemble for m in c.ensemble.members]
    return np.asarray([(m.epoch, loss[(m.cell, m.epoch)]) for m in members]).reshape(-1, 2)


def _limits(panels: Any, drawn: list[list[Curve]]) -> None:
    """The same in all panels. The first epochs of an untrained network would flatten all the rest: the axis of the loss holds
    95 % of the means."""
    means = np.concatenate([c.mean for curves in drawn for c in curves])
    if not len(means):
        return
    ends = np.asarray([axes.dataLim.intervalx for axes in panels])
    first, last = float(ends[:, 0].min()), float(ends[:, 1].max())
    aside = 0.05 * (last - first) or 0.05
    for axes in panels:
        axes.set_xlim(first - aside, last + aside)
    low, high = float(means.min()), float(np.quantile(means, 0.95))
    margin = 0.08 * (high - low) or 0.1
    for axes in panels:
        axes.set_ylim(low - margin, high + margin)


def _caption(results: Results, configs: list[str]) -> str:
    cut = (
        f" The {len(configs)} best of {len(results.ranked())} configs are shown."
        if len(configs) < len(results.ranked())
        else ""
    )
    return (
        "Loss on training and validation events: mean over repeats, bands of one sample standard deviation. A curve ends where "
        "fewer than half of the repeats were still training. Circles mark the chosen epochs of each repeat, at its own "
        f"validation loss.{cut}"
    )


def _alt(configs: list[str]) -> str:
    return f"Training and validation loss against the epoch for {len(configs)} configs, with the chosen epochs marked."
