"""How many repeats, or events, would decide between two configs."""

from __future__ import annotations

import math

import scipy

from raresearch.errors import SpecError

#: two-sided probability of a three-sigma fluctuation
THREE_SIGMA = 0.0026997960632601866
ENOUGH = 10**6


def degrees(variance_a: float, variance_b: float, n_a: int, n_b: int, events: float) -> float:
    """Degrees of freedom of the difference's variance (Welch 1947, Satterthwaite); the events' part counts as known."""
    a, b = variance_a / n_a, variance_b / n_b
    bottom = (a**2 / (n_a - 1) if n_a > 1 else 0.0) + (b**2 / (n_b - 1) if n_b > 1 else 0.0)
    return (a + b + events) ** 2 / bottom if bottom > 0 else math.inf


def power(
    difference: float, variance_a: float, variance_b: float, repeats: int, events: float = 0.0, alpha: float = THREE_SIGMA
) -> float:
    """Probability that ``repeats`` of each config decide for the better one, if ``difference`` is the true one.

    Variances are of single repeats; ``events`` is the variance of the difference from shared events, which stays.
    """
    error = math.sqrt((variance_a + variance_b) / repeats + events)
    if error == 0:
        return 1.0 if difference else 0.0
    dof = degrees(variance_a, variance_b, repeats, repeats, events)
    shift = abs(difference) / error
    if math.isinf(dof) or dof > 1e4:
        return float(scipy.special.ndtr(shift + scipy.special.ndtri(alpha / 2)))
    return float(1.0 - scipy.special.nctdtr(dof, shift, -scipy.special.stdtrit(dof, alpha / 2)))


def repeats_to_decide(
    difference: float,
    variance_a: float,
    variance_b: float,
    events: float = 0.0,
    alpha: float = THREE_SIGMA,
    chance: float = 0.9,
) -> int | None:
    """The least number of repeats of each config with which ``power`` reaches ``chance``; None where no number does.

    >>> repeats_to_decide(1.0, 1.0, 1.0), repeats_to_decide(1.0, 1.0, 1.0, events=0.1)
    (39, None)
    """
    if not 0 < chance < 1:
        raise SpecError(f"chance {chance!r}", "must lie between 0 and 1", "0.9 is usual")
    if difference == 0 or power(difference, variance_a, variance_b, ENOUGH, events, alpha) < chance:
        return None
    # Student's distribution needs more than the normal one: begin there, a few steps below the answer.
    reach = float(scipy.special.ndtri(chance) - scipy.special.ndtri(alpha / 2))
    low = max(1, int((variance_a + variance_b) / ((difference / reach) ** 2 - events)) - 1)
    step = 1
    while power(difference, variance_a, variance_b, low + step, events, alpha) < chance:
        low, step = low + step, 2 * step
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if power(difference, variance_a, variance_b, middle, events, alpha) < chance:
            low = middle
        else:
            high = middle
    return high


def events_to_decide(difference: float, events: float, alpha: float = THREE_SIGMA, chance: float = 0.9) -> float | None:
    """How many times as many validation events let the repeats decide at all; None where the difference is 0.

    The events' variance falls as their number grows. 1 or less: the events at hand suffice.
    """
    if difference == 0:
        return None
    needed = float(scipy.special.ndtri(chance) - scipy.special.ndtri(alpha / 2))
    return events * needed**2 / difference**2
