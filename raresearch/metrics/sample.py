"""Events that enter a figure of merit: checked once, spectators left out, float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raresearch.errors import DataError
from raresearch.types import Array

_ORDINAL = {1: "signal", 0: "background"}


def kish(weights: Array) -> float:
    """Effective number of events, (Σw)²/Σw² (Kish, Survey Sampling, 1965); 0 for no events or weights of zero only.

    >>> kish(np.ones(7)), round(kish(np.array([3.0, 1.0])), 6), kish(np.array([]))
    (7.0, 1.6, 0.0)
    """
    peak = float(weights.max(initial=0.0))
    if peak == 0.0:
        return 0.0
    relative = weights / peak  # squares of very small or large weights would leave the range of a float
    return float(relative.sum()) ** 2 / float(relative @ relative)


@dataclass(frozen=True, slots=True)
class Events:
    """Labels and weights of N events without spectators: ``signal`` (N,) bool, ``weights`` (N,) float64.

    ``used`` is the mask of non-spectators among the ``given`` events, None where all are used; ``unit`` is True where no
    weights were given.
    """

    signal: Array
    weights: Array
    used: Array | None
    given: int
    unit: bool

    @classmethod
    def of(cls, place: str, labels: npt.ArrayLike, weights: npt.ArrayLike | None) -> Events:
        """Checked events. DataError: shapes, labels other than 1, 0, -1, bad weights, one class only."""
        raw = np.asarray(labels)
        if raw.ndim != 1:
            raise DataError(place, f"labels have shape {raw.shape}, one number for each event is needed")
        if not ((raw == 1) | (raw == 0) | (raw == -1)).all():
            raise DataError(place, "labels must be 1 (signal), 0 (background) or -1 (spectator)", "map the classes first")
        w = _weights(place, weights, len(raw))
        spectators = raw < 0
        used = ~spectators if spectators.any() else None
        signal = raw == 1 if used is None else raw[used] == 1
        events = cls(signal, w if used is None else w[used], used, len(raw), weights is None)
        events._refuse_one_class(place)
        return events

    def scores(self, place: str, scores_MN: npt.ArrayLike) -> Array:
        """Scores (..., N) as float64 without spectators. DataError: another length, or NaN or infinite scores."""
        raw = np.asarray(scores_MN)
        if raw.shape[-1] != self.given:
            raise DataError(place, f"scores have shape {raw.shape} but there are {self.given} labels")
        kept: Array = np.asarray(raw if self.used is None else raw[..., self.used], dtype=np.float64)
        if not np.isfinite(kept).all():
            nan = int(np.isnan(kept).sum())
            count = f"{nan} NaN" if nan else f"{int(np.isinf(kept).sum())} infinite"
            raise DataError(place, f"{count} among {kept.size} scores", "drop the failed training or mend its loss")
        return kept

    def _refuse_one_class(self, place: str) -> None:
        for label, name in _ORDINAL.items():
            if not (self.weights * (self.signal == label)).any():
                other = _ORDINAL[1 - label]
                what = f"only {other} events" if len(self.signal) else "no events"
                rule = f"{what}: a figure of merit needs signal and background of positive weight"
                raise DataError(place, rule, f"add {name} events")


@dataclass(frozen=True, slots=True)
class Sample:
    """One score vector with its events: all (N,), finite, both classes present with positive weight."""

    scores: Array
    events: Events

    @classmethod
    def of(cls, place: str, scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None) -> Sample:
        """Checked sample; DataError as in `Events`."""
        if np.ndim(scores) != 1:
            raise DataError(place, f"scores have shape {np.shape(scores)}, one number for each event is needed")
        events = Events.of(place, labels, weights)
        return cls(events.scores(place, scores), events)


def _weights(place: str, weights: npt.ArrayLike | None, n: int) -> Array:
    if weights is None:
        return np.ones(n)
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (n,):
        raise DataError(place, f"weights have shape {w.shape} but there are {n} labels")
    if not (np.isfinite(w) & (w >= 0)).all():
        bad = int((~(np.isfinite(w) & (w >= 0))).sum())
        raise DataError(place, f"{bad} weights are negative, NaN or infinite", "intervals need weights of zero or more")
    return w
