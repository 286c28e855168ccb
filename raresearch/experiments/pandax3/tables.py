"""Cross-sections and stopping power of xenon as tables for the kernels, from published formulas.

Energies in keV, lengths in cm; τ = T/mc². Sources: XCOM (photons), Berger and Seltzer (collision losses), Møller, screened
Rutherford with Molière's screening and McKinley and Feshbach's factor (elastic scattering). Bremsstrahlung's φ is [A] ~10 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raresearch.experiments.pandax3.detector import Gas
from raresearch.types import Array

ELECTRON = 510.99895  # keV
ALPHA = 1.0 / 137.035999
Z, A, IONISATION = 54.0, 135.5, 0.482  # xenon enriched in 136Xe; mean excitation energy in keV
CLASSICAL = 0.0794079  # r_e² in barn
DELTA = 40.0  #: keV above which a delta electron is followed by itself
PHOTON = 20.0  #: keV above which a bremsstrahlung photon is followed; below, photons are absorbed where they are
STOP = 10.0  #: keV at which an electron stops: its range is 0.4 mm
BREMS_SLOPE = 0.85  # dN/dk ~ (1 - 0.85 k/T)/k [A]
K_EDGE = 34.56

_POINTS = 1024
_LOWEST, _HIGHEST = 5.0, 3000.0
# NIST XCOM for xenon, barn an atom. The edge appears twice.
_ENERGY = (20, 30, 34.55, 34.57, 40, 50, 60, 80, 100, 150, 200, 300, 500, 800, 1000, 1500, 2000, 2447.7, 2614.5, 3000)
_PHOTO = (5473, 1761, 1187, 7052, 4820, 2675, 1625, 733.1, 391, 123.2, 54.29, 17.46, 4.553, 1.513, 0.9451, 0.4341, 0.2641)
_PHOTO_HIGH = (0.1909, 0.1724, 0.1400)
_COMPTON = (18.5, 21.2, 21.9, 21.9, 22.6, 23.3, 23.7, 23.8, 23.5, 22.2, 20.8, 18.5, 15.36, 12.58, 11.33, 9.232, 7.884)
_COMPTON_HIGH = (7.018, 6.748, 6.210)
_PAIR = (
    (1022.0, 1e-4),
    (1100.0, 3e-3),
    (1500.0, 0.1929),
    (2000.0, 0.6477),
    (2447.7, 1.0957),
    (2614.5, 1.2596),
    (3000.0, 1.626),
)
_PHI = ((10.0, 5.6), (100.0, 5.9), (500.0, 6.1), (1000.0, 6.6), (2000.0, 7.6), (3000.0, 8.3))


class Physics(NamedTuple):
    """What kernels need: grids in ln(energy) from ``start`` in steps of ``step``.

    ``electron`` columns: energy loss below the cuts (keV/cm), rates of deltas, of bremsstrahlung and of sampled scatters
    (1/cm), least μ of a sampled scatter, screening A, largest Mott factor, mean 1 - cos of the others (1/cm), β².
    ``photon`` columns: photo, Compton, pair (1/cm). μ = (1 - cos θ)/2. ``kappa``: parameter of the direction's
    distribution by mean 1 - cos on an even grid from 0 to 1.
    """

    start: float
    step: float
    electron: Array
    photon: Array
    kappa: Array
    radius: float
    length: float
    longest_step: float


def build_physics(gas: Gas) -> Physics:
    """Tables for ``gas``."""
    energy = np.geomspace(_LOWEST, _HIGHEST, _POINTS)
    step = float(np.log(energy[1] / energy[0]))
    tables = (electron_table(energy, gas), photon_table(energy, gas))
    return Physics(float(np.log(_LOWEST)), step, *tables, _kappa(), gas.radius, gas.length, gas.longest_step)


def atoms(gas: Gas) -> float:
    """Atoms per barn and cm."""
    return gas.density * 0.602214076 / A


def beta2(energy: Array) -> Array:
    """β² of an electron of kinetic ``energy``."""
    t = energy / ELECTRON
    result: Array = t * (t + 2) / (t + 1) ** 2
    return result


def collision(energy: Array, gas: Gas, cut: float | None = None) -> Array:
    """Collision loss in keV/cm, of transfers below ``cut`` keV; None: all of them (Berger and Seltzer, no density effect)."""
    t = energy / ELECTRON
    d = t / 2 if cut is None else np.minimum(cut / ELECTRON, t / 2)
    f = -1 - beta2(energy) + np.log((t - d) * d) + t / (t - d) + (d**2 / 2 + (2 * t + 1) * np.log1p(-d / t)) / (t + 1) ** 2
    inside = np.log(2 * (t + 2) / (IONISATION / ELECTRON) ** 2) + f
    result: Array = 153.536 * Z / A * gas.density / beta2(energy) * inside
    return result


def moller_rate(energy: Array, gas: Gas) -> Array:
    """Deltas above `DELTA` per cm."""
    g, x = energy / ELECTRON + 1, np.minimum(DELTA / energy, 0.5)
    inside = 1 / x - 1 / (1 - x) + ((g - 1) / g) ** 2 * (0.5 - x) - (2 * g - 1) / g**2 * np.log((1 - x) / x)
    result: Array = 153.536 * Z / A * gas.density / beta2(energy) / energy * inside
    return result


def radiative(energy: Array, gas: Gas) -> Array:
    """Loss by bremsstrahlung in keV/cm."""
    at, value = np.log(np.array(_PHI)).T
    phi = np.exp(np.interp(np.log(energy), at, value))
    result: Array = atoms(gas) * ALPHA * CLASSICAL * Z**2 * (energy + ELECTRON) * phi
    return result


def _bremsstrahlung(energy: Array, gas: Gas) -> tuple[Array, Array]:
    """Rate above `PHOTON` (1/cm) and loss below it (keV/cm)."""
    per_log = radiative(energy, gas) / (energy * (1 - BREMS_SLOPE / 2))
    least = np.minimum(PHOTON, energy)
    rate = per_log * (np.log(energy / least) - BREMS_SLOPE * (1 - least / energy))
    return rate, per_log * (least - BREMS_SLOPE / 2 * least**2 / energy)


def mott(b2: Array, mu: Array) -> Array:
    """McKinley and Feshbach's factor on Rutherford scattering."""
    s = np.sqrt(mu)
    result: Array = 1 - b2 * mu + np.pi * ALPHA * Z * np.sqrt(b2) * s * (1 - s)
    return result


