"""Light of found recoils as pax simulates it: S1 photon by photon (there are tens), S2 as numbers of photons.

N events, M photons of all S1 together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from raresearch.experiments.xenon1t.detector import Detector
from raresearch.experiments.xenon1t.pmts import N_BOTTOM, N_TOP, bottom_shares, top_shares
from raresearch.experiments.xenon1t.recoils import Recoils, charge
from raresearch.types import Array

FEWEST_PHOTONS = 3  #: detected photons without which there is no S1


@dataclass(frozen=True, slots=True)
class Counts:
    """Detected quanta of N events: ``s1`` photons, ``electrons`` in the gas, ``s2`` photons; each (N,)."""

    s1: Array
    electrons: Array
    s2: Array

    @property
    def seen(self) -> Array:
        """Events with an S1 and an S2 to draw, (N,) bool."""
        return np.asarray((self.s1 >= FEWEST_PHOTONS) & (self.s2 > 0))

    def select(self, which: Array) -> Counts:
        """The events that ``which`` (mask or numbers) names."""
        return Counts(*(getattr(self, f.name)[which] for f in fields(self)))

    @classmethod
    def merge(cls, parts: list[Counts]) -> Counts:
        """All events of ``parts``, one after the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@dataclass(frozen=True, slots=True)
class Photons:
    """S1 photons of ``n`` events, flat: ``event`` (M,), ``time`` ns after the recoil, ``charge`` PE, ``channel`` of the bottom
    array (0 … 120), or -1 on the top array."""

    n: int
    event: Array
    time: Array
    charge: Array
    channel: Array

    @property
    def area(self) -> Array:
        """Charge of each S1 in PE, (N,)."""
        return np.bincount(self.event, weights=self.charge, minlength=self.n)

    @property
    def bottom_pattern(self) -> Array:
        """Charge in PE of each bottom photomultiplier, (N, 121)."""
        seen = self.channel >= 0
        slot = self.event[seen] * N_BOTTOM + self.channel[seen]
        pattern = np.bincount(slot, weights=self.charge[seen], minlength=self.n * N_BOTTOM)
        return np.asarray(pattern.reshape(self.n, N_BOTTOM))


def detect(recoils: Recoils, detector: Detector, rng: np.random.Generator) -> Counts:
    """Photons and electrons of ``recoils`` that are detected."""
    light = detector.light(recoils.radius, recoils.depth)
    s1 = rng.binomial(recoils.photons, np.clip(detector.g1 * light, 0.0, 1.0))
    electrons = rng.binomial(recoils.electrons, survival(recoils.depth, detector))
    return Counts(s1, electrons, rng.poisson(electrons * detector.s2_gain))


def survival(depth: Array, detector: Detector) -> Array:
    """Probability that an electron from ``depth`` (cm) reaches the gas: what cS2 divides by."""
    return np.asarray(np.exp(-detector.drift_time(depth) / detector.lifetime))


def s1_photons(recoils: Recoils, counts: Counts, detector: Detector, rng: np.random.Generator) -> Photons:
    """Every S1 photon with its time, charge and photomultiplier. Nothing here asks for the class of the recoil."""
    event = np.repeat(np.arange(len(recoils)), counts.s1)
    m = len(event)
    time = detector.s1_decay * rng.standard_exponential(m) + detector.transit_spread * rng.standard_normal(m)
    top = rng.random(m) < detector.s1_top(recoils.radius, recoils.depth)[event]
    # Inverse of each event's cumulated shares: row i lies in (i, i + 1], so that one search serves all rows.
    cumulated = np.cumsum(bottom_shares(recoils.x, recoils.y, recoils.depth, detector), axis=1)
    steps = (cumulated / cumulated[:, -1:] + np.arange(len(recoils))[:, None]).ravel()
    channel = np.searchsorted(steps, event + rng.random(m), side="right") - event * N_BOTTOM
    channel = np.minimum(channel, N_BOTTOM - 1)
    return Photons(len(recoils), event, time, charge(np.ones(m, dtype=np.int64), detector, rng), np.where(top, -1, channel))


def s2_top_pattern(recoils: Recoils, counts: Counts, detector: Detector, rng: np.random.Generator) -> Array:
    """Charge in PE of each top photomultiplier, (N, 127)."""
    top = rng.binomial(counts.s2, detector.s2_top)
    photons = rng.multinomial(top, top_shares(recoils.x, recoils.y, detector))
    return charge(photons.reshape(-1, N_TOP), detector, rng)
