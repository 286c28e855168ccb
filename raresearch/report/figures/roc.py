"""What passes as the cut is moved: the ROC curve and precision against recall, of the best configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from raresearch.report.cuts import cut_of
from raresearch.report.figures.style import FAINT, INK, MOST_LINES, Drawing, best_of, canvas, look
from raresearch.report.passing import Passing, passing
from raresearch.report.results import Results
from raresearch.types import Array

MOST_TRAININGS = 30  # of a config: the spread of thirty is the spread of a hundred
GRID = np.linspace(0.01, 1.0, 100)


@dataclass(frozen=True)
class Band:
    """One config. ``trainings``: one `Passing` on `GRID` for each of C trainings (repeats and folds)."""

    label: str
    short: str
    trainings: tuple[Passing, ...]

    def mean(self, name: str) -> Array:
        """(G,) mean over trainings of ``passed`` or ``precision``."""
        return np.asarray(np.mean([getattr(t, name) for t in self.trainings], axis=0))

    def spread(self, name: str) -> Array:
        """(G,) sample standard deviation over trainings; NaN for one."""
        if len(self.trainings) < 2:
            return np.full(len(GRID), np.nan)
        return np.asarray(np.std([getattr(t, name) for t in self.trainings], axis=0, ddof=1))

    def events(self) -> tuple[Array, Array]:
        """(G,) ends of the interval of ``passed`` from finite background: mean half-widths of one training's, around the mean."""
        ends = [t.interval() for t in self.trainings]
        down = np.mean([t.passed - low for t, (low, _) in zip(self.trainings, ends, strict=True)], axis=0)
        up = np.mean([high - t.passed for t, (_, high) in zip(self.trainings, ends, strict=True)], axis=0)
        return self.mean("passed") - down, self.mean("passed") + up


def bands(results: Results) -> list[Band]:
    """The best configs, best first."""
    return [_band(results, config) for config in results.ranked()[:MOST_LINES]]


def _band(results: Results, config: str) -> Band:
    cells = [c for r in results.done(config) for c in r.cells][:MOST_TRAININGS]
    return Band(results.labels[config], results.short[config], tuple(passing(results.sample(c), GRID) for c in cells))


def roc(results: Results) -> Drawing | None:
    """Acceptance against background pass fraction, linear and logarithmic; None where nothing is done."""
    found = bands(results)
    if not found:
        return None
    figure = canvas(12, 6.0, results.stamp)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    for number, band in enumerate(found):
        _linear(left, band, number)
        _logarithmic(right, band, number)
    _finish(left, right, found)
    _operating_point(right, results)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 6), fontsize=11)
    return Drawing("roc", "ROC curve", _roc_caption(results, found), _alt(found, "ROC curves"), figure, _rows(found))


def _linear(axes: Any, band: Band, number: int) -> None:
    mean, spread = band.mean("passed"), band.spread("passed")
    axes.plot(mean, GRID, **look(number), lw=1.6)
    axes.fill_betweenx(GRID, mean - spread, mean + spread, color=look(number)["color"], alpha=0.16, lw=0)


def _logarithmic(axes: Any, band: Band, number: int) -> None:
    mean, spread = band.mean("passed"), band.spread("passed")
    shown = np.where(mean > 0, mean, np.nan)
    axes.plot(GRID, shown, **look(number), lw=1.8, label=band.short)
    floor = _floor(band)
    low = np.maximum(mean - spread, floor / 10)
    axes.fill_between(GRID, low, mean + spread, color=look(number)["color"], alpha=0.16, lw=0, where=np.isfinite(shown))
    if number == 0:
        down, up = band.events()
        axes.plot(GRID, np.where(mean > 0, np.maximum(down, floor / 10), np.nan), color=INK, ls=":", lw=1)
        axes.plot(GRID, np.where(mean > 0, up, np.nan), color=INK, ls=":", lw=1, label=f"{band.short}: finite events")


def _floor(band: Band) -> float:
    """The pass fraction of one background event."""
    return 1.0 / max(t.trials for t in band.trainings)


