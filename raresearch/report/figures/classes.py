"""The classes of events one by one: their score spectra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from raresearch.ensembles.evaluation import Labelled
from raresearch.metrics.sample import kish
from raresearch.report.cuts import Cut, cut_of
from raresearch.report.figures.scale import ScoreAxis
from raresearch.report.figures.style import BACKGROUND, INK, PALETTE, SIGNAL, Drawing, canvas, legend_above
from raresearch.report.labels import pretty
from raresearch.report.results import Results
from raresearch.types import Array

BINS = 40


def spectra(results: Results) -> Drawing | None:
    """Score spectrum of each class, spectators included, of the best training; None where nothing is done."""
    cell = results.best_cell
    if cell is None:
        return None
    sample, cut = results.sample(cell), cut_of(results, cell)
    axis = ScoreAxis.of(sample.scores, cut.threshold if cut else None)
    figure = canvas(10, 5.4, results.stamp)
    axes = figure.add_subplot()
    rows = [row for found in by_class(results, sample) for row in _spectrum(axes, axis, sample, *found)]
    if cut is not None:
        label = f"cut ({pretty(cut.chosen_by)})"
        axes.axvline(float(axis.place(cut.threshold)), color=INK, ls=":", lw=1.6, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("fraction of the class per bin")
    axis.label(axes)
    handles, labels = axes.get_legend_handles_labels()
    legend_above(axes, handles, labels, columns=len(labels) if len(labels) < 4 else 3)
    names = ", ".join(name for name, _, _ in by_class(results, sample))
    alt = f"Normalised score spectra of the classes {names}."
    return Drawing("spectra", "Score spectra by class", _caption(results, sample, cut), alt, figure, rows)


def _spectrum(axes: Any, axis: ScoreAxis, sample: Labelled, name: str, colour: str, mask: Array) -> list[Mapping[str, object]]:
    """Draw one class with the statistical error of each bin, √Σw²; its rows."""
    edges, weight = axis.edges(BINS), sample.weight[mask]
    place = axis.place(sample.scores[mask])
    total = float(weight.sum())
    if total <= 0:
        return []
    fraction = np.histogram(place, edges, weights=weight)[0] / total
    error = np.sqrt(np.histogram(place, edges, weights=weight**2)[0]) / total
    dashes = "--" if (sample.label[mask] < 0).all() else "-"
    axes.stairs(fraction, edges, color=colour, lw=2, ls=dashes, label=f"{name}: {_count(weight)}")
    low = np.where(error < fraction, fraction - error, fraction / 10)  # one event: the bar reaches down without end
    filled = fraction > 0
    axes.vlines(((edges[1:] + edges[:-1]) / 2)[filled], low[filled], (fraction + error)[filled], color=colour, lw=1, alpha=0.6)
    ends = axis.scores(edges)
    columns = zip(ends[:-1], ends[1:], fraction, error, strict=True)
    return [{"class": name, "from": a, "to": b, "fraction": f, "error": e} for a, b, f, e in columns]


def _count(weight: Array) -> str:
    if (weight == weight[0]).all():
        return f"{len(weight):,} events"
    return f"{len(weight):,} events worth {kish(weight):,.0f}"


def _caption(results: Results, sample: Labelled, cut: Cut | None) -> str:
    cell = results.best_cell
    text = (
        f"Scores of the validation events by class, weighted, each normalised to one ({results.named(cell) if cell else ''})."
    )
    text += " Bars: the error of a bin from its finite number of events."
    if cut is not None and cut.chosen_by != results.objective.name:
        text += f" The objective takes no cut; the dotted line is that of {pretty(cut.chosen_by)}."
    if (sample.label < 0).any():
        text += " Spectators, dashed, are scored but were neither trained on nor counted in any figure of merit."
    return text


def by_class(results: Results, sample: Labelled) -> Iterator[tuple[str, str, Array]]:
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
                yield (f"{name} (spectator)" if label < 0 and name != "spectator" else name), colour, mask