def screening(energy: Array) -> Array:
    """Molière's screening parameter A of 1/(μ + A)²."""
    t = energy / ELECTRON
    moliere = 0.25 * (ALPHA * Z ** (1 / 3) / 0.885) ** 2 / (t * (t + 2))
    result: Array = moliere * (1.13 + 3.76 * (ALPHA * Z) ** 2 / beta2(energy))
    return result


def rutherford(energy: Array, gas: Gas) -> Array:
    """K of dΣ/dμ = K/(μ + A)², 1/cm."""
    t = energy / ELECTRON
    result: Array = atoms(gas) * np.pi * Z * (Z + 1) * CLASSICAL * ((t + 1) / (t * (t + 2))) ** 2
    return result


def deflection(energy: Array, gas: Gas, most: Array | None = None) -> Array:
    """Mean 1 - cos θ per cm of scatters with μ below ``most``; over all, the inverse of the transport path λ1."""
    a, k = screening(energy)[:, None], rutherford(energy, gas)[:, None]
    x = np.linspace(0, 1, 801)[None, :]
    top = np.ones_like(energy) if most is None else most
    # Even in ln(μ + A): the integrand's scale.
    mu = a * ((1 + top[:, None] / a) ** x - 1)
    integrand = 2 * mu / (mu + a) * mott(beta2(energy)[:, None], mu)
    result: Array = k[:, 0] * np.trapezoid(integrand, np.log(mu + a), axis=1)
    return result


def electron_table(energy: Array, gas: Gas) -> Array:
    """(E, 9): see `Physics`."""
    a, k, b2 = screening(energy), rutherford(energy, gas), beta2(energy)
    path = np.maximum(gas.hard_path / deflection(energy, gas), gas.shortest_path)
    # ∫ from μ to 1 of K/(μ + A)² is 1/path; where all scatters together are rarer than that, all are sampled.
    least = np.clip(1 / (1 / (path * k) + 1 / (1 + a)) - a, 0.0, 1.0)
    factor = mott(b2[:, None], np.linspace(0, 1, 401)[None, :]).max(axis=1)
    rate = factor * k * (1 / (least + a) - 1 / (1 + a))
    brems, soft = _bremsstrahlung(energy, gas)
    loss = collision(energy, gas, DELTA) + soft
    rest = deflection(energy, gas, np.maximum(least, 1e-12))
    return np.stack([loss, moller_rate(energy, gas), brems, rate, least, a, factor, rest, b2], axis=1)


def photon_table(energy: Array, gas: Gas) -> Array:
    """(E, 3): photo-effect, Compton scattering and pair production per cm."""
    x, known = np.log(energy), np.log(_ENERGY)
    photo = np.exp(np.interp(x, known, np.log(_PHOTO + _PHOTO_HIGH)))
    compton = np.exp(np.interp(x, known, np.log(_COMPTON + _COMPTON_HIGH)))
    at, value = np.log(np.array(_PAIR)).T
    pair = np.where(energy > 2 * ELECTRON, np.exp(np.interp(x, at, value)), 0.0)
    return np.stack([photo, compton, pair], axis=1) * atoms(gas)


def _kappa() -> Array:
    """κ of p(cos) ~ exp(κ cos) by mean 1 - cos = 1 - coth κ + 1/κ, on 1001 even points from 0 to 1."""
    kappa = np.geomspace(1e-4, 1e5, 20_000)
    mean = 1 - 1 / np.tanh(kappa) + 1 / kappa
    result: Array = np.interp(np.linspace(0, 1, 1001), mean[::-1], kappa[::-1])
    return result
