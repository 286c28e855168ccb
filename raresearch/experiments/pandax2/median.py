"""The NR median: log10(qS2c / qS1c) of nuclear recoils as a cubic in ln qS1c, below which a search looks.

Derived, not shipped: coefficients in the code would be wrong as soon as a study changes a detector constant. The derivation
throws its own, fixed, named stream and keeps four decimals, so that blocks, processes and machines agree on the curve although
their mathematical libraries may differ in a last bit; it costs about a second and is kept for the life of a process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from raresearch.errors import DataError
from raresearch.experiments.pandax2.detector import Detector
from raresearch.experiments.pandax2.events import NuclearRecoils, throw
from raresearch.experiments.pandax2.features import COLUMN
from raresearch.experiments.pandax2.spectra import NeutronSpectrum
from raresearch.types import Array, named_stream

_THROWN = 80_000
_BINS = 24


@dataclass(frozen=True, slots=True)
class NRMedian:
    """``coefficients`` of the cubic in ln qS1c, lowest power first."""

    coefficients: tuple[float, ...]

    def __call__(self, q1c: Array) -> Array:
        """Median of log10(qS2c / qS1c) at ``q1c`` (PE)."""
        return np.asarray(np.polynomial.polynomial.polyval(np.log(q1c), self.coefficients))

    def distance(self, features: Array) -> Array:
        """log10(qS2c / qS1c) minus the median, (N,), of events given by their features (N, 13)."""
        q1c, q2c = features[:, COLUMN["qS1c"]], features[:, COLUMN["qS2c"]]
        return np.asarray(np.log10(q2c / q1c) - self(q1c))


def fit_median(features: Array) -> NRMedian:
    """The cubic through the medians of log10(qS2c / qS1c) in 24 equally filled bins of qS1c; ``features`` (N, 13).

    Raises `DataError` where fewer than 20 events a bin are left to fit.
    """
    if len(features) < 20 * _BINS:
        place, rule = "pandax2: NR median", f"only {len(features)} calibration events pass the cuts, {20 * _BINS} are needed"
        raise DataError(place, rule, "reset the `data.*` values of the detector or the neutron spectrum")
    q1c, q2c = features[:, COLUMN["qS1c"]], features[:, COLUMN["qS2c"]]
    bins = np.array_split(np.argsort(q1c, kind="stable"), _BINS)
    x = np.array([np.median(np.log(q1c[rows])) for rows in bins])
    y = np.array([np.median(np.log10(q2c[rows] / q1c[rows])) for rows in bins])
    return NRMedian(tuple(round(float(c), 4) for c in np.polynomial.polynomial.polyfit(x, y, 3)))


@lru_cache(maxsize=16)
def nr_median(spectrum: NeutronSpectrum, detector: Detector) -> NRMedian:
    """The median of neutron calibration with ``spectrum`` in ``detector``: a function of nothing else."""
    rng = np.random.default_rng(named_stream(0, "pandax2", "NR median"))
    source = NuclearRecoils(spectrum, detector)
    return fit_median(np.concatenate([throw(source, _THROWN // 8, detector, rng).features for _ in range(8)]))
