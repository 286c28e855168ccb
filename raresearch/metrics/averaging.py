"""One estimate of several: the mean of a figure of merit over repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

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
    return float(student_factor(len(values) - 1, level) * values.std(ddof=1) / math.sqrt(len(values)))


@cache
def student_factor(freedom: int, level: float) -> float:
    """The t with P(|T| < t) = ``level`` for Student's T of ``freedom`` degrees: scipy's `stdtrit` for whole degrees.

    By bisection of the closed form (Abramowitz & Stegun 26.7.3 and 26.7.4, in the angle arctan(t/√freedom)): scipy.special takes a
    quarter of a second to load, which `watch` would pay at each look for this one number.

    >>> round(student_factor(9, 0.95), 6)
    2.262157
    """
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return math.tan(high) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """P(|T| < √freedom · tan(angle))."""
    odd, cosine = freedom % 2, math.cos(angle)
    term = total = cosine if odd else 1.0
    for k in range(2 + odd, freedom, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if not odd:
        return math.sin(angle) * total
    return 2 / math.pi * (angle + (math.sin(angle) * total if freedom > 1 else 0.0))
