"""The detector: every constant with unit and provenance, the corrections of charge and the photomultiplier layout.

Depth is measured downwards from the gate (0 mm) to the cathode (``drift_length``); times of S2 are in µs, of S1 in ns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from raresearch.experiments.constants import constant
from raresearch.types import Array

N_BOTTOM = 55  #: photomultipliers of the bottom array; the top array has as many
N_TOP = 55

_MEMORY = "[A] recalled from PandaX-II papers, not looked up"
_ASSUMED = "[A]"


@dataclass(frozen=True, slots=True)
class Detector:
    """PandaX-II as it is simulated; each field is a config name ``data.<field>``.

    ``pde`` counts photoelectrons, so that a photon is detected with probability pde / (1 + dpe): a detected photon gives
    one photoelectron, or two with probability ``dpe``.
    """

    drift_length: float = constant(600.0, "mm", "gate to cathode", _MEMORY)
    drift_velocity: float = constant(1.67, "mm/us", "drift velocity of electrons", _MEMORY)
    tpc_radius: float = constant(323.0, "mm", "inner radius of the reflector", _MEMORY)
    fiducial_radius: float = constant(268.0, "mm", "radius of the fiducial volume", _MEMORY)
    drift_time_low: float = constant(50.0, "us", "shortest drift time of the fiducial volume", _MEMORY)
    drift_time_high: float = constant(350.0, "us", "longest drift time of the fiducial volume", _MEMORY)
    electron_lifetime: float = constant(800.0, "us", "lifetime of drifting electrons", _MEMORY)
    pde: float = constant(0.120, "fraction", "photoelectrons per scintillation photon, averaged over depth", _MEMORY)
    eee: float = constant(0.475, "fraction", "probability that an electron is extracted into the gas", _MEMORY)
    seg: float = constant(23.5, "PE", "photoelectrons per extracted electron", _MEMORY)
    seg_sd: float = constant(6.5, "PE", "standard deviation of the single-electron charge, counting included", _ASSUMED)
    dpe: float = constant(0.21, "fraction", "probability of two photoelectrons from one detected photon", _ASSUMED)
    spe_resolution: float = constant(0.35, "fraction", "relative width of the single-photoelectron charge", _ASSUMED)
    s1_light_top: float = constant(0.80, "relative", "S1 light yield at the gate", _ASSUMED)
    s1_light_bottom: float = constant(1.20, "relative", "S1 light yield at the cathode; linear in depth", _ASSUMED)
    s1_top_at_gate: float = constant(0.42, "fraction", "share of S1 light on the top array, from the gate", _ASSUMED)
    s1_top_at_cathode: float = constant(0.10, "fraction", "the same from the cathode; linear in depth", _ASSUMED)
    direct_light: float = constant(0.55, "fraction", "share of bottom light that comes straight, the rest is uniform", _ASSUMED)
    bottom_gap: float = constant(60.0, "mm", "cathode to bottom photomultipliers", _ASSUMED)
    pmt_pitch: float = constant(80.0, "mm", "distance of neighbouring photomultipliers, hexagonal", _ASSUMED)
    singlet_time: float = constant(4.0, "ns", "decay time of the singlet", _ASSUMED)
    nr_singlet: float = constant(0.50, "fraction", "light of nuclear recoils from the singlet", _ASSUMED)
    nr_triplet_time: float = constant(26.0, "ns", "slow decay time of nuclear recoils", _ASSUMED)
    er_singlet: float = constant(0.15, "fraction", "light of electron recoils from the singlet", _ASSUMED)
    er_triplet_time: float = constant(34.0, "ns", "slow decay time of electron recoils", _ASSUMED)
    transit_spread: float = constant(6.0, "ns", "spread of photon travel and photomultiplier transit", _ASSUMED)
    coincidence: float = constant(2.0, "hits", "fewest detected photons that make an S1", _ASSUMED)
    diffusion: float = constant(18.0, "cm2/s", "longitudinal diffusion of electrons", _ASSUMED)
    gas_transit: float = constant(0.75, "us", "time that an electron shines in the gas", _ASSUMED)
    s2_tail: float = constant(0.100, "us", "exponential tail of the S2 light", _ASSUMED)
    s2_tba: float = constant(0.27, "fraction", "mean top-bottom asymmetry of S2", _ASSUMED)
    s2_tba_sd: float = constant(0.05, "fraction", "its spread from event to event, besides counting", _ASSUMED)
    fano: float = constant(0.03, "fraction", "variance over mean of the number of quanta", _ASSUMED)
    nr_recombination_sd: float = constant(0.02, "fraction", "extra spread of the electron share of NR quanta", _ASSUMED)
    er_recombination_sd: float = constant(0.052, "fraction", "extra spread of the electron share of ER quanta", _ASSUMED)

    def depth(self, drift_time: Array) -> Array:
        """Depth below the gate (mm) of a drift time (µs)."""
        return np.asarray(drift_time * self.drift_velocity)

    def s1_light(self, drift_time: Array) -> Array:
        """S1 light yield relative to its mean, at a drift time (µs): what qS1c divides by."""
        return self._linear(drift_time, self.s1_light_top, self.s1_light_bottom)

    def s1_top_share(self, drift_time: Array) -> Array:
        """Share of the S1 light that the top array sees, at a drift time (µs)."""
        return self._linear(drift_time, self.s1_top_at_gate, self.s1_top_at_cathode)

    def survival(self, drift_time: Array) -> Array:
        """Probability that an electron survives a drift time (µs): what qS2c divides by."""
        return np.asarray(np.exp(-drift_time / self.electron_lifetime))

    def spread(self, drift_time: Array) -> Array:
        """Standard deviation (µs) of electrons' arrival after a drift time (µs): sqrt(2 D t) / v."""
        diffusion_mm2_us = self.diffusion * 1e-4  # 1 cm²/s = 100 mm² / 10⁶ µs
        return np.asarray(np.sqrt(2.0 * diffusion_mm2_us * drift_time) / self.drift_velocity)

    def _linear(self, drift_time: Array, top: float, bottom: float) -> Array:
        share = np.clip(self.depth(drift_time) / self.drift_length, 0.0, 1.0)
        return np.asarray(top + (bottom - top) * share)


@lru_cache(maxsize=16)
def pmt_positions(pitch: float) -> Array:
    """Centres (mm), shape (55, 2), of a hexagonal array: 55 is a full number of shells around the central tube."""
    steps = np.arange(-5, 6)
    a, b = (grid.ravel() for grid in np.meshgrid(steps, steps))
    shell = a * a + a * b + b * b  # squared distance in units of the pitch, exact in integers
    order = np.lexsort((b, a, shell))[:N_BOTTOM]
    positions = pitch * np.stack([a + 0.5 * b, np.sqrt(0.75) * b], axis=1)[order]
    positions.setflags(write=False)
    return positions
