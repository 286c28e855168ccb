"""From members' logits to one score per event. Legend: M members, N events, V validation events.

Every combination is a function of logits and weights alone, in double precision, so that the order of events survives far
into the tail (float32 saturates at logit 17). Nothing here is fitted: weights are the members', calibration comes after.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from raresearch.errors import SelectionError, nearest
from raresearch.types import Array

#: how scores may combine; "weighted" first fits the members' weights on validation, then takes the mean of scores
COMBINATIONS = ("scores", "logits", "ranks", "median", "weighted")


def check_combination(name: str) -> str:
    """The name itself; SelectionError where there is no such combination."""
    if name not in COMBINATIONS:
        raise SelectionError(f"combine {name!r}", "there is no such combination", nearest(name, COMBINATIONS))
    return name


def logistic(logits: Array) -> Array:
    """1/(1 + e^-x) in double precision; three times faster than `scipy.special.expit`, and equal to its last bit but one.

    Beyond -709 the exponential would overflow: it stays at 10^-308 there.

    >>> logistic(np.array([0.0, -1e9, 40.0])).tolist()
    [0.5, 1.216780750623423e-308, 1.0]
    """
    return _logistic(logits, np.empty(np.shape(logits)))


def _logistic(logits: Array, scores: Array) -> Array:
    """`logistic` into ``scores``: memory that was just written is in the cache, new memory is not."""
    np.negative(logits, out=scores)
    np.minimum(scores, 709.0, out=scores)
    np.exp(scores, out=scores)
    scores += 1.0
    np.reciprocal(scores, out=scores)
    return scores


def mean_of_scores(logits_MN: Array, weights_M: Sequence[float]) -> Array:
    """(N,) float64: weighted mean of the members' scores, each the logistic function of its logit.

    >>> mean_of_scores(np.array([[0.0, 2.0], [0.0, -2.0]]), [1, 1])
    array([0.5, 0.5])
    """
    weights = np.asarray(weights_M, dtype=np.float64)
    scores: Array = np.zeros(logits_MN.shape[1])
    # Some members at a time: few calls for many small ones, and what is worked on stays in the cache.
    block = max(1, (1 << 15) // max(1, logits_MN.shape[1]))
    buffer = np.empty((min(block, len(weights)), logits_MN.shape[1]))
    for start in range(0, len(weights), block):
        some = logits_MN[start : start + block]
        each = _logistic(some, buffer[: len(some)])
        each *= (weights[start : start + block] / weights.sum())[:, None]
        for row in each:  # in order: the sum does not depend on the blocks
            scores += row
    return scores


def mean_of_logits(logits_MN: Array, weights_M: Sequence[float]) -> Array:
    """(N,) float64: logistic function of the weighted mean logit, the normalised geometric mean of the odds.

    A confident member outweighs several hesitant ones, more than in a mean of scores.

    >>> mean_of_logits(np.array([[0.0, 2.0], [0.0, -2.0]]), [1, 1])
    array([0.5, 0.5])
    """
    weights = np.asarray(weights_M, dtype=np.float64)
    mean: Array = (weights / weights.sum()) @ logits_MN.astype(np.float64)
    return np.asarray(scipy.special.expit(mean))


def mean_of_ranks(logits_MN: Array, weights_M: Sequence[float], reference_MV: Array) -> Array:
    """(N,) float64 in [0, 1]: weighted mean of where each score stands among the member's validation scores.

    Blind to a member's scale. The scale is fixed on validation (``reference_MV``, the same members' logits there), so that
    a test event's score does not depend on the other test events.

    >>> mean_of_ranks(np.array([[0.0, 9.0]]), [1], np.array([[-1.0, 0.0, 1.0, 2.0]]))
    array([0.375, 1.   ])
    """
    weights = np.asarray(weights_M, dtype=np.float64)
    scores: Array = np.zeros(logits_MN.shape[1])
    for logits, weight, reference in zip(logits_MN, weights / weights.sum(), reference_MV, strict=True):
        scores += weight * rank_among(logits, reference)
    return scores


def rank_among(logits: Array, reference: Array) -> Array:
    """Fraction of ``reference`` (V,) below each of ``logits`` (N,), equal ones counted half."""
    known = np.sort(reference)
    below, through = np.searchsorted(known, logits, "left"), np.searchsorted(known, logits, "right")
    return np.asarray((below + through) / (2.0 * len(known)))


def median_of_scores(logits_MN: Array, weights_M: Sequence[float]) -> Array:
    """(N,) float64: weighted median of the members' scores; the middle of two where exactly half the weight lies below.

    >>> median_of_scores(np.array([[-50.0], [0.0], [2.0]]), [1, 1, 1])
    array([0.5])
    """
    weights = np.asarray(weights_M, dtype=np.float64) / np.sum(weights_M)
    order = np.argsort(logits_MN, axis=0, kind="stable")
    ranked = scipy.special.expit(np.take_along_axis(logits_MN.astype(np.float64), order, axis=0))
    below = np.cumsum(weights[order], axis=0)
    # A weight that sums to a half up to rounding is a half.
    low = (below >= 0.5 - 1e-12).argmax(axis=0)
    high = (below > 0.5 + 1e-12).argmax(axis=0)
    picked: Array = 0.5 * (_at(ranked, low) + _at(ranked, high))
    return picked


def _at(values_MN: Array, places_N: Array) -> Array:
    picked: Array = np.take_along_axis(values_MN, places_N[None], axis=0)[0]
    return picked


def combine(name: str, logits_MN: Array, weights_M: Sequence[float], reference_MV: Array | None = None) -> Array:
    """(N,) combined scores in [0, 1] by ``name``; ``reference_MV`` is needed for ranks (see `mean_of_ranks`)."""
    match check_combination(name):
        case "logits":
            return mean_of_logits(logits_MN, weights_M)
        case "ranks":
            return mean_of_ranks(logits_MN, weights_M, logits_MN if reference_MV is None else reference_MV)
        case "median":
            return median_of_scores(logits_MN, weights_M)
    return mean_of_scores(logits_MN, weights_M)


def additive(name: str, logits_MN: Array) -> Array:
    """(M, N) float64 whose weighted mean is what ``name`` combines, for rules that build an ensemble member by member.

    Raises `SelectionError` for a median, which is no sum.
    """
    match check_combination(name):
        case "median":
            rule = "a median cannot be built member by member"
            raise SelectionError("combine 'median'", rule, "use scores, logits or ranks")
        case "logits":
            return logits_MN.astype(np.float64)
        case "ranks":
            return np.stack([rank_among(row, row) for row in logits_MN])
    return logistic(logits_MN)


def finish(name: str, mean: Array) -> Array:
    """From the weighted mean of `additive` to the combined score."""
    return np.asarray(scipy.special.expit(mean)) if name == "logits" else mean


def mixture_weights(logits_MN: Array, label: Array, weight: Array, tolerance: float = 1e-9, most: int = 2000) -> Array:
    """(M,) weights of the mean of scores with the smallest log-loss on labelled events; 0 and more, they sum to 1.

    The log-loss is convex in the weights; expectation maximisation lowers it at every step (Dempster, Laird and Rubin 1977,
    doi 10.1111/j.2517-6161.1977.tb01600.x). Stops when no step gains ``tolerance`` per event, or after ``most`` steps.
    ``label`` (N,): -1 spectators do not count.
    """
    counted = (label >= 0) & (weight > 0)
    if not counted.any():
        raise SelectionError("combine 'weighted'", "no labelled events to fit weights on", "use combine: scores")
    logits, signal = logits_MN[:, counted].astype(np.float64), label[counted] == 1
    likelihood = scipy.special.expit(np.where(signal, logits, -logits))
    share = weight[counted] / weight[counted].sum()
    weights = np.full(len(logits), 1.0 / len(logits))
    before = -np.inf
    for _ in range(most):
        total = np.maximum(weights @ likelihood, np.finfo(float).tiny)
        now = float(share @ np.log(total))
        if now - before < tolerance:
            break
        before = now
        weights *= likelihood @ (share / total)
    return np.asarray(weights / weights.sum())
