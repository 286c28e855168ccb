"""S1: detected photons of prompt scintillation, photon by photon (there are a few dozen), with their photomultipliers.

N signals, M hits of all signals together. Channels 0…54 are the bottom array, 55…109 the top array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.experiments.pandax2.detector import N_BOTTOM, N_TOP, Detector, pmt_positions
from raresearch.experiments.pandax2.quanta import Species
from raresearch.types import Array


@dataclass(frozen=True, slots=True)
class Hits:
    """Hits of ``n`` S1 signals, flat: ``signal`` (M,) number of the signal, ``time`` ns, ``charge`` PE, ``channel``."""

    n: int
    signal: Array
    time: Array
    charge: Array
    channel: Array

    @property
    def count(self) -> Array:
        """Number of hits of each signal, (N,)."""
        return np.bincount(self.signal, minlength=self.n)

    @property
    def total(self) -> Array:
        """Charge of each signal in PE, (N,)."""
        return np.bincount(self.signal, weights=self.charge, minlength=self.n)

    def select(self, keep: Array) -> Hits:
        """The signals where ``keep`` (N,) holds, renumbered from 0."""
        hit = keep[self.signal]
        number = np.cumsum(keep) - 1
        return Hits(int(np.count_nonzero(keep)), number[self.signal[hit]], self.time[hit], self.charge[hit], self.channel[hit])

    @classmethod
    def merge(cls, parts: list[tuple[Array, Hits]], n: int) -> Hits:
        """Hits of ``n`` signals from parts; each part says which of the ``n`` its signals are."""
        return cls(
            n,
            np.concatenate([where[hits.signal] for where, hits in parts]),
            np.concatenate([hits.time for _, hits in parts]),
            np.concatenate([hits.charge for _, hits in parts]),
            np.concatenate([hits.channel for _, hits in parts]),
        )


@dataclass(frozen=True, slots=True)
class Vertices:
    """Where light is made: ``x``, ``y`` mm from the axis, ``height`` mm above the bottom photomultipliers; each (N,)."""

    x: Array
    y: Array
    height: Array

    @classmethod
    def in_disc(cls, radius: float, height: Array, rng: np.random.Generator) -> Vertices:
        """Uniform over the disc of ``radius`` (mm) at given heights."""
        r = radius * np.sqrt(rng.random(height.shape))
        phi = 2.0 * np.pi * rng.random(height.shape)
        return cls(r * np.cos(phi), r * np.sin(phi), height)


def bottom_pattern(vertices: Vertices, detector: Detector) -> Array:
    """Probability (N, 55) of each bottom photomultiplier: solid angle h / (h² + d²)^1.5 plus uniformly reflected light."""
    tubes = pmt_positions(detector.pmt_pitch)
    dx = vertices.x[:, None] - tubes[:, 0]
    dy = vertices.y[:, None] - tubes[:, 1]
    distance2 = dx * dx + dy * dy + vertices.height[:, None] ** 2
    direct = 1.0 / (distance2 * np.sqrt(distance2))  # the factor h is common to a row and drops out below
    direct *= detector.direct_light / direct.sum(axis=1, keepdims=True)
    return np.asarray(direct + (1.0 - detector.direct_light) / N_BOTTOM)


def scintillation(
    species: Species, photons: Array, drift_time: Array, vertices: Vertices, detector: Detector, rng: np.random.Generator
) -> Hits:
    """Hits of recoils that made ``photons`` (N,) at the depth of ``drift_time`` (µs) and at ``vertices``."""
    probability = detector.pde / (1.0 + detector.dpe) * detector.s1_light(drift_time)
    detected = rng.binomial(photons, np.minimum(probability, 1.0))
    return light(species, detected, detector.s1_top_share(drift_time), vertices, detector, rng)


def light(
    species: Species, detected: Array, top_share: Array, vertices: Vertices, detector: Detector, rng: np.random.Generator
) -> Hits:
    """Hits of scintillation of which ``detected`` (N,) photons were seen, a share ``top_share`` (N,) of them on top."""
    signal = np.repeat(np.arange(len(detected)), detected)
    m = len(signal)
    # One search in the row-wise cumulative pattern, each row lifted by its number, draws all bottom channels at once.
    lifted = (np.cumsum(bottom_pattern(vertices, detector), axis=1) + np.arange(len(detected))[:, None]).ravel()
    found = np.searchsorted(lifted, rng.random(m) + signal) - signal * N_BOTTOM
    top = rng.random(m) < top_share[signal]
    channel = np.where(top, N_BOTTOM + rng.integers(N_TOP, size=m), np.clip(found, 0, N_BOTTOM - 1))
    return Hits(len(detected), signal, decay_times(species, m, detector, rng), charges(m, detector, rng), channel)


def decay_times(species: Species, m: int, detector: Detector, rng: np.random.Generator) -> Array:
    """Arrival times (ns) of ``m`` photons after the recoil: singlet and triplet decay, spread of travel and transit."""
    singlet = detector.nr_singlet if species == "NR" else detector.er_singlet
    slow = detector.nr_triplet_time if species == "NR" else detector.er_triplet_time
    scale = np.where(rng.random(m) < singlet, detector.singlet_time, slow)
    return np.asarray(scale * rng.exponential(size=m) + rng.normal(0.0, detector.transit_spread, m))


def charges(m: int, detector: Detector, rng: np.random.Generator) -> Array:
    """Charges (PE) of ``m`` detected photons of 175 nm: one or two photoelectrons, smeared."""
    electrons = 1.0 + (rng.random(m) < detector.dpe)
    return smeared(electrons, detector, rng)


def smeared(electrons: Array, detector: Detector, rng: np.random.Generator) -> Array:
    """Charges (PE) of pulses of ``electrons`` photoelectrons; at least 0.05 PE, since a hit has passed a threshold."""
    width = detector.spe_resolution * np.sqrt(electrons)
    return np.maximum(electrons + width * rng.standard_normal(electrons.shape), 0.05)
