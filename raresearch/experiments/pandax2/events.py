"""From thrown candidates to accepted events: one path for nuclear recoils, electron recoils and accidental pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from raresearch.experiments.pandax2.accidental import Isolated, Mixture, isolated_s1, isolated_s2, pair
from raresearch.experiments.pandax2.detector import Detector
from raresearch.experiments.pandax2.features import COLUMN, features
from raresearch.experiments.pandax2.quanta import Species, sample_quanta
from raresearch.experiments.pandax2.s1 import Hits, Vertices, scintillation
from raresearch.experiments.pandax2.s2 import Clouds, drifted, electroluminescence
from raresearch.experiments.pandax2.spectra import ElectronSpectrum, NeutronSpectrum
from raresearch.types import Array

#: the paper's signal window (Section 3): 3 < qS1c < 45 PE, qS2 > 100 PE, qS2c < 10,000 PE
S1C_WINDOW = (3.0, 45.0)
S2_LOW = 100.0
S2C_HIGH = 10_000.0


@dataclass(frozen=True, slots=True)
class Candidates:
    """N pairs of an S1 and an S2 before light is made in the gas; ``drift_time`` (µs) is the apparent one."""

    hits: Hits
    clouds: Clouds
    drift_time: Array

    def select(self, keep: Array) -> Candidates:
        """The candidates where ``keep`` (N,) holds."""
        return Candidates(self.hits.select(keep), self.clouds.select(keep), self.drift_time[keep])


@dataclass(frozen=True, slots=True)
class Events:
    """What an analysis sees of N events: ``features`` (N, 13) and apparent ``drift_time`` (N,) µs."""

    features: Array
    drift_time: Array

    def select(self, rows: Array) -> Events:
        """The events of ``rows`` (mask or numbers)."""
        return Events(self.features[rows], self.drift_time[rows])

    def column(self, name: str) -> Array:
        """One feature by its name in Table 1, (N,)."""
        return np.asarray(self.features[:, COLUMN[name]])


class Source(Protocol):
    """Anything that throws candidates inside the fiducial volume."""

    def candidates(self, n: int, rng: np.random.Generator) -> Candidates: ...


@dataclass(frozen=True, slots=True)
class NuclearRecoils:
    """Neutron calibration."""

    spectrum: NeutronSpectrum
    detector: Detector

    def candidates(self, n: int, rng: np.random.Generator) -> Candidates:
        return recoils("NR", self.spectrum.sample(n, rng), self.detector, rng)


@dataclass(frozen=True, slots=True)
class ElectronRecoils:
    """Tritium and radon calibration."""

    spectrum: ElectronSpectrum
    detector: Detector

    def candidates(self, n: int, rng: np.random.Generator) -> Candidates:
        return recoils("ER", self.spectrum.sample(n, rng), self.detector, rng)


@dataclass(frozen=True, slots=True)
class AccidentalPairs:
    """Random pairs of isolated signals."""

    mixture: Mixture
    shapes: Isolated
    spectrum: ElectronSpectrum
    detector: Detector

    def candidates(self, n: int, rng: np.random.Generator) -> Candidates:
        s1 = isolated_s1(n, self.mixture, self.shapes, self.spectrum, self.detector, rng)
        s2 = isolated_s2(n, self.mixture, self.shapes, self.detector, rng)
        return Candidates(*pair(s1, s2, self.detector, rng))


def recoils(species: Species, energy: Array, detector: Detector, rng: np.random.Generator) -> Candidates:
    """Candidates of single recoils of ``energy`` (N,) keV, uniform in the fiducial volume."""
    photons, electrons = sample_quanta(species, energy, detector, rng)
    return from_quanta(species, photons, electrons, detector, rng)


def from_quanta(species: Species, photons: Array, electrons: Array, detector: Detector, rng: np.random.Generator) -> Candidates:
    """Candidates of recoils that made ``photons`` and ``electrons`` (N,), uniform in the fiducial volume."""
    drift_time = rng.uniform(detector.drift_time_low, detector.drift_time_high, len(photons))
    height = detector.drift_length - detector.depth(drift_time) + detector.bottom_gap
    vertices = Vertices.in_disc(detector.fiducial_radius, height, rng)
    hits = scintillation(species, photons, drift_time, vertices, detector, rng)
    return Candidates(hits, drifted(electrons, drift_time, detector, rng), drift_time)


def detectable(candidates: Candidates, detector: Detector) -> Array:
    """Mask (N,): enough hits in S1 for a coincidence, at least one electron in S2."""
    return np.asarray((candidates.hits.count >= detector.coincidence) & (candidates.clouds.electrons >= 1))


def respond(candidates: Candidates, detector: Detector, rng: np.random.Generator) -> Events:
    """Light in the gas and the features of all ``candidates``, without a cut."""
    pulses = electroluminescence(candidates.clouds, detector, rng)
    return Events(features(candidates.hits, pulses, candidates.drift_time, detector), candidates.drift_time)


def in_s1_window(candidates: Candidates, detector: Detector) -> Array:
    """Mask (N,): the cut on qS1c, applied before the costly S2 light is made; it needs nothing of it."""
    q1c = candidates.hits.total / detector.s1_light(candidates.drift_time)
    return np.asarray((q1c > S1C_WINDOW[0]) & (q1c < S1C_WINDOW[1]))


def in_s2_window(events: Events) -> Array:
    """Mask (N,): the cuts on qS2 and qS2c."""
    return np.asarray((events.column("qS2") > S2_LOW) & (events.column("qS2c") < S2C_HIGH))


def throw(source: Source, n: int, detector: Detector, rng: np.random.Generator) -> Events:
    """The events of ``n`` thrown candidates that pass the paper's signal window."""
    candidates = source.candidates(n, rng)
    candidates = candidates.select(detectable(candidates, detector) & in_s1_window(candidates, detector))
    events = respond(candidates, detector, rng)
    return events.select(in_s2_window(events))
