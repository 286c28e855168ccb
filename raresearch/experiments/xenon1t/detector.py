"""The detector: every constant with unit and provenance, and the maps of light over the chamber.

Depth counts downwards from the gate in cm, radius from the axis in cm. XENON1T's public processing and likelihood programs
(pax, laidbax; BSD) are the source of what is marked [R]; their maps of light are replaced by polynomials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.experiments.constants import constant
from raresearch.types import Array

_LAIDBAX = "[R] laidbax, first science run"
_PAX = "[R] pax, XENON1T settings"
_FIT = "[A] fit to a public light map"


@dataclass(frozen=True, slots=True)
class Detector:
    """XENON1T as it is simulated; each field is a config name ``data.<field>``.

    The paper's chain has two models of the detector: laidbax decides which recoils are found (``found_*``), pax makes the
    signals of the pictures from the photons and electrons of those found.
    """

    drift_field: float = constant(117.0, "V/cm", "drift field", _LAIDBAX)
    drift_length: float = constant(96.9, "cm", "gate to cathode", _PAX)
    tpc_radius: float = constant(47.9, "cm", "inner radius of the chamber", _PAX)
    fiducial_radius: float = constant(39.85, "cm", "radius of the fiducial volume", _LAIDBAX)
    fiducial_top: float = constant(13.45, "cm", "smallest depth of the fiducial volume", _LAIDBAX)
    fiducial_bottom: float = constant(83.45, "cm", "largest depth of the fiducial volume", _LAIDBAX)
    drift_velocity: float = constant(0.144, "cm/us", "drift velocity of electrons", _PAX)
    gate_time: float = constant(1.7, "us", "from the gate into the gas", _PAX)
    fano: float = constant(0.03, "fraction", "variance over mean of the number of quanta", _LAIDBAX)
    nr_electron_sd: float = constant(0.02, "fraction", "spread of the electron share of NR quanta", _LAIDBAX)
    er_electron_sd: float = constant(0.045, "fraction", "spread of the electron share of ER quanta", _LAIDBAX)
    dpe: float = constant(0.15, "fraction", "probability of two photoelectrons from one detected photon", _LAIDBAX)
    spe_resolution: float = constant(0.4181, "fraction", "relative width of the single-photoelectron charge", _LAIDBAX)
    found_g1: float = constant(0.1442 / 1.15, "fraction", "detected photons a photon where recoils are found", _LAIDBAX)
    found_s2_gain: float = constant(11.52, "PE", "bottom-array charge of an electron where recoils are found", _LAIDBAX)
    found_lifetime: float = constant(452.0, "us", "lifetime of drifting electrons where recoils are found", _LAIDBAX)
    found_s2: float = constant(150.0, "PE", "smallest uncorrected S2 found", _LAIDBAX)
    g1: float = constant(0.12, "fraction", "detected photons a photon in the pictures, mean over the chamber", _PAX)
    s2_gain: float = constant(21.3, "photons", "detected photons an electron in the pictures", _PAX)
    lifetime: float = constant(1e5, "us", "lifetime of drifting electrons in the pictures", "[P] Sec. III")
    s2_top: float = constant(0.627, "fraction", "share of S2 light on the top array", _PAX)
    s1_decay: float = constant(44.77, "ns", "decay time of S1, the same for ER and NR", _PAX)
    transit_spread: float = constant(13.6, "ns", "spread of the photomultipliers' transit time", _PAX)
    diffusion: float = constant(22.8, "cm2/s", "longitudinal diffusion of electrons", _PAX)
    trapping_time: float = constant(140.0, "ns", "mean delay of an electron at the surface", _PAX)
    gas_transit: float = constant(600.0, "ns", "time that an electron shines in the gas, evenly", "[A] pax solves the field")
    gas_triplet: float = constant(119.5, "ns", "decay time of the light in the gas", _PAX)
    s2_spot: float = constant(6.8, "cm", "core of the S2 light on the top array: (1 + d²/core²)^-1.75 + floor", "[A]")
    s2_floor: float = constant(0.002, "relative", "floor of the same, reflected light", "[A]")
    s1_direct: float = constant(0.55, "fraction", "share of S1's bottom light that comes straight, the rest is uniform", "[A]")
    bottom_gap: float = constant(8.0, "cm", "cathode to bottom photomultipliers", "[A]")

    def drift_time(self, depth: Array) -> Array:
        """Drift time (µs) from a depth (cm)."""
        return np.asarray(depth / self.drift_velocity + self.gate_time)

    def light(self, radius: Array, depth: Array) -> Array:
        """Light collection of S1 relative to its mean: what cS1 divides by. Fit to laidbax's map, rms 2.4 %."""
        s, q = self._relative(radius, depth)
        return np.asarray(0.692 + 0.631 * s + 0.085 * s * s + 0.002 * q - 0.191 * q * s + 0.027 * q * q)

    def s1_top(self, radius: Array, depth: Array) -> Array:
        """Share of the S1 light on the top array. Fit to pax's map, rms 0.5 %."""
        s, q = self._relative(radius, depth)
        return np.asarray(0.386 - 0.425 * s + 0.105 * s * s - 0.022 * q + 0.049 * q * s)

    def spread(self, depth: Array) -> Array:
        """Standard deviation (ns) of the electrons' arrival from a depth (cm): sqrt(2 D t) / v."""
        variance = 2.0 * self.diffusion * 1e-6 * self.drift_time(depth)  # cm²
        return np.asarray(np.sqrt(variance) / self.drift_velocity * 1e3)

    def _relative(self, radius: Array, depth: Array) -> tuple[Array, Array]:
        return np.asarray(depth / self.drift_length), np.asarray((radius / self.tpc_radius) ** 2)
