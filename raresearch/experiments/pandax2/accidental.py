"""Accidental coincidences: a library of isolated S1, an independent library of isolated S2, and their random pairing.

The paper's Section 2 names the origins; their shares and shapes are assumptions, since the tables of the study it cites
(arXiv:2204.11175) are not at hand. Only what a detector knows enters a pair: two signals and their distance in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from raresearch.errors import SpaceError, nearest
from raresearch.experiments.constants import constant
from raresearch.experiments.pandax2.detector import N_BOTTOM, N_TOP, Detector
from raresearch.experiments.pandax2.quanta import sample_quanta
from raresearch.experiments.pandax2.s1 import Hits, Vertices, charges, light, scintillation, smeared
from raresearch.experiments.pandax2.s2 import Clouds
from raresearch.experiments.pandax2.spectra import ElectronSpectrum
from raresearch.types import Array


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of the origins: ``s1`` dark pile-up, charge lost below the cathode, mis-tagged single electron, ordinary
    S1 without S2; ``s2`` S2 that lost its S1, gate or surface, delayed electrons."""

    s1: tuple[float, float, float, float]
    s2: tuple[float, float, float]


#: "I" was written down first; "II" was later made harder on purpose, and in a prototype its significance then came out near
#: the paper's: a reason not to make it the default. [A] both
MIXTURES: Mapping[str, Mixture] = MappingProxyType(
    {
        "I": Mixture(s1=(0.45, 0.35, 0.10, 0.10), s2=(0.50, 0.30, 0.20)),
        "II": Mixture(s1=(0.30, 0.35, 0.07, 0.28), s2=(0.68, 0.20, 0.12)),
    }
)


def mixture(name: object) -> Mixture:
    """The mixture called ``name``; raises `SpaceError` for another name."""
    if not isinstance(name, str) or name not in MIXTURES:
        raise SpaceError(f"data.accidental_mixture: {name!r}", "no such mixture", nearest(str(name), MIXTURES))
    return MIXTURES[name]


@dataclass(frozen=True, slots=True)
class Isolated:
    """Shapes of isolated signals; each field is a config name ``data.<field>``."""

    dark_stop: float = constant(0.55, "fraction", "dark pile-up: 2 + Geometric(this) hits, so at least 3", "[A]")
    dark_window: float = constant(300.0, "ns", "dark pile-up: window of the hits", "[A]")
    cathode_charge_low: float = constant(3.0, "PE", "S1 from below the cathode: smallest mean charge", "[A]")
    cathode_charge_scale: float = constant(9.0, "PE", "S1 from below the cathode: exponential scale of the mean charge", "[A]")
    cathode_top: float = constant(0.06, "fraction", "S1 from below the cathode: share of light on top", "[A]")
    mistag_charge: float = constant(18.8, "PE", "single electron taken for an S1: mean charge", "[A]")
    mistag_top: float = constant(0.64, "fraction", "single electron taken for an S1: share of light on top", "[A]")
    mistag_window: float = constant(650.0, "ns", "single electron taken for an S1: duration", "[A]")
    lost_electrons: float = constant(28.0, "electrons", "S2 without S1: median of extracted electrons", "[A]")
    lost_sigma: float = constant(0.7, "ln", "S2 without S1, gate S2: log-normal width", "[A]")
    gate_drift_time: float = constant(10.0, "us", "gate or surface S2: longest drift time", "[A]")
    delayed_low: float = constant(4.0, "electrons", "delayed electrons: fewest", "[A]")
    delayed_scale: float = constant(10.0, "electrons", "delayed electrons: exponential scale", "[A]")
    delayed_trail: float = constant(1.0, "us", "delayed electrons: mean delay, which skews the pulse", "[A]")


def expected_accidentals(s1_rate: float, s2_rate: float, window: float, live_time: float, efficiency: float = 1.0) -> float:
    """Expected accidental events, the paper's Eq. 2.1: n_acc = r1 r2 Δt T ε; exact to first order in r Δt.

    Rates in Hz, ``window`` (the drift times that the fiducial volume allows) and ``live_time`` in s.

    >>> round(expected_accidentals(1.0, 0.01, 300e-6, 86400.0), 4)
    0.2592
    """
    return s1_rate * s2_rate * window * live_time * efficiency


