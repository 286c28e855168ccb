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
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from raresearch.ensembles.forward import Pick, threaded
from raresearch.metrics.working_points import ROUNDING
from raresearch.types import Array

ROWS = 256  # candidates handled at once: their few events fit a core's cache
ROUNDS, FRESH_ROUNDS = 5, 13  # bisections of τ; each tightens the bound twofold for one comparison a signal event
MOVE, FRESH_MOVE = 0.02, 0.5  # first move of τ, in units of what a candidate can add
MANY = 64  # exact evaluations in a step that cost more than choosing the few events anew
MARGIN = 2.0  # how much further off than needed an event must be to be left out as certain
BATCH = 8  # exact evaluations between two looks at the next bound


@dataclass(frozen=True)
class _Reach:
    """Where the threshold's sum is before a candidate is added, and how far a candidate carries it or an event.

    What is added lies in a span, so the threshold moves by no less and no more than the span's ends: an event that is
    further off than the span is wide stays on its side.
    """

    threshold: float
    width: float
    least: float

    def below(self, total: Array) -> Array:
        """Signal that no candidate lifts above the threshold."""
        return np.asarray(total <= self.threshold - self.width)

    def above(self, total: Array) -> Array:
        """Background that passes with every candidate."""
        return np.asarray(total >= self.threshold + self.width)

    def near(self, total: Array) -> Array:
        """Events that candidates can carry across."""
        return np.asarray(np.abs(total - self.threshold) <= self.width)


