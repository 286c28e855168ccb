"""Greedy selection on the rejection at fixed acceptance, exact but without looking at most events of most candidates.

A candidate's rejection is 1 - c/N_b, with c the background at or above t, the (L+1)-th lowest signal sum; L signal events
may be lost. Two counts on few events bound c from below:

* where at least L+1 of SOME signal events lie at or below τ, t is at most τ;
* then c is at least the number of SOME background events at or above τ.

The signal events are those that score lowest, the background events those that score highest: between them lies the
threshold. τ is found for each candidate by bisection around the one of the step before. Candidates are then evaluated
exactly in the order of their bounds until the next bound cannot win. Any choice of events and of τ gives the same answer,
only later or sooner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from raresearch.ensembles.forward import Pick
from raresearch.metrics.working_points import ROUNDING
from raresearch.types import Array

ROWS = 128  # candidates handled at once: their few events fit a core's cache
ROUNDS, FRESH_ROUNDS = 7, 13  # bisections of τ; each tightens the bound twofold for one comparison a signal event
MOVE, FRESH_MOVE = 0.02, 0.5  # first move of τ, in units of what a candidate can add
MANY = 128  # exact evaluations in a step that cost more than choosing the few events anew
BATCH = 16  # exact evaluations between two looks at the next bound


@dataclass
class _Subset:
    """The few events. ``signal``, ``background``: event numbers; ``low`` (M, A), ``high`` (M, B) float32: what candidates add there.

    ``shift`` (M,): how much a candidate moves the threshold, from the step before. ``peak``: the largest of
    ``low`` and ``high``, for rounding.
    """

    signal: Array
    background: Array
    low: Array
    high: Array
    shift: Array
    peak: float
    age: int = 0
    exact: int = 0


@dataclass
class RejectionEngine:
    """An `Engine` for `Rejection` of events of equal weight within each class; the same picks as `FomEngine`'s.

    ``parts`` (M, N): what candidates add to a sum, float32 or float64. ``floor`` as in `FomEngine`. ``span``: between which
    values all of ``parts`` lie.
    """

    parts: Array
    label: Array
    acceptance: float = 0.9
    floor: int = 0
    span: tuple[float, float] = (0.0, 1.0)
    signal: Array = field(init=False)
    background: Array = field(init=False)
    lost: int = field(init=False)
    evaluated: int = field(init=False, default=0)
    _subset: _Subset | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.signal, self.background = np.flatnonzero(self.label == 1), np.flatnonzero(self.label == 0)
        # The same rounding as the figure of merit's: 0.9 of 10 events is 9, not 10.
        kept = math.ceil(self.acceptance * (1 - ROUNDING) * len(self.signal))
        self.lost = len(self.signal) - max(kept, 1)
        step = max(1, len(self.parts) // 256)
        self._typical = self.parts[::step].mean(axis=0, dtype=np.float64)

    def scores(self, candidate: int) -> Array:
        return np.asarray(self.parts[candidate], dtype=np.float64)

    def best(self, total_N: Array, size: int, among: Array) -> Pick | None:
        subset = self._events(total_N, size)
        bounds, highest = self._bounds(subset, total_N, among)
        near = self._near(total_N)
        order = np.argsort(bounds, kind="stable")  # of equal bounds the lowest number comes first
        winner, fewest, before = -1, len(self.background) + 1, self.evaluated
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            # A bound that equals the best count can still win by its lower number.
            batch = batch[(bounds[batch] < fewest) | ((bounds[batch] == fewest) & (among[batch] < winner))]
            if not len(batch):
                if bounds[order[start]] > fewest:
                    break
                continue
            counts = [self._passes(total_N, near, size, int(among[place]), float(highest[place])) for place in batch]
            self.evaluated += len(batch)
            for place, count in zip(batch, counts, strict=True):
                candidate = int(among[place])
                if count >= self.floor and (count < fewest or (count == fewest and candidate < winner)):
                    winner, fewest = candidate, count
        subset.age, subset.exact = subset.age + 1, self.evaluated - before
        return None if winner < 0 else Pick(winner, 1.0 - fewest / len(self.background))

    def _near(self, total_N: Array) -> tuple[Array, Array]:
        """Signal and background that any candidate can carry past the threshold: all others stay on their side.

        What is added lies in ``span``, so the threshold moves by no less and no more than that.
        """
        least, most = self.span
        sums = total_N[self.signal]
        threshold = np.partition(sums, self.lost)[self.lost]
        reach = (most - least) * (1 + 1e-9) + 1e-9 * abs(threshold)
        return self.signal[sums <= threshold + reach], self.background[total_N[self.background] >= threshold - reach]

    def _passes(self, total_N: Array, near: tuple[Array, Array], size: int, candidate: int, highest: float) -> int:
        """Background at or above the threshold, exactly. ``highest``: the threshold's sum is not above it."""
        part = self.parts[candidate]
        signal, background = (np.take(total_N, rows) + np.take(part, rows) for rows in near)
        low = signal[signal <= highest]
        threshold = np.partition(low, self.lost)[self.lost]
        # The figure of merit compares means; a division may make equal what was not, never turn an order around.
        open_ = background[background >= threshold - 1e-9 * abs(threshold)]
        return int(np.count_nonzero(open_ / (size + 1) >= threshold / (size + 1)))

    def _events(self, total_N: Array, size: int) -> _Subset:
        """The few events for this step; chosen anew where the last step's left too many candidates open."""
        if self._subset is None or self._subset.exact > MANY:
            self._subset = self._choose_events(total_N + self._typical, size)
        return self._subset

    def _choose_events(self, expected_N: Array, size: int) -> _Subset:
        s, b = expected_N[self.signal], expected_N[self.background]
        spread = 1.0 + 3.0 / (1 + size)  # the fewer members, the further a candidate carries events past the threshold
        n_low = min(len(s), self.lost + 1 + max(200, int(0.4 * spread * self.lost)))
        lowest = np.argsort(s, kind="stable")[:n_low]
        passing = int(np.count_nonzero(b >= s[lowest[self.lost]]))
        n_high = min(len(b), int(1.5 * spread * passing) + 200)
        highest = np.argsort(-b, kind="stable")[:n_high]
        signal, background = np.sort(self.signal[lowest]), np.sort(self.background[highest])  # rising: a gather reads forward

        def gather(rows: slice) -> tuple[Array, Array]:
            part = self.parts[rows]
            return _padded(_columns(part, signal), 0.0), _padded(_columns(part, background), 0.0)

        chunks = [gather(slice(start, start + ROWS)) for start in range(0, len(self.parts), ROWS)]
        low, high = (np.concatenate([c[i] for c in chunks]) for i in (0, 1))
        peak = max(float(np.abs(a).max(initial=0.0)) for a in (low, high))
        return _Subset(signal, background, low, high, np.zeros(len(low), dtype=np.float32), peak)

    def _bounds(self, subset: _Subset, total_N: Array, among: Array) -> tuple[Array, Array]:
        """(K,) lower bounds on the background that passes, and (K,) upper bounds on the threshold's sum."""
        low_total, high_total = total_N[subset.signal], total_N[subset.background]
        centre = np.float32(np.partition(low_total, self.lost)[self.lost])
        # Half an ulp for each of the two roundings to float32 and for their sum, with as much again to spare.
        slack = np.float32(4 * np.finfo(np.float32).eps * (np.abs(total_N).max(initial=0.0) + subset.peak))
        low_total, high_total = _padded(low_total, np.inf), _padded(high_total, -np.inf)

        def bound(rows: Array | slice) -> tuple[Array, Array]:
            sums = subset.low[rows] + low_total
            tau = self._bisect(sums, centre + subset.shift[rows], subset)
            subset.shift[rows] = np.where(np.isinf(tau), subset.peak, tau - centre)  # a better guess for the next step
            passing = count(subset.high[rows] + high_total >= (tau + slack)[:, None])
            return passing, tau.astype(np.float64) + float(slack)

        # One thread: these operations last microseconds, and handing the interpreter's lock over costs more than it gains.
        found = [bound(_run(among[start : start + ROWS])) for start in range(0, len(among), ROWS)]
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])

    def _bisect(self, sums_KA: Array, guess_K: Array, subset: _Subset) -> Array:
        """(K,) values at or below which more than L of each row lie; close to the least such value, if the guess is good."""
        valid = np.full(len(sums_KA), np.inf, dtype=np.float32)  # no bound at all, where no guess was high enough
        rounds, move = (ROUNDS, MOVE) if subset.age else (FRESH_ROUNDS, FRESH_MOVE)
        tried, step = guess_K.astype(np.float32), np.float32(move * subset.peak)
        for _ in range(rounds):
            enough = count(sums_KA <= tried[:, None]) > self.lost
            valid = np.where(enough, np.minimum(valid, tried), valid)
            tried = np.where(enough, tried - step, tried + step)
            step = step / 2
        return valid


