"""How sure the study is: the best config against all others, and where the scatter comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raresearch.errors import DataError, SelectionError
from raresearch.report.numbers import NONE, decimals, fixed
from raresearch.report.results import Repeat, Results
from raresearch.statistics.bootstrap import event_draws
from raresearch.statistics.comparison import Comparison, corrected, decide, shared_variance
from raresearch.statistics.panel import Panel, paired, panel
from raresearch.statistics.variance import VarianceSplit, cell_noise, split

#: repeats a config that enter the bootstrap over events: their common part is seen with a few
REPEATS = 4
#: scores looked at in all bootstraps together: a second or two
WORK = 20_000_000
RESAMPLES = (40, 200)
MOST_COMPARED = 120
MOST_CELLS = 2500  # of a variance split, whose matrices have a row and a column a cell


@dataclass(frozen=True)
class Findings:
    """``comparisons``: the best config against each other one, closest first, p-values corrected (Holm). ``variance``: None
    where nothing was repeated. ``short``: label → its name in figures and tables. ``resamples``: of the bootstrap over
    events. ``notes``: what is missing and why."""

    best: str = ""
    comparisons: tuple[Comparison, ...] = ()
    variance: VarianceSplit | None = None
    short: Mapping[str, str] = field(default_factory=dict)
    resamples: int = 0
    notes: tuple[str, ...] = ()


def find(results: Results) -> Findings:
    """Compare and split. The same results give the same findings."""
    ranked = results.finished() or results.ranked()
    if not ranked:
        return Findings()
    notes: list[str] = []
    resamples = _resamples(results, min(len(ranked), MOST_COMPARED + 1))
    comparisons = _comparisons(results, ranked, resamples, notes) if len(ranked) > 1 else ()
    variance = _variance(results, ranked[0], resamples, notes)
    short = {results.labels[c]: results.short[c] for c in ranked}
    return Findings(results.labels[ranked[0]], tuple(comparisons), variance, short, resamples, tuple(notes))


def _resamples(results: Results, configs: int) -> int:
    events = len(results.sample(results.best_cell).scores) if results.best_cell else 1
    repeats = min(REPEATS, max(len(r) for r in results.repeats.values()))
    least, most = RESAMPLES
    return max(least, min(most, WORK // max(1, configs * repeats * events)))


def _comparisons(results: Results, ranked: Sequence[str], resamples: int, notes: list[str]) -> Sequence[Comparison]:
    first = _panel(results.done(ranked[0])[:REPEATS], results)
    panels: dict[str, Panel] = {}
    if len(ranked) - 1 > MOST_COMPARED:
        notes.append(f"Compared, and corrected for, are the {MOST_COMPARED} nearest of {len(ranked) - 1} others.")
    for config in ranked[1 : MOST_COMPARED + 1]:
        try:
            panels[config] = paired(first, _panel(results.done(config)[:REPEATS], results))[1]
        except (DataError, SelectionError) as error:
            notes.append(f"{results.labels[config]} is not compared: {error}")
    if not panels:
        return ()
    own, *others = event_draws([first, *panels.values()], results.objective, resamples, np.random.default_rng(0))
    sign = 1.0 if results.objective.goal == "max" else -1.0
    best = _values(results, ranked[0])
    found = []
    for config, draws in zip(panels, others, strict=True):
        names = (results.labels[ranked[0]], results.labels[config])
        events = shared_variance(own, draws)
        found.append(
            decide(sign * best, sign * _values(results, config), events, fom=results.objective.name, names=names, sign=sign)
        )
    if any(min(c.repeats_a, c.repeats_b) < 2 for c in found):
        notes.append(
            "A config of one repeat is compared as the one training that it is: how another would do is not in the interval."
        )
    return corrected(found)


def _panel(repeats: Sequence[Repeat], results: Results) -> Panel:
    return panel(results.reader, [c.ensemble for r in repeats for c in r.cells if c.ensemble is not None])


def _values(results: Results, config: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray([r.value(results.objective.name) for r in results.done(config)], dtype=np.float64)


def _variance(results: Results, best: str, resamples: int, notes: list[str]) -> VarianceSplit | None:
    cells = [c for config in results.finished() for r in results.done(config) for c in r.cells]
    if len({(c.seed, c.fold) for c in cells}) < 2:
        return None
    if len(cells) > MOST_CELLS:
        kept = {c.config for c in cells[:MOST_CELLS]}
        cells = cells[:MOST_CELLS]
        notes.append(f"The variance is split over the {len(kept)} best configs.")
    name = results.objective.name
    values = np.asarray([c.estimates[name].value for c in cells])
    config, fold = np.asarray([c.config for c in cells]), np.asarray([c.fold for c in cells])
    ensembles = [c.ensemble for c in cells if c.ensemble is not None and c.config == best and c.seed < 16]
    try:
        noise = cell_noise(results.reader, ensembles, best, results.objective, max(20, min(100, resamples)))
        found = split(values, config, fold, noise.own, noise.common)
    except SelectionError as error:
        notes.append(f"The variance is not split: {error}")
        return None
    if found.seed is None:
        notes.append("The variance is not split: with one repeat, seeds cannot be told from folds.")
        return None
    return found


@dataclass(frozen=True)
class Sheet:
    """A table of text for the page: the first column is the row's name. ``meanings``: column → what it says."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    meanings: tuple[str, ...]
    caption: str


