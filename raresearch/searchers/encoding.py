"""Many configs at once as arrays, for a Gaussian process.

Legend: N configs, A axes of the space (those that a condition reads first), D features.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from raresearch.searchers.numbers import NumberedSpace, Range
from raresearch.space import Space
from raresearch.types import Array, Config


class Encoding:
    """``space`` as three arrays: codes (N, A), the axes' numbers, NaN where an axis does not exist; units (N, A), the codes
    on the unit interval, each value as wide as it is likely to be drawn; features (N, D), what a kernel compares.

    Features: a number lies between 0 and 1 (on its log scale); a choice of k > 2 values is one-hot in k columns, one of two
    is 0 or 1, one of a single value has no column. An axis that does not exist is imputed with a constant, 0.5 for a number
    and 0 for a choice: configs that differ only in what does not exist are one point, at distance 0.
    """

    def __init__(self, space: Space) -> None:
        self.space = NumberedSpace.of(space)
        self.ranges = tuple(self.space.ranges.values())
        self._column = {name: column for column, name in enumerate(self.space.ranges)}

    @cached_property
    def choices(self) -> Array:
        """(A,) whether an axis is a choice: its values have no neighbours."""
        return np.array([span.unordered for span in self.ranges], dtype=bool)

    def codes(self, configs: Iterable[Config]) -> Array:
        """(N, A) of points of the space."""
        rows = []
        for config in configs:
            numbers = self.space.numbers(config)
            rows.append([float(numbers.get(name, np.nan)) for name in self.space.ranges])
        return np.array(rows, dtype=np.float64).reshape(-1, len(self.ranges))

    def config(self, code: Array) -> Config:
        """The point of one row of codes, in Python's own types."""
        names = self.space.ranges
        return self.space.config({name: float(code[j]) for j, name in enumerate(names) if not np.isnan(code[j])})

    def from_units(self, units: Array) -> Array:
        """Codes of the values whose stretch of the unit interval holds ``units``; conditions decide which of them exist."""
        codes = np.column_stack([_from_unit(span, units[:, j]) for j, span in enumerate(self.ranges)])
        for j, name in enumerate(self.space.ranges):
            for other, allowed in self.space.when.get(name, ()):
                codes[~np.isin(codes[:, self._column[other]], list(allowed)), j] = np.nan
        return codes

    def units(self, codes: Array) -> Array:
        """The middle of each value's stretch; 0.5 where an axis does not exist."""
        columns = [_to_unit(span, codes[:, j]) for j, span in enumerate(self.ranges)]
        units: Array = np.nan_to_num(np.column_stack(columns), nan=0.5)
        return units

    def features(self, codes: Array) -> Array:
        """(N, D) finite, between 0 and 1."""
        return np.hstack([_features(span, codes[:, j]) for j, span in enumerate(self.ranges)])


def _edges(span: Range) -> tuple[float, float]:
    # Half a unit on both sides of whole numbers, so that the ends are as wide as their neighbours.
    margin = 0.5 if span.whole else 0.0
    return float(_scale(span, span.low - margin)), float(_scale(span, span.high + margin))


def _scale(span: Range, numbers: Array | float) -> Array:
    scaled: Array = np.log(numbers) if span.log else np.asarray(numbers, dtype=np.float64)
    return scaled


def _to_unit(span: Range, codes: Array) -> Array:
    low, high = _edges(span)
    unit: Array = (_scale(span, codes) - low) / (high - low)
    return unit


def _from_unit(span: Range, units: Array) -> Array:
    low, high = _edges(span)
    scaled = low + np.clip(units, 0.0, 1.0) * (high - low)
    numbers = np.exp(scaled) if span.log else scaled
    return np.clip(np.rint(numbers) if span.whole else numbers, span.low, span.high)


def _features(span: Range, codes: Array) -> Array:
    missing = np.isnan(codes)
    if span.low == span.high:
        return np.empty((len(codes), 0))
    if span.unordered and span.high > 1:
        return np.asarray(codes[:, None] == np.arange(span.high + 1), dtype=np.float64)
    low, high = _scale(span, span.low), _scale(span, span.high)
    feature: Array = np.where(missing, 0.0 if span.unordered else 0.5, (_scale(span, codes) - low) / (high - low))
    return feature[:, None]
