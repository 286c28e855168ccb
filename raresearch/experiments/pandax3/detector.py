"""Every constant of the PandaX-III simulation with unit and provenance. Loads NumPy only.

[P] the paper (Xia et al., see README.md) · [R] public reference · [A] assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

from raresearch.experiments.constants import constant

Q_VALUE = 2457.83  #: keV, 136Xe
ENERGY = {"0vbb": Q_VALUE, "Tl208": 2614.53, "Bi214": 2447.7}  #: keV, decay energy or gamma line
SIDE = 64  #: pixels a side of an image
FULL = 250  #: count of a pixel at the electronics' full scale; images are whole counts in 8 bits


@dataclass(frozen=True, slots=True)
class Gas:
    """The active volume: a cylinder along z, read out at z = 0."""

    radius: float = constant(80.0, "cm", "radius of the field cage", "[P] Sec. 2: diameter of 160 cm")
    length: float = constant(120.0, "cm", "drift length", "[P] Sec. 2")
    density: float = constant(0.0580, "g/cm3", "density of xenon", "[P] 140 kg in the volume above; 1 % TMA left out [A]")
    hard_path: float = constant(
        0.05, "fraction", "mean free path between sampled scatters over the transport path", "[A] class II"
    )
    shortest_path: float = constant(0.01, "cm", "least mean free path between sampled scatters", "[A] far below diffusion")
    longest_step: float = constant(0.2, "cm", "longest step of an electron", "[A] below a strip's pitch")


@dataclass(frozen=True, slots=True)
class Tpc:
    """Drift, strips, electronics and the selection."""

    velocity: float = constant(1.87, "mm/us", "drift velocity", "[P] Sec. 3.1")
    diffusion_transverse: float = constant(1.0e-2, "cm^1/2", "transverse diffusion coefficient", "[P] Sec. 3.1")
    diffusion_longitudinal: float = constant(1.5e-2, "cm^1/2", "longitudinal diffusion coefficient", "[P] Sec. 3.1")
    packet: float = constant(1.0, "keV", "charge that drifts as one", "[A] coarser than electrons, finer than noise")
    pitch: float = constant(0.3, "cm", "strip pitch, and pixel size in both directions", "[P] Sec. 2, 3.2")
    shaping: float = constant(5.0, "us", "shaping time of the AGET response", "[P] Sec. 3.1; its form [R]")
    window: float = constant(82.4, "us", "event window after the first charge", "[P] Sec. 3.1: 412 samples of 200 ns")
    full_scale: float = constant(250.0, "keV", "energy whose pulse fills the 4096 ADC counts", "[A] gain is not given")
    noise: float = constant(10.0, "ADC counts", "standard deviation of the noise of a pixel", "[P] Sec. 3.1")
    threshold: float = constant(5.0, "standard deviations", "zero suppression", "[A] the paper names none")
    resolution: float = constant(0.03, "fraction", "energy resolution, FWHM at Q over Q", "[P] Sec. 3.1")
    roi_low: float = constant(2395.0, "keV", "lower edge of the region of interest", "[P] Sec. 3.2")
    roi_high: float = constant(2520.0, "keV", "upper edge of the region of interest", "[P] Sec. 3.2")
    least_charge: float = constant(0.3, "fraction", "charge of a plane that must lie in its frame", "[A] whole tracks")
