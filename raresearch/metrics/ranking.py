"""Scores ranked from high to low with the weights kept so far: what every threshold scan and area is made of.

Legend for axes: M score vectors (members, epochs, ensembles), N events without spectators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.metrics.sample import Events
from raresearch.types import Array


@dataclass(frozen=True, slots=True)
class Ranking:
    """M rankings of the same N events, all (M, N).

    ``scores`` fall along a row; ``signed`` are the events' weights in that order, negative for background; ``signal`` and
    ``background`` are the weights kept down to each place; ``last`` marks the last of equal scores. Only there
    "score >= scores[m, n]" keeps exactly what is cumulated.
    """

    scores: Array
    signed: Array
    signal: Array
    background: Array
    last: Array

    @classmethod
    def of(cls, scores_MN: Array, events: Events) -> Ranking:
        """Rank ``scores_MN`` (finite). O(M N log N) time, O(M N) memory."""
        order = np.argsort(-scores_MN, axis=1)
        # One gather serves both classes: signal weights are positive, background weights negative.
        signed = np.take(np.where(events.signal, events.weights, -events.weights), order)
        # Flat numbers: `take` is five times faster than `take_along_axis` on a million events.
        order += np.arange(len(order))[:, None] * order.shape[1]
        scores = np.take(scores_MN, order)
        last = np.ones(scores.shape, dtype=bool)
        np.not_equal(scores[:, 1:], scores[:, :-1], out=last[:, :-1])
        signal = np.cumsum(np.maximum(signed, 0.0), axis=1)
        background = np.cumsum(np.maximum(-signed, 0.0), axis=1)
        return cls(scores, signed, signal, background, last)

    @property
    def signal_total(self) -> Array:
        """Weight of all signal, (M, 1); the end of the same sum, so that an efficiency reaches exactly 1."""
        return self.signal[:, -1:]

    @property
    def background_total(self) -> Array:
        """Weight of all background, (M, 1)."""
        return self.background[:, -1:]

    @property
    def signal_weights(self) -> Array:
        """Weight of each event in ranked order, 0 for background, (M, N)."""
        return np.maximum(self.signed, 0.0)

    @property
    def background_weights(self) -> Array:
        """Weight of each event in ranked order, 0 for signal, (M, N)."""
        return np.maximum(-self.signed, 0.0)

    def best(self, objective_MN: Array) -> Array:
        """Place (M,) of the largest objective among real thresholds; of equal ones the highest threshold."""
        places: Array = np.where(self.last, objective_MN, -np.inf).argmax(axis=1)
        return places

    def at(self, values_MN: Array, places: Array) -> Array:
        """One entry of each row, (M,)."""
        picked: Array = np.take_along_axis(values_MN, places[:, None], axis=1)[:, 0]
        return picked

    def through_ties(self, cumulated: Array) -> Array:
        """``cumulated`` (M, N, non-decreasing) at the end of each event's group of equal scores."""
        if self.last.all():
            return cumulated
        ends = np.where(self.last, cumulated, np.inf)
        through: Array = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        return through

    def before_ties(self, cumulated: Array) -> Array:
        """``cumulated`` (M, N, non-decreasing) just before each event's group of equal scores."""
        before = np.zeros_like(cumulated)
        before[:, 1:] = np.where(self.last, cumulated, 0.0)[:, :-1]
        return np.maximum.accumulate(before, axis=1, out=before)
