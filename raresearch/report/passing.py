"""What passes as the cut is moved: background pass fraction and precision against signal acceptance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.ensembles.evaluation import Labelled
from raresearch.ensembles.operating import ROUNDING
from raresearch.metrics.intervals import clopper_pearson
from raresearch.metrics.sample import kish
from raresearch.types import ONE_SIGMA, Array


@dataclass(frozen=True)
class Passing:
    """At each of G acceptances asked for: ``threshold``, ``acceptance`` (weighted fraction of signal with score >= threshold,
    at least the one asked for), ``passed`` (that of background) and ``precision`` (signal among what is kept), all (G,).

    ``trials``: Kish's number of background events.
    """

    threshold: Array
    acceptance: Array
    passed: Array
    precision: Array
    trials: float

    def interval(self, level: float = ONE_SIGMA) -> tuple[Array, Array]:
        """(G,) ends of Clopper–Pearson's interval of ``passed`` at a fixed cut."""
        low, high = clopper_pearson(self.passed * self.trials, self.trials, level)
        return np.minimum(low, self.passed), np.maximum(high, self.passed)


def passing(sample: Labelled, acceptances: Array) -> Passing:
    """Of signal and background in ``sample`` at the highest thresholds that keep ``acceptances`` (G,) of the signal.

    Spectators and events of no weight are left out; events of equal score are kept together.
    """
    used = (sample.label >= 0) & (sample.weight > 0)
    scores, weight, label = sample.scores[used], sample.weight[used], sample.label[used]
    order = np.argsort(-scores, kind="stable")
    scores, weight, is_signal = scores[order], weight[order], label[order] == 1
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    signal = np.cumsum(np.where(is_signal, weight, 0.0))[last]
    background = np.cumsum(np.where(is_signal, 0.0, weight))[last]
    place = np.searchsorted(signal, acceptances * (1 - ROUNDING) * signal[-1]).clip(max=len(last) - 1)
    kept, wrong = signal[place], background[place]
    trials = kish(weight[~is_signal])
    return Passing(scores[last][place], kept / signal[-1], wrong / background[-1], kept / (kept + wrong), trials)
