"""Efficiency of each class against what was observed of its events: energy, radius, the size of a light signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raresearch.ensembles.curves import efficiency_curve
from raresearch.ensembles.evaluation import Labelled
from raresearch.report.cuts import Cut, cut_of
from raresearch.report.figures.classes import by_class
from raresearch.report.figures.style import FAINT, INK, MARKERS, Drawing, canvas, log_axis, observer_scale
from raresearch.report.labels import pretty
from raresearch.report.results import CellResult, Results
from raresearch.types import Array

SLICES, OBSERVERS = 10, 4
FEWEST = 3  # events in a slice; the bar of fewer spans the whole axis and says nothing
Group = tuple[str, str, Array]  # name, colour, mask (N,)


def efficiencies(results: Results) -> Drawing | None:
    """Fraction of each class above the cut against the first observers; None without observers or without a cut."""
    cell = results.best_cell
    cut = cut_of(results, cell) if cell else None
    if cell is None or cut is None:
        return None
    sample = results.sample(cell)
    observers = _observers(results, sample)
    if not observers:
        return None
    columns = min(len(observers), 2)
    lines = -(-len(observers) // columns)
    figure = canvas(3.4 + 4.6 * columns, 1.0 + 3.9 * lines, results.stamp)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    groups = _groups(results, sample)
    rows: list[Mapping[str, object]] = []
    for axes, observer in zip(panels, observers, strict=False):
        rows += _against(axes, sample, groups, observer, cut.threshold)
    for axes in panels[len(observers) :]:
        axes.remove()
    for axes in panels[: len(observers) : columns]:
        axes.set_ylabel("efficiency (score ≥ cut)")
    panels[0].set_ylim(-0.03, 1.03)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=5)
    alt = f"Efficiency of {', '.join(name for name, _, _ in groups)} against {', '.join(observers)}."
    return Drawing("efficiency", "Efficiency by class", _caption(results, cell, cut, observers), alt, figure, rows)


def _observers(results: Results, sample: Labelled) -> list[str]:
    """The first observers that have two different finite values at least."""
    listed = [n for n in results.about.get("schema", {}).get("observers", ()) if n in sample.observers]
    numbers = {n: np.asarray(sample.observers[n], dtype=np.float64) for n in listed}
    return [n for n, v in numbers.items() if len(np.unique(v[np.isfinite(v)])) > 1][:OBSERVERS]


def _groups(results: Results, sample: Labelled) -> list[Group]:
    """The classes, and signal and background as a whole where they are made of several."""
    classes = list(by_class(results, sample))
    found = []
    for label, name, colour in ((1, "all signal", INK), (0, "all background", FAINT)):
        mask = sample.label == label
        if sum(bool((sample.label[m] == label).all()) for _, _, m in classes) > 1:
            found.append((name, colour, mask))
    return [*found, *classes]


def _against(axes: Any, sample: Labelled, groups: Sequence[Group], observer: str, cut: float) -> list[Mapping[str, object]]:
    values = np.asarray(sample.observers[observer], dtype=np.float64)
    edges = _edges(values[np.isfinite(values) & (sample.weight > 0)])
    log = observer_scale(values) == "log"
    rows: list[Mapping[str, object]] = []
    for number, (name, colour, mask) in enumerate(groups):
        found = _curve(_only(sample, mask), observer, edges, cut)
        # Classes stand beside each other within a bin, so that no bar hides another.
        share = 0.5 + min(0.16, 0.8 / len(groups)) * (number - (len(groups) - 1) / 2)
        _points(axes, edges, [r if _enough(r) else None for r in found], share, log, name, colour, MARKERS[number % 7])
        rows += [{"observer": observer, "class": name, **r} for r in found]
    if log:
        axes.set_xscale("log")
        log_axis(axes.xaxis, edges[0], edges[-1])
    axes.set_xlabel(observer)
    axes.grid(axis="y")
    return rows


def _edges(values: Array) -> Array:
    """Edges of slices with equal numbers of events, all classes together; 0.5 % at either end are left out."""
    return np.unique(np.quantile(values, np.linspace(0.005, 0.995, SLICES + 1)))


def _only(sample: Labelled, mask: Array) -> Labelled:
    parts = {n: getattr(sample, n)[mask] for n in ("event_id", "scores", "label", "weight", "class_number")}
    observers = {n: np.asarray(v, dtype=np.float64)[mask] for n, v in sample.observers.items()}
    return replace(sample, **parts, observers=observers)


def _curve(sample: Labelled, observer: str, edges: Array, cut: float) -> list[dict[str, float | None]]:
    usable = np.isfinite(sample.observers[observer]) & (sample.weight > 0)
    if not usable.any() or len(edges) < 2:
        return []
    return efficiency_curve(sample, observer, edges.tolist(), cut, "all").rows()


def _enough(row: Mapping[str, float | None]) -> bool:
    return (row["n_effective"] or 0.0) >= FEWEST


def _points(axes: Any, edges: Array, rows: Sequence[Any], share: float, log: bool, name: str, colour: str, marker: str) -> None:
    """Points at ``share`` of each slice's width, on a logarithmic axis of its ratio."""
    low, high = edges[:-1], edges[1:]
    x = low * (high / low) ** share if log else low + share * (high - low)
    kept = [number for number, row in enumerate(rows) if row is not None]
    value = np.asarray([rows[n]["value"] for n in kept])
    bars = np.abs(np.asarray([[rows[n]["low"], rows[n]["high"]] for n in kept]).reshape(-1, 2).T - value)
    axes.errorbar(x[kept], value, bars, fmt=marker, color=colour, ms=5, elinewidth=1.3, capsize=2, label=name)


def _caption(results: Results, cell: CellResult, cut: Cut, observers: Sequence[str]) -> str:
    text = (
        f"Fraction of each class that passes the cut of {pretty(cut.chosen_by)} at {cut.threshold:.4g} ({results.named(cell)}), on "
        f"validation, against {', '.join(observers)}, with Clopper–Pearson intervals of one sigma. Slices hold equal numbers of "
        f"events; those with fewer than {FEWEST} of a class are left out. The cut was chosen on the same events."
    )
    more = len(results.about.get("schema", {}).get("observers", ())) - len(observers)
    return text + (f" {more} more observers are not shown." if more > 0 else "")