def isolated_s1(
    n: int, shares: Mixture, shapes: Isolated, spectrum: ElectronSpectrum, detector: Detector, rng: np.random.Generator
) -> Hits:
    """A library of ``n`` isolated S1 in random order of origin."""
    origin = rng.choice(4, size=n, p=shares.s1)
    where = [np.flatnonzero(origin == k) for k in range(4)]
    parts = [
        _dark_pile_up(len(where[0]), shapes, detector, rng),
        _below_cathode(len(where[1]), shapes, detector, rng),
        _mistagged_electron(len(where[2]), shapes, detector, rng),
        _ordinary(len(where[3]), spectrum, detector, rng),
    ]
    return Hits.merge(list(zip(where, parts, strict=True)), n)


def isolated_s2(n: int, shares: Mixture, shapes: Isolated, detector: Detector, rng: np.random.Generator) -> Clouds:
    """A library of ``n`` isolated S2 in random order of origin."""
    origin = rng.choice(3, size=n, p=shares.s2)
    own_drift_time = rng.uniform(0.0, detector.drift_length / detector.drift_velocity, n)
    near_gate = rng.uniform(0.0, shapes.gate_drift_time, n)
    scattered = shapes.lost_electrons * np.exp(shapes.lost_sigma * rng.standard_normal(n))
    delayed = shapes.delayed_low + shapes.delayed_scale * rng.exponential(size=n)
    electrons = np.maximum(np.rint(np.where(origin == 2, delayed, scattered)), 1.0).astype(np.int64)
    spread = detector.spread(np.where(origin == 0, own_drift_time, near_gate))
    return Clouds(electrons, spread, np.where(origin == 2, shapes.delayed_trail, 0.0))


def pair(s1: Hits, s2: Clouds, detector: Detector, rng: np.random.Generator) -> tuple[Hits, Clouds, Array]:
    """Each S1 with another random S2, and the apparent drift time (µs), uniform over the fiducial volume.

    Every signal is used once: pairs that share a signal could lie on both sides of a split and leak.
    """
    drift_time = rng.uniform(detector.drift_time_low, detector.drift_time_high, s1.n)
    return s1, s2.select(rng.permutation(s1.n)), drift_time


def _dark_pile_up(n: int, shapes: Isolated, detector: Detector, rng: np.random.Generator) -> Hits:
    signal = np.repeat(np.arange(n), 2 + rng.geometric(shapes.dark_stop, size=n))
    m = len(signal)
    channel = rng.integers(N_BOTTOM + N_TOP, size=m)
    return Hits(n, signal, rng.uniform(0.0, shapes.dark_window, m), smeared(np.ones(m), detector, rng), channel)


def _below_cathode(n: int, shapes: Isolated, detector: Detector, rng: np.random.Generator) -> Hits:
    # Some distance from the glass: a point source on a photomultiplier's face is no electron recoil in the liquid.
    height = rng.uniform(0.1, 1.0, n) * detector.bottom_gap
    mean = shapes.cathode_charge_low + shapes.cathode_charge_scale * rng.exponential(size=n)
    detected = rng.poisson(mean / (1.0 + detector.dpe))
    vertices = Vertices.in_disc(detector.tpc_radius, height, rng)
    return light("ER", detected, np.full(n, shapes.cathode_top), vertices, detector, rng)


def _mistagged_electron(n: int, shapes: Isolated, detector: Detector, rng: np.random.Generator) -> Hits:
    signal = np.repeat(np.arange(n), rng.poisson(shapes.mistag_charge / (1.0 + detector.dpe), size=n))
    m = len(signal)
    top = rng.random(m) < shapes.mistag_top
    channel = np.where(top, N_BOTTOM + rng.integers(N_TOP, size=m), rng.integers(N_BOTTOM, size=m))
    return Hits(n, signal, rng.uniform(0.0, shapes.mistag_window, m), charges(m, detector, rng), channel)


def _ordinary(n: int, spectrum: ElectronSpectrum, detector: Detector, rng: np.random.Generator) -> Hits:
    photons, _ = sample_quanta("ER", spectrum.sample(n, rng), detector, rng)
    drift_time = rng.uniform(0.0, detector.drift_length / detector.drift_velocity, n)
    height = detector.drift_length - detector.depth(drift_time) + detector.bottom_gap
    return scintillation("ER", photons, drift_time, Vertices.in_disc(detector.tpc_radius, height, rng), detector, rng)
