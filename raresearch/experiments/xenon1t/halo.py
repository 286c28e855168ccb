"""Recoil energies of WIMPs: the standard halo model, spin-independent scattering and the Helm form factor.

Lewin and Smith, Astropart. Phys. 6 (1996) 87, doi:10.1016/S0927-6505(96)00047-3; the mean inverse speed of a truncated
Maxwell distribution in closed form: Savage, Freese and Gondolo, arXiv:astro-ph/0607121, Appendix B.
Energies in keV, masses in GeV, speeds in km/s, cross sections in cm².
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import erf, spherical_jn

from raresearch.experiments.constants import constant
from raresearch.types import Array

MASS_NUMBER = 131.293  #: natural xenon as one nucleus of mean mass
_AMU = 0.931494  # GeV
_PROTON = 0.938272  # GeV
_HBARC = 0.1973269804  # GeV fm
_LIGHT = 299792.458  # km/s
_GRAM = 5.609588604e23  # GeV
_YEAR = 365.25 * 86400.0  # s
LOWEST, HIGHEST = 0.01, 100.0  #: keV, the range in which the paper's program takes the spectrum


@dataclass(frozen=True, slots=True)
class Wimp:
    """The particle and its halo; each field is a config name ``data.<field>``."""

    wimp_mass: float = constant(500.0, "GeV", "WIMP mass", "[P] Sec. III")
    wimp_cross_section: float = constant(
        1e-45, "cm2", "WIMP-nucleon cross section", "[P]; spin-independent as in the released program, the text says dependent"
    )
    halo_density: float = constant(0.3, "GeV/cm3", "local density of dark matter", "[R] wimprates 0.5")
    halo_v0: float = constant(238.0, "km/s", "most probable speed of the halo", "[R] wimprates 0.5; 220 in the paper's year")
    halo_escape: float = constant(544.0, "km/s", "escape speed of the galaxy", "[R] wimprates 0.5")
    halo_earth: float = constant(
        252.1, "km/s", "mean speed of the Earth through the halo", "[R] wimprates 0.5, on a day of average speed"
    )

    def rate(self, energy: Array) -> Array:
        """Events per keV, tonne and year at recoil energies (keV): ρ σ A² F² η(v_min) / (2 m_χ μ²), Lewin and Smith Eq. 3.13."""
        reduced = self.wimp_mass * _PROTON / (self.wimp_mass + _PROTON)
        flux = self.halo_density * self.wimp_cross_section * MASS_NUMBER**2 / (2.0 * self.wimp_mass * reduced**2)
        inverse_speed = mean_inverse_speed(self.slowest(energy), self.halo_v0, self.halo_earth, self.halo_escape)
        # c² turns GeV/c² into GeV where masses stand alone; 1e5 cm a km
        per_second_and_gev2 = flux * inverse_speed * _LIGHT**2 * 1e5
        per_kev_and_gram = per_second_and_gev2 * 1e-6 * _GRAM
        return np.asarray(per_kev_and_gram * 1e6 * _YEAR * helm(energy) ** 2)

    def slowest(self, energy: Array) -> Array:
        """Lowest speed (km/s) of a WIMP that can give this recoil (keV): sqrt(E M / 2 μ²)."""
        nucleus = MASS_NUMBER * _AMU
        reduced = self.wimp_mass * nucleus / (self.wimp_mass + nucleus)
        return np.asarray(np.sqrt(0.5e-6 * np.asarray(energy) * nucleus) / reduced * _LIGHT)

    def expected(self, tonne_years: float) -> float:
        """Recoils between `LOWEST` and `HIGHEST` in an exposure, before any detection."""
        return float(_table(self)[1][-1]) * tonne_years

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """``n`` recoil energies in keV."""
        energy, cumulative = _table(self)
        return np.asarray(np.interp(rng.random(n) * cumulative[-1], cumulative, energy))


def helm(energy: Array) -> Array:
    """Helm form factor of xenon, F(0) = 1; ``energy`` in keV. Lewin and Smith Eqs. 4.7 and 4.11: s = 0.9 fm, a = 0.52 fm."""
    s, a, c = 0.9, 0.52, 1.23 * MASS_NUMBER ** (1.0 / 3.0) - 0.60
    radius = np.sqrt(c * c + 7.0 / 3.0 * np.pi**2 * a * a - 5.0 * s * s)
    q = np.sqrt(2.0 * MASS_NUMBER * _AMU * np.asarray(energy, dtype=float) * 1e-6) / _HBARC
    x = np.maximum(q * radius, 1e-6)
    return np.asarray(3.0 * spherical_jn(1, x) / x * np.exp(-0.5 * (q * s) ** 2))


def mean_inverse_speed(slowest: Array, v0: float, earth: float, escape: float) -> Array:
    """Mean of 1/v over the halo above ``slowest`` (km/s), in s/km; the escape speed must exceed the Earth's."""
    x, y, z = np.asarray(slowest) / v0, earth / v0, escape / v0
    norm = erf(z) - 2.0 * z * np.exp(-z * z) / np.sqrt(np.pi)
    tail = 2.0 * np.exp(-z * z) / np.sqrt(np.pi)
    low = erf(x + y) - erf(x - y) - 2.0 * tail * y
    high = erf(z) - erf(x - y) - tail * (y + z - x)
    inside = np.where(x < z - y, low, np.where(x < z + y, high, 0.0))
    return np.asarray(inside / (2.0 * norm * y * v0))


@lru_cache(maxsize=16)
def _table(wimp: Wimp) -> tuple[Array, Array]:
    """Energies (keV) and the rate integrated up to them (events per tonne and year), by trapezoids."""
    energy = np.concatenate([np.geomspace(LOWEST, 1.0, 200), np.linspace(1.0, HIGHEST, 2000)[1:]])
    rate = wimp.rate(energy)
    return energy, np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]) * np.diff(energy))])
