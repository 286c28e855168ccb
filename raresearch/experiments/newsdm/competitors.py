"""Conventional competitors of the network, as plain functions of event arrays: rows for a table.

Each fixes its threshold at 30 % of C100keV on validation and carries it to test, as the paper does in Table 1.
Legend: N events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from raresearch.errors import DataError
from raresearch.experiments.newsdm import boosted
from raresearch.experiments.newsdm.shift import shifts
from raresearch.experiments.newsdm.simulator import C100, CLASSES
from raresearch.metrics.intervals import clopper_pearson
from raresearch.types import ONE_SIGMA, Array

ACCEPTANCE = 0.3  #: of C100keV [P] Sec. 3.1
PIXEL = 28.0  #: nm, the default of `data.pixel`


@dataclass(frozen=True, slots=True)
class Sample:
    """Events with their classes: ``frames`` (N, 8, 40, 40), ``class_number`` (N,)."""

    frames: Array
    class_number: Array


@dataclass(frozen=True, slots=True)
class Row:
    """``passed`` of ``of`` events of ``species`` lie at or above ``threshold``: their fraction and its Clopper-Pearson interval."""

    method: str
    split: str
    species: str
    threshold: float
    passed: int
    of: int
    value: float
    low: float
    high: float


def competitors(
    train: Sample,
    validation: Sample,
    test: Sample | None = None,
    *,
    pixel: float = PIXEL,
    seed: int = 0,
    level: float = ONE_SIGMA,
) -> list[Row]:
    """Barycentre shift and boosted trees: the fraction of each class that passes, on validation and, where given, on test.

    ``test`` is for the caller to unseal. Fractions of C100keV on validation are what the threshold was chosen for; those of
    the other classes there do not know of the choice. Raises `DataError` where a class is missing.
    """
    splits = {"train": train, "validation": validation} | ({} if test is None else {"test": test})
    for name, sample in splits.items():
        _refuse_missing(name, sample)
    model = boosted.fit(train.frames, train.class_number, seed)
    methods: Mapping[str, Callable[[Array], Array]] = {
        "barycentre shift": lambda frames: shifts(frames, pixel).length,
        "boosted trees": lambda frames: boosted.scores(model, frames),
    }
    judged = {name: sample for name, sample in splits.items() if name != "train"}
    rows: list[Row] = []
    for method, score in methods.items():
        rows += passing(method, {name: (score(s.frames), s.class_number) for name, s in judged.items()}, level)
    return rows


def passing(method: str, scored: Mapping[str, tuple[Array, Array]], level: float = ONE_SIGMA) -> list[Row]:
    """Rows of one method from split → (scores (N,), class numbers (N,)); ``scored["validation"]`` fixes the threshold."""
    score, class_number = scored["validation"]
    threshold = threshold_of(score[class_number == C100])
    return [
        _row(method, split, number, threshold, score[class_number == number], level)
        for split, (score, class_number) in scored.items()
        for number in range(len(CLASSES))
    ]


def threshold_of(scores: Array, acceptance: float = ACCEPTANCE) -> float:
    """The highest threshold that keeps at least ``acceptance`` of ``scores`` (N,), kept being score >= threshold.

    >>> threshold_of(np.arange(10.0))
    7.0
    """
    place = int(np.ceil(acceptance * len(scores) * (1.0 - 1e-9)))
    return float(np.sort(scores)[len(scores) - max(place, 1)])


def _row(method: str, split: str, number: int, threshold: float, scores: Array, level: float) -> Row:
    passed, of = int((scores >= threshold).sum()), len(scores)
    low, high = clopper_pearson(passed, of, level)
    return Row(method, split, CLASSES[number], threshold, passed, of, passed / of, float(low), float(high))


def _refuse_missing(name: str, sample: Sample) -> None:
    missing = [CLASSES[k] for k in range(len(CLASSES)) if not (sample.class_number == k).any()]
    if missing:
        raise DataError(f"newsdm: {name} events", f"no {missing[0]} among them", "more events, or data.fraction_* in (0, 1)")
