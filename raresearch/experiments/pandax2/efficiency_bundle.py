"""Fig. 4 and 5: the efficiency of ER, NR and accidentals against S1, one curve for each training of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from raresearch.errors import DataError, SpecError, nearest
from raresearch.experiment import ReadOut, ScoredEvents
from raresearch.experiments.pandax2.figures import BelowMedianSignificance
from raresearch.experiments.pandax2.simulator import CLASSES
from raresearch.metrics.base import on
from raresearch.metrics.efficiency import efficiency
from raresearch.metrics.intervals import check_level, clopper_pearson
from raresearch.types import ONE_SIGMA, Array

#: qS1 in PE, as in the paper's Fig. 4
QS1_EDGES = (3.0, 6.0, 9.0, 12.0, 16.0, 20.0, 25.0, 30.0, 37.0, 45.0)


@dataclass(frozen=True)
class Bundle:
    """Curves of R trainings in B bins: ``edges`` (B+1,), ``threshold`` (R,), and for each class of ``classes`` (3 of them) the
    efficiency ``value`` with ``low`` and ``high`` (3, R, B), NaN where a bin has no event, and ``events`` (3, B), effective ones."""

    observer: str
    classes: tuple[str, ...]
    edges: Array
    threshold: Array
    value: Array
    low: Array
    high: Array
    events: Array

    def spread(self, name: str) -> Array:
        """(B,) standard deviation over trainings of one class's efficiency; NaN for a single training."""
        mine = self.value[self.classes.index(name)]
        return np.asarray(mine.std(axis=0, ddof=1)) if len(mine) > 1 else np.full(mine.shape[1], np.nan)


def efficiency_bundle(
    samples: Sequence[ScoredEvents],
    thresholds: Sequence[float],
    observer: str = "qS1",
    edges: Sequence[float] = QS1_EDGES,
    level: float = ONE_SIGMA,
) -> Bundle:
    """The bundle of ``samples``, R trainings on the same events, each kept at and above its own of ``thresholds``.

    Clopper and Pearson's intervals, each of one bin and training: the trainings share their events. Raises `SpecError` for edges
    that do not rise or a number of thresholds that differs, `DataError` for an unknown observer or no sample.
    """
    check_level(level)
    bounds = np.asarray(edges, dtype=np.float64)
    if bounds.ndim != 1 or len(bounds) < 2 or not (np.diff(bounds) > 0).all():
        raise SpecError(f"edges {list(edges)!r}", "must rise, at least two of them")
    if not samples or len(samples) != len(thresholds):
        raise DataError("efficiency bundle", f"{len(samples)} samples and {len(thresholds)} thresholds given")
    if observer not in samples[0].observers:
        raise DataError(f"column {observer!r}", "the events do not have it", nearest(observer, samples[0].observers))
    made = np.stack(
        [_curves(s, t, s.observers[observer], bounds, level) for s, t in zip(samples, thresholds, strict=True)], axis=1
    )
    value, low, high, events = np.moveaxis(made, -1, 0)
    return Bundle(observer, CLASSES, bounds, np.asarray(thresholds, dtype=np.float64), value, low, high, events[:, 0])


def _curves(sample: ScoredEvents, threshold: float, values: Array, edges: Array, level: float) -> Array:
    """(classes, bins, 4): value, low, high, events of one training."""
    found = np.full((len(CLASSES), len(edges) - 1, 4), np.nan)
    found[:, :, 3] = 0.0
    place = np.searchsorted(edges, values, side="right") - 1
    for c in range(len(CLASSES)):
        for b in range(len(edges) - 1):
            mine = (sample.class_number == c) & (place == b) & (sample.weight > 0)
            if mine.any():
                kept = efficiency(sample.scores[mine] >= threshold, sample.weight[mine])
                found[c, b] = (kept.value, *kept.interval(clopper_pearson, level), kept.trials)
    return found


def cut_of(sample: ScoredEvents) -> float:
    """The threshold where the significance of ``sample`` below the NR median is largest."""
    columns = {"class": sample.class_number, **sample.observers}
    return float(on(BelowMedianSignificance(), columns)(sample.scores, sample.label, sample.weight).threshold or 0.0)


def tables(scored: Mapping[str, Sequence[ScoredEvents]]) -> tuple[ReadOut, ...]:
    """Over the trainings of each split in ``scored``, one row a class and bin; cuts are those of "validation"."""
    cuts = [cut_of(sample) for sample in scored["validation"]]
    return tuple(_table(split, efficiency_bundle(samples, cuts)) for split, samples in scored.items())


def _table(split: str, bundle: Bundle) -> ReadOut:
    rows = []
    for c, name in enumerate(bundle.classes):
        for b, (low, high) in enumerate(pairwise(bundle.edges.tolist())):
            if bundle.events[c, b] > 0:
                each = bundle.value[c, :, b]
                wide = float(np.median(bundle.high[c, :, b] - bundle.low[c, :, b])) / 2
                spread = float(each.std(ddof=1)) if len(each) > 1 else None
                numbers = (float(each.mean()), spread, float(each.min()), float(each.max()), wide, float(bundle.events[c, b]))
                rows.append((name, low, high, *numbers))
    columns = ("class", "qS1 from (PE)", "to", "efficiency", "sd over repeats", "min", "max", "± of one, from events", "events")
    note = f"On {split}, at each repeat's cut of largest significance below the NR median, fixed on validation."
    return ReadOut(f"Efficiency against S1 ({split})", columns, tuple(rows), note)
