"""S2: electron clouds that drifted and were extracted, and the waveform of their light in the gas.

N signals; waveforms have K bins of 50 ns and hold whole photoelectrons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from raresearch.experiments.pandax2.detector import Detector
from raresearch.types import Array

BIN = 0.050  #: µs
N_BINS = 192
_START = -3.6  # µs before the cloud's centre: more than five sigma after 350 µs of drift


@dataclass(frozen=True, slots=True)
class Clouds:
    """Extracted electrons of N signals: ``electrons`` count, Gaussian ``spread`` µs, mean delay ``trail`` µs of an added
    exponential (0 where electrons come all together)."""

    electrons: Array
    spread: Array
    trail: Array

    def select(self, keep: Array) -> Clouds:
        """The signals where ``keep`` (N,) holds."""
        return Clouds(self.electrons[keep], self.spread[keep], self.trail[keep])


@dataclass(frozen=True, slots=True)
class Pulses:
    """S2 signals: ``waveform`` (N, K) PE per bin, ``top`` (N,) PE on the top array."""

    waveform: Array
    top: Array


def drifted(electrons: Array, drift_time: Array, detector: Detector, rng: np.random.Generator) -> Clouds:
    """Clouds extracted from ``electrons`` (N,) that start at the depth of ``drift_time`` (µs)."""
    extracted = rng.binomial(electrons, detector.eee * detector.survival(drift_time))
    return Clouds(extracted, detector.spread(drift_time), np.zeros(len(extracted)))


def electroluminescence(clouds: Clouds, detector: Detector, rng: np.random.Generator) -> Pulses:
    """The light of ``clouds``, with counting noise in every bin and the sharing between the arrays."""
    expected = np.maximum(gas_light(arrivals(clouds, detector, rng), detector), 0.0)
    counts = rng.poisson(expected)
    asymmetry = rng.normal(detector.s2_tba, detector.s2_tba_sd, len(counts))
    top = rng.binomial(counts.sum(axis=1), np.clip(0.5 * (1.0 + asymmetry), 0.0, 1.0))
    return Pulses(counts.astype(np.float64), top.astype(np.float64))


def arrivals(clouds: Clouds, detector: Detector, rng: np.random.Generator) -> Array:
    """Expected photoelectrons (N, K), each electron's put in the bin where it enters the gas."""
    n = len(clouds.electrons)
    signal = np.repeat(np.arange(n), clouds.electrons)
    m = len(signal)
    time = rng.standard_normal(m) * clouds.spread[signal] + rng.random(n)[signal] * BIN
    late = clouds.trail[signal] > 0.0
    time[late] += clouds.trail[signal[late]] * rng.exponential(size=int(late.sum()))
    # The measured single-electron width contains the counting of photoelectrons, which the Poisson draw adds later.
    width = np.sqrt(max(detector.seg_sd**2 - detector.seg, 0.0))
    gain = np.maximum(rng.normal(detector.seg, width, m), 0.0)
    column = np.clip(((time - _START) / BIN).astype(np.int64), 0, N_BINS - 1)
    return np.bincount(signal * N_BINS + column, weights=gain, minlength=n * N_BINS).reshape(n, N_BINS)


def gas_light(entering: Array, detector: Detector) -> Array:
    """``entering`` (N, K) spread over the transit through the gas (a box) and the tail of the light (an exponential).

    Charge is kept, except what runs out of the window behind its last bin.
    """
    box = max(round(detector.gas_transit / BIN), 1)
    total = np.cumsum(entering, axis=1)
    spread = total.copy()
    spread[:, box:] -= total[:, :-box]
    keep = np.exp(-BIN / detector.s2_tail)
    return np.asarray(lfilter([1.0 - keep], [1.0, -keep], spread / box, axis=1))
