"""Greedy forward selection with replacement (Caruana, Niculescu-Mizil, Crew, Ksikes, ICML 2004, doi 10.1145/1015330.1015432).

Legend: M candidates, N events. An ensemble is a multiset of candidates, its score their mean; each step adds the candidate
that makes the figure of merit best. Sums are kept in double precision in the order of the picks, so that every engine and
every machine sees the same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from raresearch.metrics.base import FigureOfMerit
from raresearch.metrics.sample import kish
from raresearch.types import Array

T = TypeVar("T")
R = TypeVar("R")
#: NumPy leaves the interpreter's lock in sorting and arithmetic; more threads than this only share the memory's bandwidth
THREADS = min(2, os.cpu_count() or 1)
#: scores that one call to a figure of merit gets: its temporaries then fit a core's cache
BLOCK = 1 << 16


@dataclass(frozen=True)
class Pick:
    """A candidate and the figure of merit, higher is better, of the ensemble with it."""

    candidate: int
    value: float


class Engine(Protocol):
    """Finds the next pick. Obligations: of equal values the lowest candidate number wins; nothing random."""

    def best(self, total_N: Array, size: int, among: Array) -> Pick | None:
        """The best of ``among`` (numbers, rising) to add to ``size`` picks that sum to ``total_N``; None where none may be."""

    def scores(self, candidate: int) -> Array:
        """(N,) float64: what the candidate adds to a sum."""


@dataclass(frozen=True)
class Path:
    """Picks in order; ``start`` of them were set before anything was compared."""

    picks: tuple[Pick, ...]
    start: int

    def best(self) -> tuple[Pick, ...]:
        """The shortest beginning (of at least ``start``) with the best value: later picks that gained nothing are left out."""
        values = [p.value for p in self.picks[self.start - 1 :]]
        return self.picks[: self.start + int(np.argmax(values))] if values else self.picks


def forward(engine: Engine, among: Array, steps: int, initial: int, n_events: int) -> Path:
    """``initial`` candidates that are best alone, each once, then picks up to ``steps`` in all.

    ``among`` (K,): candidate numbers in rising order. Ends early where no candidate may be added.
    """
    total, picks = np.zeros(n_events), list[Pick]()
    left = among
    for _ in range(min(initial, steps, len(among))):
        alone = engine.best(np.zeros(n_events), 0, left)
        if alone is None:
            break
        left = left[left != alone.candidate]
        total = total + engine.scores(alone.candidate)
        picks.append(alone)
    start = max(1, len(picks))
    while picks and len(picks) < steps:
        found = engine.best(total, len(picks), among)
        if found is None:
            break
        total = total + engine.scores(found.candidate)
        picks.append(found)
    return Path(tuple(picks), start)


@dataclass(frozen=True)
class FomEngine:
    """Any figure of merit: every candidate is evaluated at every step, by ``fom.values``.

    ``parts`` (M, N) are what candidates add (see `combine.additive`), ``finish`` turns their mean into a score.
    ``floor``: the least number of background events (Kish's where weighted) that the cut must leave.
    """

    parts: Array
    label: Array
    weight: Array | None
    fom: FigureOfMerit
    finish: Callable[[Array], Array]
    floor: int = 0

    def scores(self, candidate: int) -> Array:
        return np.asarray(self.parts[candidate], dtype=np.float64)

    def best(self, total_N: Array, size: int, among: Array) -> Pick | None:
        sign = 1.0 if self.fom.goal == "max" else -1.0

        def evaluate(rows: Array) -> Array:
            mean = (total_N + self.parts[rows]) / (size + 1)
            return sign * self.fom.values(self.finish(mean), self.label, self.weight)

        values: Array = np.concatenate(threaded(evaluate, blocks(among, len(total_N))))
        # NaN is never best.
        for place in np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable"):
            if self._enough((total_N + self.parts[among[place]]) / (size + 1)):
                return Pick(int(among[place]), float(values[place]))
        return None

    def _enough(self, mean_N: Array) -> bool:
        if self.floor == 0 or not self.fom.cuts:
            return True
        scores = self.finish(mean_N)
        threshold = self.fom(scores, self.label, self.weight).threshold
        kept = (self.label == 0) & (scores >= (-np.inf if threshold is None else threshold))
        weight = np.ones(len(scores)) if self.weight is None else self.weight
        return kish(weight[kept]) >= self.floor * (1 - 1e-9)


def blocks(rows: Array, n_events: int) -> list[Array]:
    """``rows`` in pieces of about `BLOCK` scores."""
    size = max(1, BLOCK // max(1, n_events))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def threaded(work: Callable[[T], R], items: Sequence[T] | Iterable[T]) -> list[R]:
    """``work`` of every item, in order, on `THREADS` threads."""
    items = list(items)
    if len(items) < 2 or THREADS < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))
