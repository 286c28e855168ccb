"""Means over repeats, and numbers with as many digits as their uncertainty deserves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

NONE = "–"


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean of ``n`` repeats and their sample standard deviation (n - 1); ``std`` is None where n < 2, NaN means nothing."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of ``values`` without the NaN ones.

        >>> Spread.of([1.0, 3.0]), Spread.of([2.0])
        (Spread(mean=2.0, std=1.4142135623730951, n=2), Spread(mean=2.0, std=None, n=1))
        """
        v = np.asarray([x for x in values if not math.isnan(x)], dtype=np.float64)
        if not len(v):
            return cls(math.nan, None, 0)
        return cls(float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else None, len(v))

    @property
    def error(self) -> float | None:
        """Standard error of the mean."""
        return None if self.std is None else self.std / math.sqrt(self.n)


def decimals(uncertainties: Iterable[float | None], values: Sequence[float] = ()) -> int:
    """Decimals for one column: the median uncertainty shows two significant digits; without any, the values show four.

    >>> decimals([0.5, 0.4]), decimals([0.0012]), decimals([None], [26.85])
    (2, 4, 2)
    """
    known = [u for u in uncertainties if u is not None and math.isfinite(u) and u > 0]
    digits, scale = (2, float(np.median(known))) if known else (4, float(np.max(np.abs(_finite(values)), initial=0.0)))
    if scale <= 0:
        return 2
    return min(max(digits - 1 - math.floor(math.log10(scale)), 0), 6)


def _finite(values: Sequence[float]) -> list[float]:
    return [v for v in values if math.isfinite(v)]


def fixed(value: float | None, places: int) -> str:
    """``value`` with ``places`` decimals; a dash for None and NaN."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.{places}f}".replace("-", "−")


def plus_minus(value: float | None, uncertainty: float | None, places: int) -> str:
    """``26.85 ± 0.50``; ``26.85 ± –`` where one repeat says nothing of the spread; a dash where there is no value."""
    text = fixed(value, places)
    return text if text == NONE else f"{text} ± {fixed(uncertainty, places)}"


def duration(seconds: float) -> str:
    """Seconds in the largest two units.

    >>> duration(7.25), duration(75), duration(7500), duration(200000)
    ('7.2 s', '1 min 15 s', '2 h 5 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    units = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
    unit, name, below, small = next(u for u in units if seconds >= u[0])
    return f"{int(seconds // unit)} {name} {int(seconds % unit // below)} {small}"
