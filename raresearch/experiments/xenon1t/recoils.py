"""From energies to recoils that the detector finds: positions, quanta, the S1 and S2 that the likelihood model sees.

N recoils.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from raresearch.experiments.constants import constant
from raresearch.experiments.xenon1t.detector import Detector
from raresearch.experiments.xenon1t.halo import Wimp
from raresearch.experiments.xenon1t.quanta import Species, sample_quanta
from raresearch.types import Array

#: probability that an S1 of 0, 1, 2, … detected photons is found; 1 beyond. laidbax, first science run
S1_FOUND = (
    *(0.0, 0.0, 0.0, 0.5135, 0.787, 0.851, 0.9165, 0.9255, 0.9415, 0.948, 0.9545),
    *(0.961, 0.972, 0.987, 0.9865, 0.9845, 0.9865, 0.993, 0.992, 0.9905, 1.0),
)
S1_WINDOW, S2_WINDOW = (3.0, 70.0), (50.0, 8000.0)  #: corrected PE, the search region behind the paper's Table I
FIDUCIAL_MASS, LIVE_DAYS = 1042.0, 34.2  #: kg; days of the first science run
ER_RATE = 1.986648e-4  #: per kg, day and keV: laidbax's background file, without the later factor 1.157


@dataclass(frozen=True, slots=True)
class Electrons:
    """The electron-recoil background; fields are ``data.`` names."""

    er_highest_energy: float = constant(15.0, "keV", "upper end of the flat spectrum", "[R] laidbax, 0 to 15 keV")

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """``n`` energies in keV, above 0."""
        return np.asarray(self.er_highest_energy * (1.0 - rng.random(n)))


@dataclass(frozen=True, slots=True)
class Recoils:
    """N recoils: ``energy`` keV, ``x``, ``y``, ``depth`` cm, ``photons`` and ``electrons`` made; each (N,)."""

    energy: Array
    x: Array
    y: Array
    depth: Array
    photons: Array
    electrons: Array

    @property
    def radius(self) -> Array:
        """cm."""
        return np.asarray(np.hypot(self.x, self.y))

    def __len__(self) -> int:
        return len(self.energy)

    def select(self, which: Array) -> Recoils:
        """The recoils that ``which`` (mask or numbers) names."""
        return Recoils(*(getattr(self, f.name)[which] for f in fields(self)))

    @classmethod
    def merge(cls, parts: list[Recoils]) -> Recoils:
        """All recoils of ``parts``, one after the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@dataclass(frozen=True, slots=True)
class Found:
    """What the likelihood model sees of N recoils: corrected charges in PE, ``found`` bool; each (N,)."""

    cs1: Array
    cs2: Array
    found: Array

    @property
    def in_window(self) -> Array:
        """Found, and inside the search region of Table I."""
        s1 = (self.cs1 > S1_WINDOW[0]) & (self.cs1 < S1_WINDOW[1])
        return np.asarray(self.found & s1 & (self.cs2 > S2_WINDOW[0]) & (self.cs2 < S2_WINDOW[1]))


def throw(species: Species, spectrum: Wimp | Electrons, n: int, detector: Detector, rng: np.random.Generator) -> Recoils:
    """``n`` recoils, uniform in the fiducial volume."""
    energy = spectrum.sample(n, rng)
    radius = detector.fiducial_radius * np.sqrt(rng.random(n))
    phi = 2.0 * np.pi * rng.random(n)
    depth = rng.uniform(detector.fiducial_top, detector.fiducial_bottom, n)
    photons, electrons = sample_quanta(species, energy, detector, rng)
    return Recoils(energy, radius * np.cos(phi), radius * np.sin(phi), depth, photons, electrons)


def find(recoils: Recoils, detector: Detector, rng: np.random.Generator) -> Found:
    """laidbax's response: at least three photons, its S1 efficiency, S2 above threshold."""
    light = detector.light(recoils.radius, recoils.depth)
    detected = rng.binomial(recoils.photons, np.clip(detector.found_g1 * light, 0.0, 1.0))
    s1 = charge(detected, detector, rng)
    survival = np.exp(-recoils.depth / detector.drift_velocity / detector.found_lifetime)
    electrons = rng.binomial(recoils.electrons, survival)
    s2 = rng.poisson(electrons * detector.found_s2_gain).astype(np.float64)
    efficiency = np.asarray(S1_FOUND)[np.minimum(detected, len(S1_FOUND) - 1)]
    found = (rng.random(len(recoils)) < efficiency) & (s1 > 0.0) & (s2 > detector.found_s2)
    return Found(s1 / light, s2 / survival, found)


def charge(photons: Array, detector: Detector, rng: np.random.Generator) -> Array:
    """Charge in PE of ``photons`` (any shape) detected: double photoelectrons, and the width of each. Never below 0."""
    photoelectrons = photons + rng.binomial(photons, detector.dpe)
    width = detector.spe_resolution * np.sqrt(photoelectrons)
    return np.maximum(photoelectrons + width * rng.standard_normal(np.shape(photons)), 0.0)


def expected_er(acceptance: float, electrons: Electrons) -> float:
    """Electron recoils of the first science run in the search region (Table I: 61.879487).

    >>> round(expected_er(1.0, Electrons()), 1)
    106.2
    """
    return ER_RATE * electrons.er_highest_energy * FIDUCIAL_MASS * LIVE_DAYS * acceptance


def expected_wimps(acceptance: float, wimp: Wimp) -> float:
    """WIMP recoils of the first science run in the search region (Table I prints 35.029005; see README.md)."""
    return wimp.expected(FIDUCIAL_MASS * 1e-3 * LIVE_DAYS / 365.25) * acceptance
