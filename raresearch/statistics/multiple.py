"""Corrections of p-values where many comparisons are made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from raresearch.errors import SpecError, nearest
from raresearch.types import Array

METHODS = ("holm", "benjamini-hochberg")


def holm(p: npt.ArrayLike) -> Array:
    """Adjusted p-values (M,): rejecting those below α errs at all with probability of at most α (Holm 1979).

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    given = _checked(p)
    order = np.argsort(given, kind="stable")
    factors = np.arange(len(given), 0, -1)
    return _back(np.minimum(np.maximum.accumulate(given[order] * factors), 1.0), order)


def benjamini_hochberg(p: npt.ArrayLike) -> Array:
    """Adjusted p-values (M,): of those below α at most a share α is wrong on average (doi 10.1111/j.2517-6161.1995.tb02031.x).

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(4).tolist()
    [0.03, 0.04, 0.04]
    """
    given = _checked(p)
    order = np.argsort(given, kind="stable")
    n = len(given)
    scaled = given[order] * n / np.arange(1, n + 1)
    return _back(np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0), order)


def adjust(p: npt.ArrayLike, method: str) -> Array:
    """Adjusted p-values by name; SpecError where there is no such method."""
    if method not in METHODS:
        raise SpecError(f"correction {method!r}", "there is no such correction", nearest(method, METHODS))
    return holm(p) if method == "holm" else benjamini_hochberg(p)


def _checked(p: npt.ArrayLike) -> Array:
    given = np.asarray(p, dtype=np.float64)
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():
        raise SpecError("p-values", "must be numbers between 0 and 1")
    return given


def _back(adjusted: Array, order: Array) -> Array:
    found = np.empty_like(adjusted)
    found[order] = adjusted
    return found
