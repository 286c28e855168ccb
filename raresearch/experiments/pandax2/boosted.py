"""Boosted decision trees on the same features, splits and cut: the method that the networks compete with, itself searched.

scikit-learn's histogram gradient boosting and not LightGBM: both grow the same kind of trees on binned features (the former is
modelled on the latter), on ten thousand events of thirteen features they take about a second either way, and scikit-learn comes
with this package's searchers, so that no dependency is added for a competitor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from raresearch.data.dataset import Events
from raresearch.errors import DataError, SpecError
from raresearch.experiments.pandax2.figures import BelowMedianSignificance
from raresearch.metrics.base import FigureOfMerit, on
from raresearch.types import Array, Estimate

#: searched by default: eighteen settings around scikit-learn's own
GRID: Mapping[str, tuple[Any, ...]] = {
    "learning_rate": (0.05, 0.1, 0.2),
    "max_leaf_nodes": (7, 15, 31),
    "l2_regularization": (0.0, 1.0),
}


@dataclass(frozen=True)
class ScoredSplit:
    """Validation events as the trees score them, (N,) each: a `raresearch.experiment.ScoredEvents`."""

    event_id: Array
    scores: Array
    label: Array
    weight: Array
    class_number: Array
    observers: Mapping[str, Array]

    @property
    def columns(self) -> Mapping[str, Array]:
        """What a figure of merit may need besides scores."""
        return {"class": self.class_number, **self.observers}

    def estimate(self, fom: FigureOfMerit, threshold: float | None = None) -> Estimate:
        """``fom`` of these scores."""
        return on(fom, self.columns)(self.scores, self.label, self.weight, threshold=threshold)


@dataclass(frozen=True)
class Boosted:
    """The best trees of the grid. ``options``: their settings; ``tried``: settings and value of each, best first.

    ``test_scores`` (N,) belong to the test events in the order of their ids, ``test_id``: labels are the caller's to unseal.
    """

    options: Mapping[str, Any]
    tried: tuple[tuple[Mapping[str, Any], float], ...]
    validation: ScoredSplit
    test_id: Array
    test_scores: Array


def boosted(
    events: Mapping[str, Events],
    fom: FigureOfMerit | None = None,
    grid: Mapping[str, Sequence[Any]] = GRID,
    seed: int = 0,
    max_iter: int = 300,
) -> Boosted:
    """Trees grown on ``events["train"]``, those that are signal or background, as a network is trained.

    Each point of ``grid`` (options of `HistGradientBoostingClassifier`) keeps as many of ``max_iter`` trees as have the lowest loss on
    the validation events; of all points the one with the best ``fom`` (default: significance below the NR median) on
    validation is taken. So validation is used three times, to stop, to choose and to cut, where it is twice for a network.
    Raises `SpecError` for an empty grid, `DataError` for a split without signal or background.
    """
    points = list(_points(grid))
    if not points:
        raise SpecError("boosted: grid", "has no point", "leave it out for the default one")
    figure = fom or BelowMedianSignificance()
    train, validation, test = (events[split] for split in ("train", "validation", "test"))
    grown = [_grow(train, validation, options, seed, max_iter) for options in points]
    scored = [_scored(validation, _predict(trees, validation)) for trees in grown]
    values = [split.estimate(figure).value for split in scored]
    sign = 1.0 if figure.goal == "max" else -1.0
    order = sorted(range(len(points)), key=lambda n: (-sign * values[n], n))
    best = order[0]
    tried = tuple((points[n], values[n]) for n in order)
    return Boosted(points[best], tried, scored[best], test.event_id, _predict(grown[best], test))


def _points(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _grow(train: Events, validation: Events, options: Mapping[str, Any], seed: int, max_iter: int) -> tuple[Any, int]:
    """Trees, and how many of them have the lowest loss on validation."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    x, y, w = _labelled(train, "train")
    x_val, y_val, w_val = _labelled(validation, "validation")
    # scikit-learn would stop on a random part of the training events; the split's own validation events are to decide.
    trees = HistGradientBoostingClassifier(max_iter=max_iter, random_state=seed, early_stopping=False, **options)
    trees.fit(x, y, sample_weight=w)
    losses = [_log_loss(p[:, 1], y_val, w_val) for p in trees.staged_predict_proba(x_val)]
    return trees, int(np.argmin(losses)) + 1


def _labelled(events: Events, split: str) -> tuple[Array, Array, Array]:
    label, weight = events.label, events.weight
    if label is None or weight is None or not {0, 1} <= set(label.tolist()):
        raise DataError(f"boosted: {split} events", "signal and background are needed", "give more events")
    used = label >= 0
    return _features(events)[used], label[used], weight[used]


def _features(events: Events) -> Array:
    return np.asarray(events.tensors["features"], dtype=np.float32)


def _predict(grown: tuple[Any, int], events: Events) -> Array:
    """Scores (N,) of the trees up to the best number."""
    trees, best = grown
    for n, probability in enumerate(trees.staged_predict_proba(_features(events)), start=1):
        if n == best:
            return np.asarray(probability[:, 1])
    raise DataError("boosted", f"no tree number {best}")


def _log_loss(probability: Array, label: Array, weight: Array) -> float:
    p = np.clip(np.where(label == 1, probability, 1.0 - probability), 1e-12, 1.0)
    return float(-(weight * np.log(p)).sum() / weight.sum())


def _scored(events: Events, scores: Array) -> ScoredSplit:
    label, weight, number = events.label, events.weight, events.class_number
    if label is None or weight is None or number is None:
        raise DataError("boosted: validation events", "have no labels")
    return ScoredSplit(events.event_id, scores, label, weight, number, events.observers)
