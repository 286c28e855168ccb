"""Gammas in scintillator: Compton scattering until they are absorbed or leave. Energies in MeV, lengths in cm, times in ns.

Legend: P photons, D deposits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.experiments.kamnet.detector import Detector, Physics
from raresearch.experiments.kamnet.spectra import ELECTRON_MASS
from raresearch.types import Array

SPEED_OF_LIGHT = 29.9792458  #: cm/ns
RADIUS_SQUARED = 7.940787e-26  #: cm², of the classical electron


@dataclass(frozen=True, slots=True)
class Photons:
    """``event`` (P,), ``energy`` (P,), ``place`` (P, 3), ``direction`` (P, 3), ``time`` (P,)."""

    event: Array
    energy: Array
    place: Array
    direction: Array
    time: Array

    @classmethod
    def merge(cls, parts: list[Photons]) -> Photons:
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("event", "energy", "place", "direction", "time")))

    def select(self, rows: Array) -> Photons:
        return Photons(self.event[rows], self.energy[rows], self.place[rows], self.direction[rows], self.time[rows])


@dataclass(frozen=True, slots=True)
class Deposits:
    """``event`` (D,), ``energy`` (D,), ``place`` (D, 3), ``time`` (D,): one electron each."""

    event: Array
    energy: Array
    place: Array
    time: Array

    @classmethod
    def merge(cls, parts: list[Deposits]) -> Deposits:
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("event", "energy", "place", "time")))

    def select(self, rows: Array) -> Deposits:
        return Deposits(self.event[rows], self.energy[rows], self.place[rows], self.time[rows])


def cross_section(energy: Array) -> Array:
    """Klein-Nishina, cm² an electron.

    >>> f"{cross_section(0.1):.3e}"
    '4.927e-25'
    """
    k = np.asarray(energy) / ELECTRON_MASS
    log = np.log1p(2 * k)
    first = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - log / k)
    return np.asarray(2 * np.pi * RADIUS_SQUARED * (first + log / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2))


def directions(rng: np.random.Generator, n: int) -> Array:
    """(n, 3) unit vectors, even over the sphere."""
    vector = rng.standard_normal((n, 3))
    return np.asarray(vector / np.linalg.norm(vector, axis=1, keepdims=True))


def scattered(energy: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Energy after a Compton scattering (P,) and cosine of its angle (P,), from the Klein-Nishina distribution."""
    k = energy / ELECTRON_MASS
    least = 1 / (1 + 2 * k)
    ratio, cosine = np.empty_like(energy), np.empty_like(energy)
    left = np.arange(len(energy))
    while len(left):
        trial = least[left] + (1 - least[left]) * rng.random(len(left))
        angle = 1 - (1 / trial - 1) / k[left]
        height = (trial + 1 / trial - 1 + angle**2) / (least[left] + 1 / least[left])
        taken = rng.random(len(left)) < height
        ratio[left[taken]], cosine[left[taken]] = trial[taken], angle[taken]
        left = left[~taken]
    return ratio * energy, cosine


def turned(direction: Array, cosine: Array, rng: np.random.Generator) -> Array:
    """``direction`` (P, 3) turned by the angle of ``cosine`` (P,) to an even azimuth."""
    # Two directions across by Duff et al. (JCGT 6, 2017): no cross products, no case of parallel vectors.
    x, y, z = direction.T
    sign = np.copysign(1.0, z)
    a = -1.0 / (sign + z)
    b = x * y * a
    azimuth = 2 * np.pi * rng.random(len(cosine))
    sine = np.sqrt(np.clip(1 - cosine**2, 0, None))
    p, q = sine * np.cos(azimuth), sine * np.sin(azimuth)
    return np.stack(
        [
            cosine * x + p * (1 + sign * x * x * a) + q * b,
            cosine * y + p * sign * b + q * (sign + y * y * a),
            cosine * z - p * sign * x - q * y,
        ],
        axis=1,
    )


def transport(photons: Photons, detector: Detector, physics: Physics, rng: np.random.Generator) -> Deposits:
    """Every electron that ``photons`` set free inside the scintillator. What leaves it is lost.

    Neither coherent scattering nor pair production nor the photoeffect above ``absorption_energy``: [A].
    """
    parts = []
    while len(photons.event):
        path = rng.exponential(1.0, len(photons.event)) / (physics.electron_density * cross_section(photons.energy))
        place = photons.place + path[:, None] * photons.direction
        inside = np.einsum("pi,pi->p", place, place) < detector.scintillator_radius**2
        photons = Photons(photons.event, photons.energy, place, photons.direction, photons.time + path / SPEED_OF_LIGHT).select(
            inside
        )
        after, cosine = scattered(photons.energy, rng)
        after = np.where(photons.energy < physics.absorption_energy, 0.0, after)
        parts.append(Deposits(photons.event, photons.energy - after, photons.place, photons.time))
        goes_on = after > 0
        direction = turned(photons.direction[goes_on], cosine[goes_on], rng)
        photons = photons.select(goes_on)
        photons = Photons(photons.event, after[goes_on], photons.place, direction, photons.time)
    return Deposits.merge(parts) if parts else Deposits(np.zeros(0, int), np.zeros(0), np.zeros((0, 3)), np.zeros(0))
