"""The classes of events one by one: their scores, and how many of each pass the cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from raresearch.ensembles.evaluation import Labelled
from raresearch.metrics.efficiency import efficiency
from raresearch.metrics.intervals import clopper_pearson
from raresearch.report.figures.scale import ScoreAxis
from raresearch.report.figures.style import BACKGROUND, INK, PALETTE, SIGNAL, Drawing, canvas, legend_above
from raresearch.report.results import Results
from raresearch.types import ONE_SIGMA, Array

BINS, SLICES, OBSERVERS = 40, 10, 2
FEWEST = 3  # events in a slice; the bar of fewer spans the whole axis and says nothing
MARKERS = "osD^vPX"


def spectra(results: Results) -> Drawing | None:
    """Score spectrum of each class, spectators included, of the best training; None where nothing is done."""
    cell = results.best_cell
    if cell is None:
        return None
    sample, cut = results.sample(cell), cell.estimates[results.objective.name].threshold
    axis = ScoreAxis.of(sample.scores, cut)
    figure = canvas(10, 5.4, results.stamp)
    axes = figure.add_subplot()
    edges = axis.edges(BINS)
    for name, colour, mask in _classes(results, sample):
        counts, _ = np.histogram(axis.place(sample.scores[mask]), edges, weights=sample.weight[mask])
        dashes = "--" if (sample.label[mask] < 0).all() else "-"
        axes.stairs(counts / counts.sum(), edges, color=colour, lw=2, ls=dashes, label=f"{name}: {mask.sum():,} events")
    if cut is not None:
        axes.axvline(float(axis.place(cut)), color=INK, ls=":", lw=1.6, label="cut")
    axes.set_yscale("log")
    axes.set_ylabel("fraction of the class per bin")
    axis.label(axes)
    handles, labels = axes.get_legend_handles_labels()
    legend_above(axes, handles, labels, columns=len(labels) if len(labels) < 5 else 3)
    dashed = " Spectators, dashed, are scored but were neither trained on nor counted in any figure of merit."
    caption = f"Scores of the validation events by class, each normalised to one ({results.named(cell)})."
    caption += dashed if (sample.label < 0).any() else ""
    names = ", ".join(name for name, _, _ in _classes(results, sample))
    return Drawing("spectra", "Score spectra by class", caption, f"Normalised score spectra of the classes {names}.", figure)


def efficiencies(results: Results) -> Drawing | None:
    """Fraction of each class above the cut against the first observers; None without observers or without a cut."""
    cell = results.best_cell
    cut = cell.estimates[results.objective.name].threshold if cell else None
    if cell is None or cut is None:
        return None
    sample = results.sample(cell)
    observers = [n for n in results.about.get("schema", {}).get("observers", ()) if n in sample.observers][:OBSERVERS]
    if not observers:
        return None
    figure = canvas(4.2 + 4.3 * len(observers), 5.0, results.stamp)
    panels = figure.subplots(1, len(observers), sharey=True, squeeze=False)[0]
    for axes, observer in zip(panels, observers, strict=True):
        _against(axes, results, sample, observer, cut)
    panels[0].set_ylabel("efficiency (score ≥ cut)")
    panels[0].set_ylim(-0.03, 1.03)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    caption = (
        f"Fraction of each class that passes the cut ({results.named(cell)}), on validation, against "
        f"{' and '.join(observers)}, with Clopper–Pearson intervals of one sigma; slices with fewer "
        f"than {FEWEST} events of a class are left out. The cut was chosen on the same events."
    )
    alt = f"Efficiency of each class against {' and '.join(observers)}."
    return Drawing("efficiency", "Efficiency by class", caption, alt, figure)


def _classes(results: Results, sample: Labelled) -> Iterator[tuple[str, str, Array]]:
    """Name, colour and mask (N,) of each class; where only some of a class are spectators, those stand for themselves.

    The first signal class and the first background class have the colours that they have in the figure of the cut.
    """
    names = results.about.get("schema", {}).get("classes", ())
    spare = {1: [SIGNAL], 0: [BACKGROUND], -1: []}
    rest = list(PALETTE[2:])
    for number in np.unique(sample.class_number):
        name = names[number] if number < len(names) else f"class {number}"
        for label in (1, 0, -1):
            mask = (sample.class_number == number) & (sample.label == label)
            if mask.any():
                colour = spare[label].pop() if spare[label] else rest[0]
                if colour == rest[0]:
                    rest = rest[1:] + rest[:1]
                yield (f"{name} (spectator)" if label < 0 else name), colour, mask


def _against(axes: Any, results: Results, sample: Labelled, observer: str, cut: float) -> None:
    values = np.asarray(sample.observers[observer], dtype=np.float64)
    low, high = np.nanquantile(values, [0.005, 0.995])
    edges = np.linspace(low, high, SLICES + 1) if high > low else np.array([low - 0.5, low + 0.5])
    centre, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    classes = list(_classes(results, sample))
    for number, (name, colour, mask) in enumerate(classes):
        points = [_point(sample, mask & (values >= a) & (values <= b), cut) for a, b in pairwise(edges)]
        value, ends = np.asarray([p[0] for p in points]), np.asarray([p[1:] for p in points])
        # Classes stand beside each other within a bin, so that no bar hides another.
        shift = min(0.16, 0.8 / len(classes)) * width * (number - (len(classes) - 1) / 2)
        bars = np.abs(ends.T - value)
        style = {"fmt": MARKERS[number % 7], "color": colour, "ms": 5.5, "elinewidth": 1.4, "capsize": 2}
        axes.errorbar(centre + shift, value, bars, label=name, **style)
    axes.set_xlabel(observer)
    axes.grid(axis="y")


def _point(sample: Labelled, inside: Array, cut: float) -> tuple[float, float, float]:
    weights = sample.weight[inside]
    if (weights > 0).sum() < FEWEST:
        return np.nan, np.nan, np.nan
    found = efficiency(sample.scores[inside] >= cut, weights)
    return found.value, *found.interval(clopper_pearson, ONE_SIGMA)
