"""One estimate of several: the mean of a figure of merit over repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from raresearch.types import ONE_SIGMA, Array, Estimate


def averaged(values: Sequence[Estimate]) -> Estimate:
    """Mean over ensembles (repeats). The interval adds, in quadrature, the repeats' standard error (Student) and the mean
    half-width from finite events: repeats share their events, so averaging over them does not shrink that part.

    >>> averaged([Estimate(1.0, 0.9, 1.1, 50.0)]).value
    1.0
    """
    if len(values) == 1:
        return values[0]
    centre = np.asarray([e.value for e in values])
    level = values[0].level
    students = _half_width(centre, level)
    down = math.hypot(students, float(np.mean([e.value - e.low for e in values])))
    up = math.hypot(students, float(np.mean([e.high - e.value for e in values])))
    mean = float(centre.mean())
    return Estimate(
        value=mean,
        low=mean - down,
        high=mean + up,
        n_effective=float(np.mean([e.n_effective for e in values])),
        level=level,
        method=f"mean of {len(values)} repeats; Student and events' interval in quadrature",
        lower_limit=any(e.lower_limit for e in values),
    )


def student(values: Sequence[float], level: float = ONE_SIGMA) -> tuple[float, float]:
    """Student's interval of the mean of two values or more.

    >>> [round(end, 2) for end in student([1.0, 2.0, 3.0])]
    [1.24, 2.76]
    """
    each = np.asarray(values, dtype=np.float64)
    half = _half_width(each, level)
    return float(each.mean()) - half, float(each.mean()) + half


def _half_width(values: Array, level: float) -> float:
    return float(stdtrit(len(values) - 1, 0.5 + level / 2) * values.std(ddof=1) / math.sqrt(len(values)))