def _finish(left: Any, right: Any, found: list[Band]) -> None:
    left.plot([0, 1], [0, 1], color=FAINT, lw=1, ls="--")
    left.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="background pass fraction", ylabel="signal acceptance")
    one = min(_floor(b) for b in found)
    right.axhline(one, color=FAINT, lw=1, ls="--")
    right.annotate(
        "one background event", (0.99, one), (0, 3), textcoords="offset points", ha="right", color=FAINT, fontsize=10.5
    )
    right.set_yscale("log")
    right.set(xlim=(0, 1), ylim=(one / 2, 1.2), xlabel="signal acceptance", ylabel="background pass fraction")
    right.grid(which="major")
    left.grid()


def _operating_point(axes: Any, results: Results) -> None:
    """Where the best training's cut stands."""
    cell = results.best_cell
    cut = cut_of(results, cell) if cell else None
    if cell is None or cut is None:
        return
    sample = results.sample(cell)
    kept = sample.scores >= cut.threshold
    signal, background = (sample.weight * (sample.label == label) for label in (1, 0))
    point = signal[kept].sum() / signal.sum(), background[kept].sum() / background.sum()
    if point[1] > 0:
        axes.plot(
            [point[0]], [point[1]], "o", mfc="white", mec=INK, mew=1.4, ms=7, label=f"cut of {results.short[cell.config]}"
        )


def precision_recall(results: Results) -> Drawing | None:
    """Precision against recall; None where nothing is done."""
    found = bands(results)
    if not found:
        return None
    figure = canvas(9, 5.8, results.stamp)
    axes = figure.add_subplot()
    for number, band in enumerate(found):
        mean, spread = band.mean("precision"), band.spread("precision")
        axes.plot(GRID, mean, **look(number), label=band.short)
        axes.fill_between(GRID, mean - spread, mean + spread, color=look(number)["color"], alpha=0.16, lw=0)
    share = float(np.mean([b.mean("precision")[-1] for b in found]))
    lowest = min(float(np.nanmin(b.mean("precision"))) for b in found)
    axes.set(xlim=(0, 1), ylim=(max(0.0, lowest - 0.05), 1.01))
    axes.set(xlabel="recall (signal acceptance)", ylabel="precision (signal among events kept)")
    axes.grid()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=min(len(found), 4), fontsize=11)
    caption = (
        f"Precision against recall on validation: {_spread_text(results)}{best_of(len(found), len(results.ranked()))} Precision "
        f"depends on the mix of classes: it holds for that of the validation events, of which {share:.3g} is left where all signal "
        "is kept."
    )
    alt = _alt(found, "Precision against recall")
    return Drawing("precision", "Precision and recall", caption, alt, figure, _rows(found))


def _spread_text(results: Results) -> str:
    what = "repeats and folds" if results.folds > 1 else "repeats"
    shared = "" if results.folds > 1 else " (all on the same events)"
    return f"mean over {what}{shared}; filled bands are one sample standard deviation of single trainings."


def _roc_caption(results: Results, found: list[Band]) -> str:
    return (
        f"What passes as the cut is moved, on validation. Left: the ROC curve; right: the same in the corner where rare events are "
        f"searched, the background's pass fraction on a logarithmic axis. At each acceptance: {_spread_text(results)} Dotted: "
        f"Clopper–Pearson's interval of one sigma from the finite number of background events, for one training of "
        f"{found[0].short}. Curves end where no background is left.{best_of(len(found), len(results.ranked()))}"
    )


def _alt(found: list[Band], what: str) -> str:
    return f"{what} of {len(found)} configs: {', '.join(b.short for b in found)}."


def _rows(found: list[Band]) -> list[Mapping[str, object]]:
    rows: list[Mapping[str, object]] = []
    for band in found:
        low, high = band.events()
        columns = {"acceptance": GRID}
        for name in ("passed", "precision"):
            columns |= {f"{name}_mean": band.mean(name), f"{name}_std": band.spread(name)}
        columns |= {"passed_events_low": low, "passed_events_high": high}
        for at in range(len(GRID)):
            numbers = {n: float(v[at]) for n, v in columns.items()}
            rows.append({"config": band.label, **numbers, "trainings": len(band.trainings)})
    return rows
