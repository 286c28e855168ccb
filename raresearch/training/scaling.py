"""Input scaling of a cell: fitted on its training events, applied to every split."""

from __future__ import annotations

import numpy as np

from raresearch.data.ondisk import Rows
from raresearch.data.transforms import Scaler, settled
from raresearch.training.arrays import Sample
from raresearch.types import Array

FITTED = 8192  # events read at a time


def fit_scalers(kind: str, train: Sample) -> dict[str, Scaler]:
    """One scaler for each floating-point tensor of ``train``; integers (images as counts) are left as they are."""
    if kind == "none":
        return {}
    floating = {n: a for n, a in train.inputs.items() if np.issubdtype(a.dtype, np.floating)}
    return {n: fit_by_parts(kind, a) if isinstance(a, Rows) else Scaler.fit(kind, a) for n, a in floating.items()}


def fit_by_parts(kind: str, rows: Rows, size: int = FITTED) -> Scaler:
    """`Scaler.fit` in two passes over events on disk: the extremes are the same, means and deviations to rounding."""
    starts = range(0, len(rows), size)
    first = Scaler.fit(kind, rows[:size])  # refuses what cannot be scaled; its numbers are of these events only
    axes = tuple(a for a in range(rows.ndim) if a != 1)
    low, high, total = first.shift * 0 + np.inf, first.shift * 0 - np.inf, 0 * first.shift
    for part in (rows[s : s + size] for s in starts):
        low, high = np.minimum(low, part.min(axis=axes)), np.maximum(high, part.max(axis=axes))
        total = total + part.sum(axis=axes, dtype=np.float64)
    if kind == "minmax":
        return settled(kind, low, high, low, high - low)
    count = len(rows) * int(np.prod(rows.shape[2:]))
    mean, squares = total / count, 0 * total
    wide = (-1,) + (1,) * (rows.ndim - 2)
    for part in (rows[s : s + size] for s in starts):
        squares = squares + np.square(part - mean.reshape(wide)).sum(axis=axes)
    return settled(kind, low, high, mean, np.sqrt(squares / count))


def scale(array: Array, scaler: Scaler | None) -> Array:
    """float32 (N, *S), scaled where there is a scaler."""
    return np.asarray(array, dtype=np.float32) if scaler is None else scaler.apply(array)
