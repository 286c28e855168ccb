"""Waveforms of S1 and S2 in PE per 10 ns, and where each signal begins and ends.

N events, K samples. The first and the last samples of every row are empty: outside of the window there is only baseline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.experiments.xenon1t.detector import Detector
from raresearch.experiments.xenon1t.light import Counts, Photons
from raresearch.experiments.xenon1t.recoils import Recoils
from raresearch.types import Array

SAMPLE = 10.0  #: ns
_S1_START, _S1_SAMPLES = -150.0, 128
_S2_START, _S2_SAMPLES = -5500.0, 1280  # five sigma of diffusion from the cathode, then gas, decay and pulse
#: charge of one photoelectron in the samples from the one before its own; pax's pulse, averaged over the phase
_PULSE = np.array(
    [
        *(0.0219, 0.3719, 0.2819, 0.0900, 0.0310, 0.0229, 0.0194, 0.0172, 0.0155, 0.0143, 0.0138),
        *(0.0149, 0.0160, 0.0148, 0.0127, 0.0117, 0.0115, 0.0093, 0.0048, 0.0026, 0.0016, 0.0003),
    ]
)
_PULSE /= _PULSE.sum()
_BEFORE, _AFTER = 3, 20  # samples that pax counts to a hit before and after its maximum


@dataclass(frozen=True, slots=True)
class Waveforms:
    """``samples`` (N, K) PE per 10 ns; ``left`` and ``right`` (N,) first and last sample of the signal."""

    samples: Array
    left: Array
    right: Array

    @property
    def height(self) -> Array:
        """Largest sample of each event, (N,)."""
        return np.asarray(self.samples.max(axis=1))


def s1_waveforms(photons: Photons) -> Waveforms:
    """S1 of each event, from its photons."""
    slot = photons.event * _S1_SAMPLES + _columns(photons.time, _S1_START, _S1_SAMPLES)
    size = photons.n * _S1_SAMPLES
    return _shaped(np.bincount(slot, weights=photons.charge, minlength=size).reshape(photons.n, _S1_SAMPLES))


def s2_waveforms(recoils: Recoils, counts: Counts, detector: Detector, rng: np.random.Generator) -> Waveforms:
    """S2 of each event: electrons arrive, are trapped a while and shine; each photon comes from one of them."""
    n = len(recoils)
    owner = np.repeat(np.arange(n), counts.electrons)
    arrival = detector.spread(recoils.depth)[owner] * rng.standard_normal(len(owner))
    arrival += detector.trapping_time * rng.standard_exponential(len(owner))
    event = np.repeat(np.arange(n), counts.s2)
    time = arrival[_electrons(event, counts, rng)]
    # Single precision draws faster and is far finer than the 10 ns that a sample is long.
    time += detector.gas_transit * rng.random(len(event), dtype=np.float32)
    time += detector.gas_triplet * rng.standard_exponential(len(event), dtype=np.float32)
    slot = event * _S2_SAMPLES + _columns(time, _S2_START, _S2_SAMPLES)
    photons = np.bincount(slot, minlength=n * _S2_SAMPLES)
    return _shaped(_charges(photons, detector, rng).reshape(n, _S2_SAMPLES))


def _electrons(event: Array, counts: Counts, rng: np.random.Generator) -> Array:
    """Number of the electron, over all events, that made each photon of ``event``."""
    first = np.cumsum(counts.electrons) - counts.electrons
    within = rng.random(len(event)) * counts.electrons[event]
    return np.asarray(first[event] + within.astype(np.int64))


def _charges(photons: Array, detector: Detector, rng: np.random.Generator) -> Array:
    """Charge in PE of ``photons`` a sample: mean and variance of double photoelectrons and their widths, as a Gaussian."""
    charges = np.zeros(len(photons))
    lit = np.flatnonzero(photons)
    number = photons[lit]
    variance = detector.dpe * (1.0 - detector.dpe) + detector.spe_resolution**2 * (1.0 + detector.dpe)
    drawn = number * (1.0 + detector.dpe) + np.sqrt(number * variance) * rng.standard_normal(len(lit))
    # A lit sample keeps a trace of charge, so that no photon vanishes from the signal's extent.
    charges[lit] = np.maximum(drawn, 1e-3)
    return charges


def _columns(time: Array, start: float, samples: int) -> Array:
    """Sample of each ``time`` (ns); the few that leave the window stay at its edge, short of where it must be empty."""
    return np.clip(((time - start) / SAMPLE).astype(np.int64), 4, samples - _AFTER - 4)


def _shaped(charges: Array) -> Waveforms:
    """Waveforms from photoelectrons (N, K) in their samples: each becomes a pulse."""
    lit = charges > 0.0
    left = lit.argmax(axis=1) - _BEFORE
    right = charges.shape[1] - 1 - lit[:, ::-1].argmax(axis=1) + _AFTER
    # Rows end in empty samples, longer than a pulse: one convolution serves all rows without mixing them.
    flat = np.convolve(charges.ravel(), _PULSE)[1 : charges.size + 1]
    return Waveforms(np.maximum(flat, 0.0).reshape(charges.shape), left, right)
