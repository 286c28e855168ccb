"""Splits and folds that follow the event id.

Legend: N events, C classes. Splits are numbered as in `SPLITS`: 0 train, 1 validation, 2 test.

An event's place is decided by a hash of its id, so it does not depend on the order of the events, on the block or file
they came in, or (for nominal fractions) on which other events there are.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from raresearch.errors import DataError
from raresearch.types import Array

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, the increment of SplitMix64
_FOLDS = 0x666F6C6473  # "folds": another stream than the splits', so that folds do not follow the split's hash


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of the events; they sum to 1. ``test`` may be 0, the others may not.

    >>> Fractions(0.8, 0.1, 0.1).cuts
    (0.8, 0.9)
    """

    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        for name, value in zip(SPLITS, astuple(self), strict=True):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
                raise DataError(f"fractions.{name}", f"must be a number from 0 to below 1, not {value!r}")
            if value == 0 and name != "test":
                raise DataError(f"fractions.{name}", "must be above 0", "only `test` may be 0")
        if not math.isclose(sum(astuple(self)), 1.0, abs_tol=1e-9):
            raise DataError("fractions", f"must sum to 1, not {sum(astuple(self)):g}", "such as 0.8, 0.1, 0.1")

    @property
    def cuts(self) -> tuple[float, float]:
        """Upper edges of train and validation on [0, 1)."""
        # 1 - test, not train + validation: without a test split the edge must be exactly 1 (0.7 + 0.3 may round below).
        return self.train, 1.0 - self.test

    def to_json(self) -> dict[str, float]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def _mix(x: Array) -> Array:
    """SplitMix64's output function (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195): a bijection of uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = x ^ (x >> np.uint64(31))
    return mixed


def _hash(event_ids: Array, seed: int, stream: int = 0) -> Array:
    """(N,) uint64; different ids never collide, since each step is a bijection for a given seed and stream."""
    ids = np.atleast_1d(np.asarray(event_ids))
    if ids.dtype.kind not in "iu":
        raise DataError("event_id", f"must be whole numbers, not {ids.dtype}")
    key = _mix(np.array([(seed * _GOLDEN + stream) & _MASK], dtype=np.uint64))
    # The id is mixed before the key joins: id + key alone would give seed s, id i the value of seed s + 1, id i - 1.
    return _mix(_mix(ids.astype(np.uint64)) ^ key)


def uniform(event_ids: Array, seed: int) -> Array:
    """A number in [0, 1) for each event id: (N,) integers → (N,) float64 with 53 random bits.

    A counter-based hash (SplitMix64's mixer on the id, keyed by the seed): the number of an event is the same whatever
    else is in the sample. Raises `DataError` for ids that are not whole numbers.
    """
    values: Array = (_hash(event_ids, seed) >> np.uint64(11)) * 2.0**-53
    return values


def assign(event_ids: Array, fractions: Fractions, seed: int) -> Array:
    """Split number of each event, (N,) int8, with the nominal ``fractions`` as thresholds: stable when events are added."""
    return np.searchsorted(np.array(fractions.cuts), uniform(event_ids, seed), side="right").astype(np.int8)


def stratified_thresholds(event_ids: Array, class_numbers: Array, n_classes: int, fractions: Fractions, seed: int) -> Array:
    """Thresholds on `uniform`, (C, 2), that split each class exactly: every count within 1 of its share.

    The counts come from the largest remainders. When events are added, thresholds move a little, and only events
    between the old and the new one change their split.
    """
    thresholds = np.tile(np.array(fractions.cuts), (n_classes, 1))
    values = uniform(event_ids, seed)
    for c in range(n_classes):
        ordered = np.r_[np.sort(values[np.asarray(class_numbers) == c]), 1.0]
        if len(ordered) > 1:
            # The first excluded value is the threshold: `value < threshold` then holds for exactly that many events.
            thresholds[c] = ordered[np.cumsum(shares(len(ordered) - 1, fractions))[:2]]
    return thresholds


def shares(n: int, fractions: Fractions) -> Array:
    """``n`` events divided by largest remainders: (3,) int64 that sum to ``n``.

    >>> shares(7, Fractions(0.6, 0.2, 0.2)).tolist()
    [4, 2, 1]
    """
    quota = n * np.array(astuple(fractions))
    counts = np.floor(quota + 1e-9).astype(np.int64)
    order = np.argsort(-(quota - counts), kind="stable")
    counts[order[: n - int(counts.sum())]] += 1
    return counts


def assign_stratified(event_ids: Array, class_numbers: Array, thresholds: Array, seed: int) -> Array:
    """Split number of each event, (N,) int8, with the ``thresholds`` (C, 2) of its class."""
    edges = thresholds[np.asarray(class_numbers, dtype=np.int64)]
    return np.asarray((uniform(event_ids, seed)[:, None] >= edges).sum(axis=1), dtype=np.int8)


def folds(event_ids: Array, class_numbers: Array, k: int, seed: int) -> Array:
    """Fold (0 … k-1) of each event, (N,) int64, exactly stratified.

    In each class, and in total, fold sizes differ by at most 1. The order within a class is that of a hash of the event id
    (another stream than `assign`'s). Raises `DataError` where ``k < 2`` or a class has fewer events than folds.
    """
    if k < 2:
        raise DataError("folds", f"must be at least 2, not {k}", "without cross-validation leave folds out")
    classes = np.asarray(class_numbers)
    hashed, ids = _hash(event_ids, seed, _FOLDS), np.asarray(event_ids)
    fold = np.empty(len(ids), dtype=np.int64)
    start = 0  # the larger folds of a class begin where the last class's ended, which evens out the totals
    for c in np.unique(classes):
        rows = np.flatnonzero(classes == c)
        if len(rows) < k:
            raise DataError("folds", f"class number {c} has {len(rows)} events for {k} folds", "use fewer folds or more events")
        extra = len(rows) % k
        sizes = np.full(k, len(rows) // k)
        sizes[(start + np.arange(extra)) % k] += 1
        start += extra
        fold[rows[np.argsort(hashed[rows])]] = np.repeat(np.arange(k), sizes)
    return fold


def fractions_from(content: Any) -> Fractions:
    """`Fractions` from a mapping or from three numbers; `DataError` says what is wrong."""
    if isinstance(content, Fractions):
        return content
    if isinstance(content, dict) and set(content) == set(SPLITS):
        return Fractions(**content)
    if isinstance(content, (list, tuple)) and len(content) == 3:
        return Fractions(*content)
    raise DataError("fractions", f"must be three numbers, not {content!r}", "such as [0.8, 0.1, 0.1]")
