"""The optimism of a selection: what it reports on the events it chose on, less what it is worth on events it did not.

Nested bootstrap over events (Efron 1983, doi 10.1080/01621459.1983.10477973): each round draws validation events with
replacement, makes the whole choice on them (epochs, members, threshold, the best config), and judges that choice on the events
that were not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from raresearch.errors import DataError, SpecError
from raresearch.statistics.bootstrap import resample
from raresearch.types import Array

#: (chosen on, judged on), one array of event numbers for each list of events → (reported there, found here)
Trial = Callable[[Sequence[Array], Sequence[Array]], tuple[float, float]]


@dataclass(frozen=True)
class Optimism:
    """``reported``: mean of the figure on the events chosen on; ``held_out``: on events not chosen on; ``optimism``: their
    difference, oriented so that above 0 means too good, with ``error`` the standard error over rounds.

    A round chooses on about 63 % of the different events: its choice is a little worse than the study's own, and the
    optimism a little larger.
    """

    reported: float
    held_out: float
    optimism: float
    error: float
    rounds: int

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


def optimism(trial: Trial, labels: Sequence[Array], goal: str, *, rounds: int = 50, seed: int = 0) -> Optimism:
    """Run ``trial`` on ``rounds`` bootstrap samples of the lists of events with ``labels``.

    Raises `DataError` where a round leaves no event of a class to judge on, and `SpecError` for fewer than 2 rounds.
    """
    if rounds < 2:
        raise SpecError(f"rounds {rounds!r}", "at least 2 are needed", "50 is usual")
    rng = np.random.default_rng(seed)
    found = np.empty((rounds, 2))
    for number in range(rounds):
        chosen = [resample(label, rng) for label in labels]
        held = [np.setdiff1d(np.arange(len(label)), events) for label, events in zip(labels, chosen, strict=True)]
        for label, events in zip(labels, held, strict=True):
            if not all((label[events] == value).any() for value in (0, 1)):
                rule = "no event of a class is left to judge on"
                raise DataError("optimism", rule, "validate on more events, twenty of each class at least")
        found[number] = trial(chosen, held)
    sign = 1.0 if goal == "max" else -1.0
    difference = sign * (found[:, 0] - found[:, 1])
    error = float(difference.std(ddof=1)) / math.sqrt(rounds)
    return Optimism(float(found[:, 0].mean()), float(found[:, 1].mean()), float(difference.mean()), error, rounds)
