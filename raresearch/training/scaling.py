"""Input scaling of a cell: fitted on its training events, applied to every split."""

from __future__ import annotations

import numpy as np

from raresearch.data.transforms import Scaler
from raresearch.training.arrays import Sample
from raresearch.types import Array


def fit_scalers(kind: str, train: Sample) -> dict[str, Scaler]:
    """One scaler for each floating-point tensor of ``train``; integers (images as counts) are left as they are."""
    if kind == "none":
        return {}
    return {n: Scaler.fit(kind, a) for n, a in train.inputs.items() if np.issubdtype(a.dtype, np.floating)}


def scale(array: Array, scaler: Scaler | None) -> Array:
    """float32 (N, *S), scaled where there is a scaler."""
    return np.asarray(array, dtype=np.float32) if scaler is None else scaler.apply(array)
