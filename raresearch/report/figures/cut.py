"""How the cut was found (PandaX-II, JINST 18 T06002, Fig. 2): score distributions and the objective against the threshold."""

from __future__ import annotations

from typing import Any

import numpy as np

from raresearch.ensembles.evaluation import Labelled
from raresearch.metrics.base import FigureOfMerit, on
from raresearch.report.figures.scale import ScoreAxis
from raresearch.report.figures.style import BACKGROUND, INK, SIGNAL, Drawing, canvas, legend_above
from raresearch.report.labels import pretty
from raresearch.report.results import Results
from raresearch.types import Estimate

BINS, GRID = 50, 201
CHOSEN = "It was chosen on the same events that are shown, so the value there is optimistic."
FIXED = "It is the figure's own, fixed in advance."


def draw(results: Results) -> Drawing | None:
    """Of the best training of the best config; None where nothing is done or the objective takes no cut."""
    cell = results.best_cell
    if cell is None or not results.objective.cuts:
        return None
    chosen, sample = cell.estimates[results.objective.name], results.sample(cell)
    if chosen.threshold is None:
        return None
    axis = ScoreAxis.of(sample.scores[sample.label >= 0], chosen.threshold)
    figure = canvas(10, 5.8, results.stamp)
    left = figure.add_subplot()
    _distributions(left, axis, sample)
    right = left.twinx()
    rows = _objective(right, axis, sample, results.objective, chosen)
    top = max(float(row["value"]) for row in rows)
    _legend(left, right)
    name = pretty(results.objective.name)
    caption = (
        f"How the cut was found, on validation: scores of signal and background ({results.named(cell)}, the best training of "
        f"the best config), and {name} against the threshold with its interval. The dashed line is the threshold in use. "
        + (FIXED if hasattr(results.objective, "threshold") else CHOSEN)
    )
    if top > chosen.value * (1 + 1e-9) and hasattr(results.objective, "min_background"):
        caption += " Higher values elsewhere are not used: too few background events are left there."
    alt = f"Score distributions with {name} against the cut; chosen cut {chosen.threshold:.4g}, value {chosen}."
    return Drawing("cut", "Determination of the cut", caption, alt, figure, rows)


def _distributions(axes: Any, axis: ScoreAxis, sample: Labelled) -> None:
    edges = axis.edges(BINS)
    smallest = np.inf
    for label, name, colour, hatch in ((0, "background", BACKGROUND, "////"), (1, "signal", SIGNAL, None)):
        mask = sample.label == label
        counts, _ = np.histogram(axis.place(sample.scores[mask]), edges, weights=sample.weight[mask])
        smallest = min(smallest, counts[counts > 0].min(initial=np.inf))
        axes.stairs(counts, edges, fill=hatch is None, color=colour, alpha=0.25 if hatch is None else 1.0, hatch=hatch, lw=0)
        axes.stairs(counts, edges, color=colour, lw=1.8, label=name)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5 * smallest)
    axes.set_ylabel("validation events per bin")
    axis.label(axes)


def _objective(axes: Any, axis: ScoreAxis, sample: Labelled, fom: FigureOfMerit, chosen: Estimate) -> list[dict[str, float]]:
    """Draw ``fom`` against the threshold; its rows."""
    threshold = np.asarray(chosen.threshold, dtype=np.float64)
    cuts = np.unique(np.append(axis.thresholds(GRID), threshold))
    bound = on(fom, sample.columns)
    found = [bound(sample.scores, sample.label, sample.weight, threshold=float(t)) for t in cuts]
    x, values = axis.place(cuts), np.asarray([e.value for e in found])
    limit = np.asarray([e.lower_limit for e in found])
    axes.fill_between(x, [e.low for e in found], [e.high for e in found], color=INK, alpha=0.13, lw=0)
    axes.plot(x, np.where(limit, np.nan, values), color=INK, label=pretty(fom.name))
    if limit.any():
        axes.plot(x, np.where(limit, values, np.nan), color=INK, ls=":", label="its lower limit (no background left)")
    at = float(axis.place(threshold))
    sign = "≥ " if chosen.lower_limit else ""
    axes.axvline(at, color=INK, ls="--", lw=1.4, label=f"cut at {_score(float(threshold))}: {sign}{_with_errors(chosen)}")
    axes.plot([at], [chosen.value], "o", color=INK, ms=6)
    axes.spines["right"].set_visible(True)
    axes.set_ylim(bottom=0, top=1.08 * max(e.high for e in found))
    axes.set_ylabel(f"{pretty(fom.name)} (validation)")
    columns = zip(cuts, found, strict=True)
    return [{"threshold": float(t), **{n: getattr(e, n) for n in ("value", "low", "high")}} for t, e in columns]


def _legend(left: Any, right: Any) -> None:
    handles, labels = (a + b for a, b in zip(left.get_legend_handles_labels(), right.get_legend_handles_labels(), strict=True))
    legend_above(right, handles, labels, columns=len(handles) if len(handles) < 5 else 3)


def _score(threshold: float) -> str:
    if threshold > 0.99:
        return f"1 − {1 - threshold:.2g}"
    return f"{threshold:.3g}"


def _with_errors(e: Estimate) -> str:
    spread = max(e.high - e.value, e.value - e.low)
    places = 2 if spread <= 0 else min(max(1 - int(np.floor(np.log10(spread))), 0), 5)
    up, down = f"{e.high - e.value:.{places}f}", f"{e.value - e.low:.{places}f}"
    return f"${e.value:.{places}f}^{{+{up}}}_{{-{down}}}$"
