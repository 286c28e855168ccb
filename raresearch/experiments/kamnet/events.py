"""From a decay to electrons in the scintillator, seen with KamLAND-Zen's resolution: what the windows keep, before any light.

Legend: N events, D deposits. Energies in MeV, lengths in cm, times in ns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.experiments.kamnet.decays import Decays, decay
from raresearch.experiments.kamnet.detector import Detector, Physics
from raresearch.experiments.kamnet.gammas import Deposits, Photons, directions, transport
from raresearch.experiments.kamnet.spectra import ELECTRON_MASS
from raresearch.types import Array

_MARGIN = 5.0  # sigmas of the energy below the window where a decay is not followed


@dataclass(frozen=True, slots=True)
class Seen:
    """``visible`` (N,) MeV, ``energy`` (N,) MeV and ``vertex`` (N, 3) as reconstructed, ``deposits`` with their events."""

    visible: Array
    energy: Array
    vertex: Array
    deposits: Deposits

    def __len__(self) -> int:
        return len(self.energy)

    @property
    def radius(self) -> Array:
        return np.asarray(np.linalg.norm(self.vertex, axis=1))

    def select(self, rows: Array) -> Seen:
        """The events ``rows`` (bool, N), renumbered."""
        number = np.cumsum(rows) - 1
        kept = self.deposits.select(rows[self.deposits.event])
        renumbered = Deposits(number[kept.event], kept.energy, kept.place, kept.time)
        return Seen(self.visible[rows], self.energy[rows], self.vertex[rows], renumbered)


def throw(species: str, film: bool, detector: Detector, physics: Physics, rng: np.random.Generator, n: int) -> Seen:
    """``n`` decays, and of them what the windows of energy and radius keep. ``film``: on the balloon instead of inside."""
    decays = decay(species, physics, rng, n)
    released = decays.released()
    possible = released > physics.energy_low - _MARGIN * detector.energy_resolution * np.sqrt(released)
    scale = 1.0 if film else np.cbrt(rng.random(n))
    place = directions(rng, n) * np.reshape(detector.balloon_radius * scale, (-1, 1))
    return _kept(reconstruct(deposits(decays, place, possible, detector, physics, rng), n, detector, rng), film, physics)


def deposits(
    decays: Decays, place: Array, possible: Array, detector: Detector, physics: Physics, rng: np.random.Generator
) -> Deposits:
    """Every electron of the ``possible`` (N,) events at ``place`` (N, 3)."""
    event, column = np.nonzero((decays.electrons > 0) & possible[:, None])
    own = Deposits(event, decays.electrons[event, column], place[event], np.zeros(len(event)))
    photons = annihilation(np.flatnonzero(decays.positron & possible), place, physics, rng)
    mine = possible[decays.event]
    event = decays.event[mine]
    nuclear = Photons(event, decays.energy[mine], place[event], directions(rng, len(event)), decays.time[mine])
    return Deposits.merge([own, transport(Photons.merge([photons, nuclear]), detector, physics, rng)])


def annihilation(event: Array, place: Array, physics: Physics, rng: np.random.Generator) -> Photons:
    """Two gammas of 511 keV back to back for each positron of ``event`` (N,), after the life of what it formed.

    Ortho-positronium ends by pick-off in scintillator, with two gammas as everything else.
    """
    ortho = rng.random(len(event)) < physics.ortho_positronium
    time = rng.exponential(1.0, len(event)) * np.where(ortho, physics.ortho_lifetime, physics.para_lifetime)
    way = directions(rng, len(event))
    twice = np.r_[event, event]
    return Photons(twice, np.full(len(twice), ELECTRON_MASS), place[twice], np.r_[way, -way], np.r_[time, time])


def visible_energy(energy: Array, detector: Detector) -> Array:
    """Light of electrons of ``energy`` in MeV of unquenched electrons: 1 - q exp(-E/E_q) of it."""
    return np.asarray(energy * (1.0 - detector.quench * np.exp(-energy / detector.quench_energy)))


def reconstruct(found: Deposits, n: int, detector: Detector, rng: np.random.Generator) -> Seen:
    """Energy and vertex of ``n`` events: the centroid of the light, with the detector's resolutions."""
    light = visible_energy(found.energy, detector)
    visible = np.bincount(found.event, light, minlength=n)
    safe = np.maximum(visible, 1e-3)
    centroid = np.stack([np.bincount(found.event, light * found.place[:, i], minlength=n) / safe for i in range(3)], axis=1)
    energy = visible + detector.energy_resolution * np.sqrt(visible) * rng.standard_normal(n)
    vertex = centroid + (detector.vertex_resolution / np.sqrt(safe))[:, None] * rng.standard_normal((n, 3))
    bright = Deposits(found.event, light, found.place, found.time)
    return Seen(visible, energy, vertex, bright)


def _kept(seen: Seen, film: bool, physics: Physics) -> Seen:
    inside = seen.radius < (physics.film_radius if film else physics.fiducial_radius)
    return seen.select((seen.energy > physics.energy_low) & (seen.energy < physics.energy_high) & inside)
