"""What each axis of a search has to do with the objective, by rank statistics: no model is fitted, no interaction is seen.

For all axes the Kruskal–Wallis effect size η² = (between-group sum of squares of the ranks) / (total): the share of the ranks'
variance that groups of the axis explain (a numeric axis is cut into groups of equal size). Groups explain something by chance
too, which shuffled objectives show. For numeric axes Spearman's rank correlation with the interval of Bonett and Wright
(Psychometrika 65, 23, 2000, doi 10.1007/BF02294183).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from raresearch.metrics.intervals import quantile_z
from raresearch.report.axes import StudyAxis
from raresearch.types import ONE_SIGMA, Array

GROUPS, SHUFFLES, FEWEST = 4, 1000, 6


@dataclass(frozen=True)
class Influence:
    """One axis over ``n`` configs. ``share``: η², with ``chance`` the value that 95 % of shuffles stay below.

    ``correlation`` with [``low``, ``high``] at one sigma; None for axes that are not numeric.
    """

    axis: StudyAxis
    n: int
    share: float
    chance: float
    correlation: float | None
    low: float | None
    high: float | None


def influence(axis: StudyAxis, places: Array, objective: Array) -> Influence | None:
    """``places`` and ``objective`` (C,); configs without the axis (NaN) are left out. None for fewer than six configs or one
    group."""
    from scipy import stats  # here: a second, which most studies have no axis for

    known = np.isfinite(places) & np.isfinite(objective)
    x, ranks = places[known], stats.rankdata(objective[known])
    if len(x) < FEWEST or len(np.unique(x)) < 2 or np.ptp(ranks) == 0:
        return None
    group = _groups(axis, x)
    rng = np.random.default_rng(0)
    shuffled = np.asarray([share(group, rng.permutation(ranks)) for _ in range(SHUFFLES)])
    correlation = spearman(x, ranks) if axis.numeric else (None, None, None)
    return Influence(axis, len(x), share(group, ranks), float(np.quantile(shuffled, 0.95)), *correlation)


def share(group: Array, ranks: Array) -> float:
    """η² of ``ranks`` (C,) by ``group`` (C,) numbers from 0.

    >>> share(np.array([0, 0, 1, 1]), np.array([1.0, 2.0, 3.0, 4.0]))
    0.8
    """
    counts = np.bincount(group)
    sums = np.bincount(group, ranks)
    centre = ranks.mean()
    filled = counts > 0
    between = (counts[filled] * (sums[filled] / counts[filled] - centre) ** 2).sum()
    return float(between / ((ranks - centre) ** 2).sum())


def spearman(x: Array, y: Array) -> tuple[float, float, float]:
    """Rank correlation with its one-sigma interval."""
    from scipy import stats

    value = float(stats.spearmanr(x, y).statistic)
    inside = min(max(value, -0.999999), 0.999999)
    error = math.sqrt((1 + inside**2 / 2) / (len(x) - 3)) * quantile_z(ONE_SIGMA)
    return value, min(math.tanh(math.atanh(inside) - error), value), max(math.tanh(math.atanh(inside) + error), value)


def _groups(axis: StudyAxis, x: Array) -> Array:
    """Levels where they are few or unordered, else up to four groups of equal size, three configs in each at least."""
    levels, number = np.unique(x, return_inverse=True)
    groups = max(2, min(GROUPS, len(x) // 3))
    if not axis.numeric or len(levels) <= groups:
        return np.asarray(number)
    from scipy import stats

    return np.asarray((stats.rankdata(x, method="ordinal") - 1) * groups // len(x), dtype=np.int64)
