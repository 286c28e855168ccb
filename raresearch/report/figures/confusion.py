"""The confusion matrix: of each class, how much is kept and how much is rejected at the cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from raresearch.metrics.efficiency import efficiency
from raresearch.metrics.intervals import clopper_pearson
from raresearch.report.cuts import cut_of
from raresearch.report.figures.classes import by_class
from raresearch.report.figures.style import BACKGROUND, FAINT, INK, SIGNAL, Drawing, canvas
from raresearch.report.labels import pretty
from raresearch.report.results import Results
from raresearch.types import ONE_SIGMA, Array


@dataclass(frozen=True)
class Line:
    """One class: its label (1, 0, -1), events kept and rejected, and the weighted fraction kept with its interval."""

    name: str
    label: int
    kept: int
    rejected: int
    fraction: float
    low: float
    high: float


def lines(results: Results) -> tuple[list[Line], str]:
    """The classes, and the name of the figure that chose the cut; of the best repeat, every fold at its own cut."""
    best = results.best_cell
    cut = cut_of(results, best) if best else None
    if best is None or cut is None:
        return [], ""
    found: dict[tuple[str, int], list[tuple[Array, Array]]] = {}
    for cell in next(r for r in results.done(best.config) if r.seed == best.seed).cells:
        own, sample = cut_of(results, cell), results.sample(cell)
        if own is not None:
            for name, _, mask in by_class(results, sample):
                label = int(sample.label[mask][0])
                found.setdefault((name, label), []).append((sample.scores[mask] >= own.threshold, sample.weight[mask]))
    return list(_lines(found)), cut.chosen_by


def _lines(found: Mapping[tuple[str, int], list[tuple[Array, Array]]]) -> Iterator[Line]:
    for (name, label), parts in sorted(found.items(), key=lambda item: (1, 0, -1).index(item[0][1])):
        kept, weight = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if weight.any():
            own = efficiency(kept, weight)
            ends = own.interval(clopper_pearson, ONE_SIGMA)
            yield Line(name, label, int(kept.sum()), int((~kept).sum()), own.value, *ends)


def draw(results: Results) -> Drawing | None:
    """Classes by kept and rejected; None without a cut."""
    found, chosen_by = lines(results)
    best = results.best_cell
    if not found or best is None:
        return None
    figure = canvas(8.6, 1.5 + 0.95 * len(found), results.stamp)
    axes = figure.add_subplot()
    for y, line in enumerate(found):
        _field(axes, 0, y, line.fraction, line.low, line.high, line.kept, right=line.label == 1, wrong=line.label == 0)
        ends = 1 - line.high, 1 - line.low
        _field(axes, 1, y, 1 - line.fraction, *ends, line.rejected, right=line.label == 0, wrong=line.label == 1)
    axes.set(xlim=(-0.5, 1.5), ylim=(len(found) - 0.5, -0.5))
    axes.set_xticks([0, 1], [f"kept\n(score ≥ cut of {pretty(chosen_by)})", "rejected"])
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(found)), [_name(n) for n in found])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    where = f"config {results.short[best.config]}, seed {best.seed}" + (
        f", all {results.folds} folds, each at its own cut" if results.folds > 1 else ""
    )
    caption = (
        f"Events of each class kept and rejected on validation ({where}): weighted fraction with Clopper–Pearson's interval of one "
        "sigma, and number of events. Blue is right, orange is wrong, the deeper the larger the fraction. The cut was chosen on "
        "the same events."
    )
    rows = [vars(line) | {"cut": chosen_by} for line in found]
    alt = "; ".join(f"{line.name}: {line.fraction:.3g} kept" for line in found)
    return Drawing("confusion", "Confusion matrix", caption, alt, figure, rows)


def _name(line: Line) -> str:
    role = {1: "signal", 0: "background", -1: "spectator"}[line.label]
    name = line.name.removesuffix(" (spectator)")
    return name if name == role else f"{name}\n{role}"


def _field(axes: Any, x: int, y: int, value: float, low: float, high: float, n: int, *, right: bool, wrong: bool) -> None:
    from matplotlib.patches import Rectangle

    colour = SIGNAL if right else BACKGROUND if wrong else FAINT
    axes.add_patch(Rectangle((x - 0.49, y - 0.46), 0.98, 0.92, color=colour, alpha=0.06 + 0.42 * value, lw=0))
    text = f"{percent(value, high - low)} $^{{+{percent(high - value, high - low)}}}_{{-{percent(value - low, high - low)}}}$ %"
    axes.text(x, y - 0.08, text, ha="center", va="center", fontsize=15, color=INK)
    axes.text(x, y + 0.3, f"{n:,} events", ha="center", va="center", fontsize=10.5, color=INK)


def percent(value: float, width: float) -> str:
    """Hundred times ``value``, with the digits that an interval of ``width`` deserves.

    >>> percent(0.91234, 0.02), percent(0.0012, 0.0004)
    ('91.2', '0.120')
    """
    places = 1 if width <= 0 else int(np.clip(1 - np.floor(np.log10(50 * width)), 0, 5))
    return f"{100 * value:.{places}f}"
