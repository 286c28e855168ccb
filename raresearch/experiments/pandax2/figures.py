"""Figures of merit of the whole argument: significance below the NR median, ER efficiency, expected limit, all at one cut.

They need the events' class and observers (`raresearch.metrics.base.on`), because those that matter, ER and NR above the median,
are spectators in most trainings. The cut is the paper's: S of NR against accidentals below the NR median is largest, whatever
was trained on, so that networks of both strategies and boosted trees are compared on the same terms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt

from raresearch.errors import DataError, SpecError
from raresearch.experiments.pandax2.simulator import CLASSES
from raresearch.metrics.base import FigureOfMerit, check_positive, estimate
from raresearch.metrics.efficiency import efficiency
from raresearch.metrics.intervals import CLOPPER_PEARSON, check_level, clopper_pearson
from raresearch.metrics.significance import Significance
from raresearch.types import ONE_SIGMA, Array, Estimate

_ACC, _NR, _ER = (CLASSES.index(name) for name in ("ACC", "NR", "ER"))
_PAPER = "10.1088/1748-0221/18/06/T06002"


@dataclass(frozen=True)
class Scored:
    """Checked events: all (N,). ``below``: under the NR median."""

    scores: Array
    class_number: Array
    s1: Array
    distance: Array
    weights: Array

    @property
    def label(self) -> Array:
        """1 for NR below the median, 0 for accidentals below it, -1 for all others."""
        below = self.distance < 0.0
        recoil, pair = (self.class_number == c for c in (_NR, _ACC))
        return np.where(below & recoil, 1, np.where(below & pair, 0, -1)).astype(np.int8)

    def at(self, significance: Significance) -> float:
        """The cut where ``significance`` below the NR median is largest."""
        return float(significance(self.scores, self.label, self.weights).threshold or 0.0)


@dataclass(frozen=True)
class AtTheCut(ABC):
    """Base: the expected numbers of Eq. 4.1 (976, see pandax2_mlp.yaml) that fix the cut. Labels given to a call are ignored."""

    n_signal: float = 976.0
    n_background: float = 976.0
    name: ClassVar[str]
    goal: ClassVar[Literal["max", "min"]] = "max"
    cites: ClassVar[tuple[str, ...]] = (_PAPER,)
    needs: ClassVar[frozenset[str]] = frozenset({"class", "qS1c", "log_ratio_to_nr_median"})

    def __post_init__(self) -> None:
        check_positive(f"{self.name}: n_signal", self.n_signal)
        check_positive(f"{self.name}: n_background", self.n_background)

    @property
    def cuts(self) -> bool:
        return True

    @property
    def significance(self) -> Significance:
        """S that fixes the cut."""
        return Significance(self.n_signal, self.n_background)

    def on(self, columns: Mapping[str, Array]) -> FigureOfMerit:
        """The figure for the events of ``columns``."""
        # One figure's constants, but those of an object here: the protocol declares them on the class.
        return cast(FigureOfMerit, OnEvents(self, columns))

    def __call__(
        self,
        scores: npt.ArrayLike,
        labels: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        threshold: float | None = None,
        level: float = ONE_SIGMA,
    ) -> Estimate:
        """Always `DataError`: scores alone do not say which events are ER, nor where they lie."""
        raise self._alone()

    def values(self, scores_MN: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Array:
        """Always `DataError`, as a call."""
        raise self._alone()

    def _alone(self) -> DataError:
        needs = ", ".join(sorted(self.needs))
        return DataError(self.name, f"needs the events' {needs}", "raresearch.metrics.base.on(fom, columns) gives it them")

    @abstractmethod
    def at_cut(self, events: Scored, threshold: float | None, level: float) -> Estimate:
        """The estimate at ``threshold``, or at the cut that the events fix where None."""

    def many(self, events: list[Scored]) -> Array:
        """Values of several score vectors; a subclass may have a faster way."""
        return np.asarray([self.at_cut(e, None, ONE_SIGMA).value for e in events], dtype=np.float64)


@dataclass(frozen=True)
class OnEvents:
    """A figure and the events' columns (N,): a `FigureOfMerit` for score vectors of just these events."""

    figure: AtTheCut
    columns: Mapping[str, Array] = field(compare=False)

    @property
    def name(self) -> str:
        return self.figure.name

    @property
    def goal(self) -> Literal["max", "min"]:
        return self.figure.goal

    @property
    def cites(self) -> tuple[str, ...]:
        return self.figure.cites

    @property
    def cuts(self) -> bool:
        return self.figure.cuts

    def __call__(
        self,
        scores: npt.ArrayLike,
        labels: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        threshold: float | None = None,
        level: float = ONE_SIGMA,
    ) -> Estimate:
        """See `FigureOfMerit.__call__`; ``labels`` are not looked at, the events' class is."""
        return self.figure.at_cut(self._events(scores, weights), threshold, check_level(level))

    def values(self, scores_MN: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Array:
        """See `FigureOfMerit.values`."""
        return self.figure.many([self._events(row, weights) for row in np.asarray(scores_MN)])

    def _events(self, scores: npt.ArrayLike, weights: npt.ArrayLike | None) -> Scored:
        found = np.asarray(scores, dtype=np.float64)
        number, s1, distance = (np.asarray(self.columns[n]) for n in ("class", "qS1c", "log_ratio_to_nr_median"))
        weight = np.ones(len(number)) if weights is None else np.asarray(weights, dtype=np.float64)
        if found.shape != number.shape or weight.shape != number.shape:
            rule = f"scores have shape {found.shape}, weights {weight.shape}, but there are {len(number)} events"
            raise DataError(self.name, rule)
        if not np.isfinite(found).all():
            rule = f"{int((~np.isfinite(found)).sum())} of {found.size} scores are NaN or infinite"
            raise DataError(self.name, rule, "drop the failed training or mend its loss")
        if not (weight * (number == _ER)).any():
            raise DataError(self.name, "no ER events", "give data.fraction_acc + data.fraction_nr less than 1")
        return Scored(found, number, s1, distance, weight)


@dataclass(frozen=True)
class BelowMedianSignificance(AtTheCut):
    """S (Eq. 4.1) of NR against accidentals below the NR median, as `Significance`, also where all NR were trained on."""

    name: ClassVar[str] = "significance_below"

    def at_cut(self, events: Scored, threshold: float | None, level: float) -> Estimate:
        return self.significance(events.scores, events.label, events.weights, threshold=threshold, level=level)


@dataclass(frozen=True)
class ElectronEfficiency(AtTheCut):
    """Fraction of ER that the cut keeps, with Clopper and Pearson's interval; the choice of the cut is not in it."""

    name: ClassVar[str] = "er_efficiency"
    cites: ClassVar[tuple[str, ...]] = (_PAPER, CLOPPER_PEARSON)

    def at_cut(self, events: Scored, threshold: float | None, level: float) -> Estimate:
        cut = events.at(self.significance) if threshold is None else threshold
        er = events.class_number == _ER
        found = efficiency(events.scores[er] >= cut, events.weights[er])
        return estimate(found.value, found.interval(clopper_pearson, level), found.trials, level, "Clopper–Pearson", cut)


def check_choice(place: str, value: object, among: tuple[str, ...]) -> None:
    """SpecError unless ``value`` is one of ``among``."""
    if value not in among:
        raise SpecError(f"{place} = {value!r}", f"must be one of {', '.join(among)}")
