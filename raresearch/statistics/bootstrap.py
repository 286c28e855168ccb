"""Bootstraps over events, over repeats, and over both.

Model of repeat r on finite events: y_r = μ + s_r + e + i_r. The seed's part s_r and the part i_r that events and seed make
together shrink with more repeats; e, the luck of the events that all repeats share, does not. The spread of the repeats
shows s + i; resampling events shows e as what the repeats' draws have in common, and i as what they have not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from raresearch.errors import SpecError
from raresearch.metrics.base import CHUNK, FigureOfMerit
from raresearch.metrics.intervals import check_level
from raresearch.statistics.panel import Block, Panel
from raresearch.types import ONE_SIGMA, Array, Estimate

#: repeats that enter a bootstrap over events: their common part is seen as well with 16 as with 100
MOST = 16


@dataclass(frozen=True)
class EventNoise:
    """Variances of one repeat's value from finite events: ``common`` to all repeats, and each repeat's ``own``."""

    common: float
    own: float


def resample(labels: Array, rng: np.random.Generator) -> Array:
    """(N,) event numbers drawn with replacement within equal labels, so that no class is lost (Efron 1979)."""
    numbers = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        numbers[mine] = mine[rng.integers(len(mine), size=len(mine))]
    return numbers


def event_draws(panels: Sequence[Panel], fom: FigureOfMerit, resamples: int, rng: np.random.Generator) -> list[Array]:
    """For each panel (B, R') values on resampled events, the same events for all panels; R' is at most `MOST`."""
    if resamples < 20:
        raise SpecError(f"resamples {resamples!r}", "at least 20 are needed", "200 is usual")
    stacks = _stacks(panels)
    draws: list[list[Array]] = [[] for _ in stacks]
    for _ in range(resamples):
        events = [resample(block.label, rng) for block in panels[0].blocks]
        for found, stack in zip(draws, stacks, strict=True):
            found.append(stack.values(fom, events))
    ends = np.cumsum([min(panel.repeats, MOST) for panel in panels])
    return np.split(np.concatenate([np.stack(found) for found in draws], axis=1), ends[:-1], axis=1)


def _stacks(panels: Sequence[Panel]) -> list[Panel]:
    """The first `MOST` repeats of all ``panels`` in their order; neighbours on the same events in one, as far as `CHUNK` reaches:
    of few events, a hundred calls of a figure of merit take a hundred times as long as one."""
    events = sum(len(block.label) for block in panels[0].blocks)
    groups: list[list[Panel]] = []
    rows = 0
    for panel in panels:
        own = min(panel.repeats, MOST)
        if groups and (rows + own) * events <= CHUNK and _same_events(groups[-1][0], panel):
            groups[-1].append(panel)
            rows += own
        else:
            groups.append([panel])
            rows = own
    return [_stacked(group) for group in groups]


def _stacked(panels: Sequence[Panel]) -> Panel:
    each = (np.concatenate([p.blocks[n].scores[:MOST] for p in panels]) for n in range(len(panels[0].blocks)))
    return Panel(tuple(replace(block, scores=scores) for block, scores in zip(panels[0].blocks, each, strict=True)))


def _same_events(a: Panel, b: Panel) -> bool:
    return len(a.blocks) == len(b.blocks) and all(_same(x, y) for x, y in zip(a.blocks, b.blocks, strict=True))


def _same(a: Block, b: Block) -> bool:
    """Whether figures of merit are given the same of both blocks, their scores apart."""
    pairs = [(a.label, b.label), (a.weight, b.weight)]
    if a.columns.keys() != b.columns.keys():
        return False
    pairs += [(a.columns[name], b.columns[name]) for name in a.columns]
    return all(x is y or (len(x) == len(y) and x.tobytes() == y.tobytes()) for x, y in pairs)


def event_noise(draws_BR: Array) -> EventNoise:
    """Components of the draws' covariance: its mean off the diagonal, and what the diagonal has more. One repeat: all common."""
    covariance = np.atleast_2d(np.cov(draws_BR, rowvar=False))
    n = len(covariance)
    total = float(np.trace(covariance)) / n
    if n == 1:
        return EventNoise(total, 0.0)
    common = (float(covariance.sum()) - float(np.trace(covariance))) / (n * (n - 1))
    common = min(max(common, 0.0), total)
    return EventNoise(common, total - common)


def over_events(panel: Panel, fom: FigureOfMerit, *, resamples: int = 200, seed: int = 0, level: float = ONE_SIGMA) -> Estimate:
    """The mean over repeats with a percentile interval over events: these trainings, on other events of the same kind."""
    value = float(panel.values(fom).mean())
    draws = event_draws([panel], fom, resamples, np.random.default_rng(seed))[0].mean(axis=1)
    return _estimate(value, value + draws - draws.mean(), panel, level, "bootstrap over events")


def over_repeats(values_R: Array, *, level: float = ONE_SIGMA) -> Estimate:
    """The mean over repeats with Student's interval: other trainings, on these events. A bootstrap of few repeats is too
    narrow by √((R-1)/R) and by normal for Student quantiles; Student's interval is what it tends to.

    Raises `SpecError` for fewer than two repeats: one training says nothing of the next.
    """
    n = len(values_R)
    if n < 2:
        raise SpecError(f"{n} repeat", "the spread of repeats needs two at least", "run the study with more `repeats`")
    mean = float(np.mean(values_R))
    half = float(scipy.special.stdtrit(n - 1, 0.5 + check_level(level) / 2) * np.std(values_R, ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, float(n), level, "Student over repeats")


def hierarchical(
    panel: Panel, fom: FigureOfMerit, *, resamples: int = 200, seed: int = 0, level: float = ONE_SIGMA
) -> Estimate:
    """The mean over repeats, with an interval for other trainings on other events.

    Draws are sums of the events' common part (bootstrap over events of the mean, scaled to that part) and of Student's
    distribution of the repeats' mean. One repeat: events alone, and ``method`` says so.
    """
    values = panel.values(fom)
    mean, n, rng = float(values.mean()), panel.repeats, np.random.default_rng(seed)
    draws = event_draws([panel], fom, resamples, rng)[0]
    means = draws.mean(axis=1)
    if n < 2:
        return _estimate(
            mean, mean + means - means.mean(), panel, level, "bootstrap over events; one repeat, its spread unknown"
        )
    spread = float(means.std(ddof=1))
    shrink = min(1.0, math.sqrt(event_noise(draws).common) / spread) if spread > 0 else 0.0
    student = rng.standard_t(n - 1, size=(50, resamples)) * values.std(ddof=1) / math.sqrt(n)
    both = mean + (means - means.mean()) * shrink + student
    return _estimate(mean, both.ravel(), panel, level, "bootstrap over events, Student over repeats")


def _estimate(value: float, draws: Array, panel: Panel, level: float, method: str) -> Estimate:
    tail = 0.5 - check_level(level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(value, min(float(low), value), max(float(high), value), float(panel.repeats), level, method)
