"""Energies of electrons in beta and double-beta decay. Energies in MeV unless a name says otherwise.

Legend: N draws, G points of a table.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import loggamma

from raresearch.types import Array

ELECTRON_MASS = 0.51099895  #: MeV
FINE_STRUCTURE = 1.0 / 137.035999
Q_XENON = 2.4578  #: MeV, 136Xe → 136Ba
_POINTS = 2001


def fermi(kinetic: Array, z: int, mass_number: int) -> Array:
    """Relativistic Fermi function of a point at the nucleus' surface; ``z`` of the daughter, negative for positrons.

    The non-relativistic one gives 214Bi's ground-state branch a mean of 1.41 MeV; ENSDF has 1.268.
    """
    total = kinetic + ELECTRON_MASS
    momentum = np.sqrt(total**2 - ELECTRON_MASS**2)
    radius = 1.2 * mass_number ** (1 / 3) / 197.327  # 1/MeV
    gamma = np.sqrt(1.0 - (FINE_STRUCTURE * z) ** 2)
    eta = FINE_STRUCTURE * z * total / momentum
    nucleus = np.exp(2.0 * (np.real(loggamma(gamma + 1j * eta)) - np.real(loggamma(2.0 * gamma + 1.0))))
    return np.asarray(2.0 * (1.0 + gamma) * (2.0 * momentum * radius) ** (2.0 * (gamma - 1.0)) * np.exp(np.pi * eta) * nucleus)


def beta_density(kinetic: Array, endpoint: float, z: int, mass_number: int) -> Array:
    """Allowed spectrum, not normalised: p W (Q - T)² F."""
    total = kinetic + ELECTRON_MASS
    momentum = np.sqrt(total**2 - ELECTRON_MASS**2)
    return np.asarray(momentum * total * (endpoint - kinetic) ** 2 * fermi(kinetic, z, mass_number))


@lru_cache(maxsize=256)
def beta_table(endpoint: float, z: int, mass_number: int) -> tuple[Array, Array]:
    """Cumulative probability (G,) and kinetic energy (G,)."""
    return _table(beta_density, endpoint, z, mass_number)


@lru_cache(maxsize=16)
def double_beta_table(available: float) -> tuple[Array, Array]:
    """The same for the sum of both electrons of 2νββ: K (Q - K)⁵ (1 + 2K + 4K²/3 + K³/3 + K⁴/30), K in electron masses."""

    def density(sum_energy: Array, q: float) -> Array:
        k, end = sum_energy / ELECTRON_MASS, q / ELECTRON_MASS
        return np.asarray(k * (end - k) ** 5 * (1 + 2 * k + 4 * k**2 / 3 + k**3 / 3 + k**4 / 30))

    return _table(density, available)


def draw(table: tuple[Array, Array], rng: np.random.Generator, n: int) -> Array:
    """(n,) energies by the inverse of the cumulative probability."""
    cumulative, energy = table
    return np.interp(rng.random(n), cumulative, energy)


def share(total: Array, rng: np.random.Generator) -> Array:
    """(N, 2): ``total`` (N,) split between two electrons as (T1 + m)² (T2 + m)², the Primakoff-Rosen form."""
    fraction = np.full(len(total), np.nan)
    left = np.arange(len(total))
    peak = (total / 2 + ELECTRON_MASS) ** 4
    while len(left):
        trial = rng.random(len(left))
        first, second = trial * total[left], (1 - trial) * total[left]
        height = (first + ELECTRON_MASS) ** 2 * (second + ELECTRON_MASS) ** 2
        taken = rng.random(len(left)) * peak[left] < height
        fraction[left[taken]] = trial[taken]
        left = left[~taken]
    return np.stack([fraction * total, (1 - fraction) * total], axis=1)


def _table(density: object, endpoint: float, *more: object) -> tuple[Array, Array]:
    edges = np.linspace(0.0, endpoint, _POINTS)
    middle = 0.5 * (edges[1:] + edges[:-1])
    height = density(middle, endpoint, *more)  # type: ignore[operator]
    cumulative = np.r_[0.0, np.cumsum(height)]
    return cumulative / cumulative[-1], edges