@dataclass
class _Subset:
    """The few events. ``signal``, ``background``: event numbers; ``low`` (M, A), ``high`` (M, B) float32: what candidates add there.

    ``below``, ``above``: events that were certain when these were chosen. ``shift`` (M,): how much a candidate moves the
    threshold, from the step before. ``peak``: the largest of ``low`` and ``high``, for rounding. ``size``: of the ensemble then.
    """

    signal: Array
    background: Array
    below: Array
    above: Array
    low: Array
    high: Array
    shift: Array
    peak: float
    size: int
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
        reach = self._reach(total_N)
        subset = self._events(total_N, size, reach)
        bounds, highest = self._bounds(subset, total_N, reach, among)
        passes = self._exact(total_N, size, reach)
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
            self.evaluated += len(batch)
            for candidate, most in zip(among[batch].tolist(), highest[batch].tolist(), strict=True):
                number = passes(candidate, most)
                if number >= self.floor and (number < fewest or (number == fewest and candidate < winner)):
                    winner, fewest = candidate, number
        subset.age, subset.exact = subset.age + 1, self.evaluated - before
        return None if winner < 0 else Pick(winner, 1.0 - fewest / len(self.background))

    def _reach(self, total_N: Array) -> _Reach:
        threshold = float(np.partition(total_N[self.signal], self.lost)[self.lost])
        least, most = self.span
        return _Reach(threshold, (most - least) * (1 + 1e-9) + 1e-9 * abs(threshold), least)

    def _exact(self, total_N: Array, size: int, reach: _Reach) -> Callable[[int, float], int]:
        """(candidate, a value that its threshold's sum does not exceed) → background at or above its threshold, exactly."""
        sums = total_N[self.signal], total_N[self.background]
        signal, background = (rows[reach.near(s)] for rows, s in zip((self.signal, self.background), sums, strict=True))
        below = int(np.count_nonzero(sums[0] < reach.threshold - reach.width))
        above = int(np.count_nonzero(sums[1] > reach.threshold + reach.width))
        near_signal, near_background = total_N[signal], total_N[background]

        def passes(candidate: int, most: float) -> int:
            part = self.parts[candidate]
            low = near_signal + np.take(part, signal)
            low = low[low <= most]
            threshold = np.partition(low, self.lost - below)[self.lost - below]
            # The figure of merit compares means; a division may make equal what was not, never turn an order around.
            open_ = near_background + np.take(part, background)
            open_ = open_[open_ >= threshold - 1e-9 * abs(threshold)]
            return above + int(np.count_nonzero(open_ / (size + 1) >= threshold / (size + 1)))

        return passes

    def _events(self, total_N: Array, size: int, reach: _Reach) -> _Subset:
        """The few events for this step; chosen anew where the last step's left too many candidates open, or far fewer would do."""
        old = self._subset
        if old is None or old.exact > MANY or size >= 2 * max(old.size, 1):
            old = self._subset = self._choose_events(total_N, size, reach)
        return old

    def _choose_events(self, total_N: Array, size: int, reach: _Reach) -> _Subset:
        expected = total_N + self._typical
        s, b = expected[self.signal], expected[self.background]
        spread = 1.0 + 3.0 / (1 + size)  # the fewer members, the further a candidate carries events past the threshold
        n_low = min(len(s), self.lost + 1 + max(200, int(0.4 * spread * self.lost)))
        lowest = np.argpartition(s, n_low - 1)[:n_low]
        passing = int(np.count_nonzero(b >= np.partition(s, self.lost)[self.lost]))
        n_high = min(len(b), int(1.5 * spread * passing) + 200)
        highest = np.argpartition(-b, n_high - 1)[:n_high]
        # In rising order, so that a gather reads forward.
        signal, background = np.sort(self.signal[lowest]), np.sort(self.background[highest])
        # With room to spare, so that they are still certain after some steps more: those that are not would loosen the bounds.
        wider = replace(reach, width=MARGIN * reach.width)
        certain = wider.below(total_N[signal]), wider.above(total_N[background])
        below, above, signal, background = (
            signal[certain[0]],
            background[certain[1]],
            signal[~certain[0]],
            background[~certain[1]],
        )
        low, high = self._gather(signal), self._gather(background)
        peak = max(float(a.max(initial=0.0)) for a in (low, -low, high, -high))
        shift = np.zeros(len(low), dtype=np.float32) if self._subset is None else self._subset.shift
        return _Subset(signal, background, below, above, low, high, shift, peak, size)

    def _gather(self, events: Array) -> Array:
        """(M, A) float32 of the events' columns; the last is repeated until A is a multiple of 8 (see `count`)."""
        wide = np.pad(events, (0, -len(events) % 8), mode="edge") if len(events) else events
        found = np.empty((len(self.parts), len(wide)), dtype=np.float32)

        def fill(start: int) -> None:
            # "clip" spares the check of every number.
            found[start : start + ROWS] = np.take(self.parts[start : start + ROWS], wide, axis=1, mode="clip")

        threaded(fill, range(0, len(found), ROWS))
        return found

    def _bounds(self, subset: _Subset, total_N: Array, reach: _Reach, among: Array) -> tuple[Array, Array]:
        """(K,) lower bounds on the background that passes, and (K,) upper bounds on the threshold's sum."""
        needed = self.lost + 1 - int(np.count_nonzero(reach.below(total_N[subset.below])))
        above = int(np.count_nonzero(reach.above(total_N[subset.above])))
        centre, least = np.float32(reach.threshold), np.float32(reach.threshold + reach.least)
        # Half an ulp for each of the two roundings to float32 and for their sum, with as much again to spare.
        slack = np.float32(4 * np.finfo(np.float32).eps * (np.abs(total_N).max(initial=0.0) + subset.peak))
        low_total = _padded(total_N[subset.signal], subset.low.shape[1], np.inf)
        high_total = _padded(total_N[subset.background], subset.high.shape[1], -np.inf)

        def bound(rows: Array | slice) -> tuple[Array, Array]:
            guess = centre + subset.shift[rows]
            tau = _bisect(subset.low[rows] + low_total, guess, needed, subset.peak, fresh=subset.size == 0 and subset.age == 0)
            tau = np.maximum(tau, least)  # the threshold is no lower, and only there are the events below certain to count
            subset.shift[rows] = np.where(np.isinf(tau), subset.shift[rows], tau - centre)  # a better guess for the next step
            passing = count(subset.high[rows] + high_total >= (tau + slack)[:, None])
            return passing + above, tau.astype(np.float64) + float(slack)

        found = threaded(lambda start: bound(_run(among[start : start + ROWS])), range(0, len(among), ROWS))
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _bisect(sums_KA: Array, guess_K: Array, needed: int, peak: float, fresh: bool) -> Array:
    """(K,) values at or below which ``needed`` of each row lie; close to the least such value, if the guess is good."""
    valid = np.full(len(sums_KA), np.inf, dtype=np.float32)  # no bound at all, where no guess was high enough
    failed = np.full(len(sums_KA), -np.inf, dtype=np.float32)
    rounds, move = (FRESH_ROUNDS, FRESH_MOVE) if fresh else (ROUNDS, MOVE)
    tried = guess_K.astype(np.float32)
    step = np.full(len(tried), move * peak, dtype=np.float32)
    for _ in range(rounds):
        enough = count(sums_KA <= tried[:, None]) >= needed
        valid, failed = np.where(enough, np.minimum(valid, tried), valid), np.where(enough, failed, np.maximum(failed, tried))
        # Strides double until the value is between two tries, then halve.
        step = np.where(np.isfinite(valid) & np.isfinite(failed), (valid - failed) / 2, step * 2)
        tried = np.where(enough, valid - step, failed + step)
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


def _padded(values: Array, width: int, fill: float) -> Array:
    """(width,) float32: ``values``, then ``fill``."""
    return np.pad(values.astype(np.float32), (0, width - len(values)), constant_values=fill)
