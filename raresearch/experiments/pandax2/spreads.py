"""Is a quantity that varies from training to training steadier under another strategy? The ratio of two spreads.

Kept beside the study that asks it; it is a function of two lists of numbers and knows nothing of the detector.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import fdtri

from raresearch.errors import DataError
from raresearch.metrics.intervals import check_level
from raresearch.types import ONE_SIGMA, Array


@dataclass(frozen=True)
class SpreadRatio:
    """``ratio`` = sd_a / sd_b with two intervals: by the F distribution, which takes the repeats for normal, and by the bootstrap
    over repeats, which does not.

    ``floor_b`` is what sd_b is taken to be at least (see `spread_ratio`); ``lower_limit`` says that it was used, in the ratio or in
    the upper end of an interval: the ratio is then at least ``ratio``.
    """

    sd_a: float
    sd_b: float
    floor_b: float
    ratio: float
    f_low: float
    f_high: float
    bootstrap_low: float
    bootstrap_high: float
    lower_limit: bool
    repeats_a: int
    repeats_b: int
    level: float

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    def __str__(self) -> str:
        sign = "≥ " if self.lower_limit else ""
        text = f"sd {self.sd_a:.3g} / {self.sd_b:.3g} = {sign}{self.ratio:.3g}"
        return (
            f"{text}; F [{self.f_low:.3g}, {self.f_high:.3g}], bootstrap [{self.bootstrap_low:.3g}, {self.bootstrap_high:.3g}]"
        )


def spread_ratio(
    a: Array, b: Array, resolution: float = 0.0, *, level: float = ONE_SIGMA, resamples: int = 4000, seed: int = 0
) -> SpreadRatio:
    """The ratio of the standard deviations of repeats ``a`` (R_a,) and ``b`` (R_b,).

    ``resolution`` is the step in which b can be told (1/N for a fraction of N events): a spread below that of one step's rounding,
    resolution / √12, is not seen, so it is the floor of sd_b, and of each resampled one. Where every b is equal the ratio is
    then a lower limit and not infinite. Raises `DataError` for fewer than three repeats, NaN, or no spread and no resolution.
    """
    check_level(level)
    a, b = (np.asarray(v, dtype=np.float64) for v in (a, b))
    if min(len(a), len(b)) < 3 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("spread ratio", f"{len(a)} and {len(b)} repeats given, at least 3 finite ones of each are needed")
    sd_a, sd_b, floor = float(a.std(ddof=1)), float(b.std(ddof=1)), resolution / np.sqrt(12.0)
    if max(sd_b, floor) <= 0.0:
        raise DataError("spread ratio", "b has no spread at all", "give its resolution, for example 1 / number of events")
    ratio, tail = sd_a / max(sd_b, floor), 0.5 - level / 2
    # (s_a²/σ_a²) / (s_b²/σ_b²) follows F with R_a - 1 and R_b - 1 degrees of freedom.
    f_low, f_high = (ratio / np.sqrt(fdtri(len(a) - 1, len(b) - 1, p)) for p in (1.0 - tail, tail))
    draws = _resampled(a, resamples, seed) / np.maximum(_resampled(b, resamples, seed + 1), floor)
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return SpreadRatio(
        sd_a, sd_b, float(floor), ratio, float(f_low), float(f_high), float(min(low, ratio)), float(max(high, ratio)),
        sd_b <= floor, len(a), len(b), level,
    )  # fmt: skip


def _resampled(values: Array, resamples: int, seed: int) -> Array:
    """(resamples,) standard deviations of repeats drawn with replacement, with what drawing twice takes away put back."""
    n = len(values)
    drawn = values[np.random.default_rng(seed).integers(n, size=(resamples, n))]
    return np.asarray(drawn.std(axis=1, ddof=1) * np.sqrt(n / (n - 1)))