def comparison_sheet(findings: Findings) -> Sheet | None:
    """The comparisons as text."""
    if not findings.comparisons:
        return None
    places = decimals([c.high - c.low for c in findings.comparisons])
    rows = tuple((findings.short[c.b], *_comparison_row(c, places)) for c in findings.comparisons)
    best = findings.short[findings.best]
    header = (f"{best} against", "difference", "interval", "P(better)", "σ", "decided", "to decide")
    meanings = (
        "the other config",
        "of the means over repeats; above 0 where the best config is better",
        "of the difference, one sigma: spread of the repeats, and the events that both share (paired bootstrap)",
        "probability that the best config is better, given repeats and events, not corrected",
        "two-sided significance, corrected for the number of comparisons (Holm)",
        "yes beyond 3 σ; “as trained” where it is for these trainings alone, since one repeat says nothing of the next",
        "more repeats of each, or times as many validation events, that decide at 3 σ with 90 % chance if the difference is as seen",
    )
    caption = (
        f"Is {best} better than the others? It was picked because it looked best on these events, so the comparison is "
        f"kind to it. {findings.resamples} resamples of the events."
    )
    return Sheet(header, rows, meanings, caption)


def _comparison_row(c: Comparison, places: int) -> tuple[str, ...]:
    signed = f"{c.difference:+.{places}f}".replace("-", "−")
    interval = f"[{fixed(c.low, places)}, {fixed(c.high, places)}]"
    decided = "yes" if c.verdict == "A better" else "yes, worse" if c.verdict == "B better" else "no"
    if decided != "no" and min(c.repeats_a, c.repeats_b) < 2:
        decided = "as trained"
    sigmas = "> 37" if c.sigmas > 37 else f"{abs(c.sigmas):.1f}"
    return signed, interval, f"{c.probability:.3f}", sigmas, decided, _plan(c)


def _plan(c: Comparison) -> str:
    if min(c.repeats_a, c.repeats_b) < 2:
        return "repeats, 2 at least"
    if c.verdict != "not decided":
        return NONE
    if c.more_repeats is not None:
        return f"{c.more_repeats:,} repeats"
    if c.events_needed is not None and math.isfinite(c.events_needed):
        return f"{c.events_needed:.3g} × the events"
    return NONE


def variance_sheet(findings: Findings) -> Sheet | None:
    """The variance split as text."""
    if findings.variance is None:
        return None
    v = findings.variance
    parts = (
        ("config", v.config, "what the configs truly differ by"),
        ("fold", v.fold, "the luck of a fold's events, training and validation"),
        ("config × fold", v.config_fold, "configs that suit some folds better than others"),
        ("seed", v.seed, "start values, order of events, dropout"),
        ("seed × events", v.seed_events, "what finite validation events make of each training on its own"),
        ("events", v.events, "the luck of the validation events that trainings share"),
    )
    known = [math.sqrt(value) for _, value, _ in parts if value is not None]
    places = decimals(known)
    rows = tuple((name, fixed(None if value is None else math.sqrt(value), places), what) for name, value, what in parts)
    caption = "Standard deviation of one training's objective by its cause. A dash: this study cannot tell."
    if v.clipped:
        caption += f" Estimates below 0 are given as 0: {', '.join(v.clipped)}."
    return Sheet(("cause", "std", "what it is"), rows, ("", "", ""), caption)
