"""The contract of a figure of merit, and the base class of the built-in ones.

A figure of merit is a pure function of scores, labels and event weights. A stranger's needs only the protocol;
`raresearch.testing.fom_contract.FigureOfMeritContract` says whether it keeps it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from raresearch.errors import DataError, SpecError, nearest
from raresearch.metrics.intervals import check_level
from raresearch.metrics.sample import Events, Sample
from raresearch.types import ONE_SIGMA, Array, Estimate

#: scores per chunk of `values`: some ten temporaries of 2 MiB each, small enough for a cache
CHUNK = 1 << 18


class FigureOfMerit(Protocol):
    """Obligations: stateless, picklable, deterministic; the arrays given are never changed.

    ``goal`` says whether more is better. ``cuts`` is True where the figure is taken at a threshold: signal is kept where
    score >= threshold. ``cites`` are DOIs or arXiv numbers.
    """

    name: ClassVar[str]
    goal: ClassVar[Literal["max", "min"]]
    cites: ClassVar[tuple[str, ...]]

    @property
    def cuts(self) -> bool: ...

    def __call__(
        self,
        scores: npt.ArrayLike,
        labels: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        threshold: float | None = None,
        level: float = ONE_SIGMA,
    ) -> Estimate:
        """Value with interval.

        ``scores`` (N,) on the probability scale, ``labels`` (N,): 1 signal, 0 background, -1 spectator (ignored),
        ``weights`` (N,) >= 0 or None. ``threshold`` None: chosen on this sample and returned in the estimate, which then is
        optimistic where it was chosen for the largest value; given: frozen. DataError where a class is missing, scores are
        NaN or shapes differ; SpecError for a threshold that a figure without a cut cannot use.
        """
        ...

    def values(self, scores_MN: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Array:
        """The values alone, (M,), of M score vectors: `__call__` row by row, in bounded memory."""
        ...


class EventFigure(Protocol):
    """A figure of merit that needs more of the events than scores, labels and weights: their class, say, or an observer.

    ``needs`` names the columns, "class" (numbers) among them. `on` gives the figure for the events whose columns these are, in the
    order of the scores that will be given to it; without it a call raises `DataError`.
    """

    needs: ClassVar[frozenset[str]]

    def on(self, columns: Mapping[str, Array]) -> FigureOfMerit: ...


def on(fom: FigureOfMerit, columns: Mapping[str, Array]) -> FigureOfMerit:
    """``fom`` for the events of ``columns`` (name → (N,)): ``fom`` itself unless it is an `EventFigure`.

    Raises `DataError` where the events lack a column that it needs.
    """
    needs: frozenset[str] = getattr(fom, "needs", frozenset())
    if not needs:
        return fom
    if missing := sorted(needs - set(columns)):
        raise DataError(f"{fom.name}: column {missing[0]!r}", "the events do not have it", nearest(missing[0], columns))
    bound: FigureOfMerit = cast("Any", fom).on({name: columns[name] for name in sorted(needs)})
    return bound


@dataclass(frozen=True)
class Fom(ABC):
    """Base of the built-ins: checks what is given, chunks `values`; a subclass fills `_estimate` and `_values`."""

    name: ClassVar[str]
    goal: ClassVar[Literal["max", "min"]] = "max"
    cites: ClassVar[tuple[str, ...]] = ()

    @property
    def cuts(self) -> bool:
        """Whether the figure is taken at a threshold."""
        return False

    def __call__(
        self,
        scores: npt.ArrayLike,
        labels: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        threshold: float | None = None,
        level: float = ONE_SIGMA,
    ) -> Estimate:
        """See `FigureOfMerit.__call__`."""
        if threshold is not None:
            self._check_threshold(threshold)
        return self._estimate(Sample.of(self.name, scores, labels, weights), threshold, check_level(level))

    def values(self, scores_MN: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Array:
        """See `FigureOfMerit.values`; ``scores_MN`` may be a memory map, it is read in chunks of rows."""
        matrix = np.asarray(scores_MN)
        if matrix.ndim != 2:
            raise DataError(self.name, f"scores have shape {matrix.shape}, rows of scores (M, N) are needed")
        events = Events.of(self.name, labels, weights)
        parts = [self._values(events.scores(self.name, rows), events) for rows in _chunks(matrix)]
        return np.concatenate(parts) if parts else np.empty(0)

    def estimates(
        self, scores_MN: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None, *, level: float = ONE_SIGMA
    ) -> list[Estimate]:
        """`__call__` row by row, (M,), thresholds chosen on each row; events are checked once, and memory is bounded."""
        matrix, found = np.asarray(scores_MN), list[Estimate]()
        if matrix.ndim != 2:
            raise DataError(self.name, f"scores have shape {matrix.shape}, rows of scores (M, N) are needed")
        events, level = Events.of(self.name, labels, weights), check_level(level)
        for rows in _chunks(matrix):
            found += self._estimates(events.scores(self.name, rows), events, level)
        return found

    def _estimates(self, scores_MN: Array, events: Events, level: float) -> list[Estimate]:
        """Estimates (M,) of a checked chunk."""
        return [self._estimate(Sample(row, events), None, level) for row in scores_MN]

    @abstractmethod
    def _estimate(self, sample: Sample, threshold: float | None, level: float) -> Estimate:
        """The estimate of a checked sample."""

    @abstractmethod
    def _values(self, scores_MN: Array, events: Events) -> Array:
        """Values (M,) of a checked chunk."""

    def _check_threshold(self, threshold: float) -> None:
        if not self.cuts:
            raise SpecError(f"{self.name}: threshold {threshold!r}", "this figure uses no threshold", "leave it out")
        if not math.isfinite(threshold):
            raise SpecError(f"{self.name}: threshold {threshold!r}", "must be a finite number")


def estimate(
    value: float,
    ends: tuple[float, float],
    n_effective: float,
    level: float,
    method: str,
    threshold: float | None = None,
    lower_limit: bool = False,
) -> Estimate:
    """An `Estimate` of plain floats whose interval holds its value, rounding notwithstanding."""
    value = float(value)
    low, high = min(float(ends[0]), value), max(float(ends[1]), value)
    at = None if threshold is None else float(threshold)
    return Estimate(value, low, high, float(n_effective), level, method, lower_limit, at)


def check_fraction(place: str, value: float) -> None:
    """SpecError unless ``value`` lies strictly between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < 1.0:
        raise SpecError(f"{place} = {value!r}", "must lie between 0 and 1, both excluded", "for example 0.9")


def check_positive(place: str, value: float | None) -> None:
    """SpecError unless ``value`` is None or a positive, finite number."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value > 0 and math.isfinite(value)):
        raise SpecError(f"{place} = {value!r}", "must be a positive number", "leave it out for the sum found in the sample")


def _chunks(matrix: Array) -> Iterator[Array]:
    rows = max(1, CHUNK // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        yield matrix[start : start + rows]