def count(mask_KA: Array) -> Array:
    """(K,) True entries of each row; A must be a multiple of 8.

    Eight bytes at a time, each lane a counter of its own: five times faster than `np.count_nonzero` along an axis.

    >>> count(np.arange(32).reshape(2, 16) < 20)
    array([16,  4])
    """
    words = mask_KA.view(np.uint64)
    total = np.zeros(len(words), dtype=np.int64)
    for start in range(0, words.shape[1], 255):  # a lane of a byte counts to 255
        lanes = np.add.reduce(words[:, start : start + 255], axis=1)
        total += lanes.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
    return total


def _run(rows: Array) -> Array | slice:
    """``rows`` as a slice where they are consecutive: a view in place of a copy."""
    return slice(int(rows[0]), int(rows[-1]) + 1) if rows[-1] - rows[0] == len(rows) - 1 else rows


def _columns(rows: Array, numbers: Array) -> Array:
    """``rows[:, numbers]``; "clip" spares the check of every number."""
    return np.take(rows, numbers, axis=1, mode="clip")


def _padded(values: Array, fill: float) -> Array:
    """(..., A) float32 with A filled up to a multiple of 8."""
    missing = -values.shape[-1] % 8
    wide = np.pad(values.astype(np.float32), [(0, 0)] * (values.ndim - 1) + [(0, missing)], constant_values=fill)
    return np.ascontiguousarray(wide)
