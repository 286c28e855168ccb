"""Energies of the two electrons of neutrinoless double beta decay (mass mechanism). Energies in keV."""

from __future__ import annotations

import numpy as np
from scipy.special import loggamma

from raresearch.experiments.pandax3.detector import Q_VALUE
from raresearch.experiments.pandax3.tables import ALPHA, ELECTRON
from raresearch.types import Array

_DAUGHTER, _MASS = 56, 136  # barium


def fermi(energy: Array) -> Array:
    """Relativistic Fermi function at the nuclear surface, up to a constant; ``energy`` kinetic, R = 1.2 fm A^(1/3)."""
    total = energy / ELECTRON + 1
    p = np.sqrt(total**2 - 1)
    gamma = np.sqrt(1 - (ALPHA * _DAUGHTER) ** 2)
    eta, radius = ALPHA * _DAUGHTER * total / p, 1.2 * _MASS ** (1 / 3) / 386.159
    log = 2 * (gamma - 1) * np.log(2 * p * radius) + np.pi * eta + 2 * loggamma(gamma + 1j * eta).real
    result: Array = np.exp(log)
    return result


def spectrum(energy: Array) -> Array:
    """dN/dT1 ~ p1 E1 F(T1) p2 E2 F(T2), not normalised."""

    def one(kinetic: Array) -> Array:
        total = kinetic / ELECTRON + 1
        result: Array = np.sqrt(total**2 - 1) * total * fermi(kinetic)
        return result

    return one(energy) * one(Q_VALUE - energy)


def quantiles(points: int = 2001) -> Array:
    """(points,): energies T1 in keV at even probabilities from 0 to 1."""
    grid = np.linspace(0.5, Q_VALUE - 0.5, 8000)
    cumulated = np.cumsum(spectrum(grid))
    cumulated = (cumulated - cumulated[0]) / (cumulated[-1] - cumulated[0])
    result: Array = np.interp(np.linspace(0, 1, points), cumulated, grid)
    return result
