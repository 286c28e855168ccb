"""What a cut on the score does for the search (Eqs. 5 to 8), as functions of scores. Pure; nothing here is fitted.

Legend: N events of a class, K thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raresearch.types import ONE_SIGMA, Array

#: of the backgrounds in the region of interest [P] Sec. V.C, from a fit of the collaboration; 2νββ passes as the signal does
LONG_LIVED, DOUBLE_BETA = 0.582, 0.418
#: relative branching of 2νββ to excited states, Pirinen and Suhonen 2015 for g_A = 0.60 [P] Sec. VI. The text's 10⁸ of the
#: last one must be 10⁻⁸: with 10⁸ the text's own sum would be .56 and not .54.
BRANCHING: Mapping[str, float] = {"2v_0+": 0.2970, "2v_2+": 0.002366, "2v_2+2": 3.246e-8}
_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its interval of one sigma."""

    value: float
    low: float
    high: float


def passing(scores: Array, thresholds: Array) -> Array:
    """(K,) fraction of ``scores`` (N,) at or above each threshold."""
    return np.asarray(1.0 - np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores))


def cut_keeping(scores: Array, fraction: float) -> float:
    """The highest threshold that keeps at least ``fraction`` of ``scores``.

    >>> cut_keeping(np.arange(10.0), 0.9)
    1.0
    """
    kept = int(np.ceil(fraction * len(scores) - 1e-9))
    return float(np.sort(scores)[len(scores) - max(kept, 1)])


def mixed_factor(accepted: Array, long_lived: Array) -> Array:
    """Eq. 6: TPR / sqrt(0.582 FPR_LL + 0.418 TPR); 0 where nothing passes.

    >>> round(float(mixed_factor(np.array(0.9), np.array(1 - 0.314))), 3)  # what the paper's 1.022 needs
    1.022
    """
    passed = LONG_LIVED * np.asarray(long_lived) + DOUBLE_BETA * np.asarray(accepted)
    return np.divide(accepted, np.sqrt(passed), out=np.zeros_like(passed), where=passed > 0)


def simple_factor(accepted: float, passed: float) -> float:
    """Eq. 5: TPR / sqrt(FPR); NaN where no background passes.

    >>> round(simple_factor(0.9, 0.7), 3)
    1.076
    """
    return float(accepted / np.sqrt(passed)) if passed > 0 else float("nan")


def best_factor(signal: Array, long_lived: Sequence[Array]) -> tuple[float, float, float]:
    """The largest Eq. 6 over all thresholds that keep at least half of ``signal``: factor, acceptance, threshold.

    Long-lived isotopes count alike. Below one half the ratio is that of a few events.
    """
    thresholds = np.sort(signal)[: len(signal) // 2 + 1]
    accepted = passing(signal, thresholds)
    factor = mixed_factor(accepted, np.mean([passing(s, thresholds) for s in long_lived], axis=0))
    place = int(np.argmax(factor))
    return float(factor[place]), float(accepted[place]), float(thresholds[place])


def bootstrap(value: Callable[..., float], samples: Sequence[Array], rng: np.random.Generator) -> Interval:
    """``value(*samples)`` with an interval from events drawn again, class by class."""
    drawn = [value(*(rng.choice(s, len(s)) for s in samples)) for _ in range(_RESAMPLES)]
    tail = (1.0 - ONE_SIGMA) / 2
    low, high = np.nanquantile(drawn, [tail, 1.0 - tail]) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return Interval(value(*samples), float(low), float(high))


def expanded_radius(before: Array, after: Array, radius: float) -> float:
    """The radius (cm) inside of which as many film events lie after a cut as did inside ``radius`` before it (Fig. 7).

    ``before``, ``after``: reconstructed radii of film events. NaN where the sample has none inside ``radius``, and where
    all that the cut left do not make as many: then the sample gives no limit.
    """
    inside = int((before < radius).sum())
    if inside == 0 or inside >= len(after):
        return float("nan")
    return float(np.sort(after)[inside])


def exposure_factor(radius: float, expanded: float) -> float:
    """Eq. 7: the square root of the exposure, that is of the volume.

    >>> round(exposure_factor(157.0, 165.8), 3)
    1.085
    """
    return float((expanded / radius) ** 1.5)


def excited_acceptance(accepted: Mapping[str, float]) -> float:
    """Eq. 8: mean acceptance of the excited states, by their branching.

    >>> round(excited_acceptance({"2v_0+": 0.54, "2v_2+": 0.49, "2v_2+2": 0.56}), 4)
    0.5396
    """
    weights = [BRANCHING[name] for name in accepted]
    return float(np.average(list(accepted.values()), weights=weights))
