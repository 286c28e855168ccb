"""From members' logits to one score per event. Legend: M members, N events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from raresearch.types import Array


def mean_of_scores(logits_MN: Array, weights_M: Sequence[float]) -> Array:
    """(N,) float64: weighted mean of the members' scores, each the logistic function of its logit.

    In double precision, so that the order of events survives far into the tail (float32 saturates at logit 17).

    >>> mean_of_scores(np.array([[0.0, 2.0], [0.0, -2.0]]), [1, 1])
    array([0.5, 0.5])
    """
    weights = np.asarray(weights_M, dtype=np.float64)
    scores: Array = np.zeros(logits_MN.shape[1])
    for logits, weight in zip(logits_MN, weights / weights.sum(), strict=True):
        scores += weight * expit(logits.astype(np.float64))
    return scores
