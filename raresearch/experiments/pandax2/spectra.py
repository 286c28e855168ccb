"""Recoil energies of the calibration samples: what the paper's AmBe, tritium and radon runs would deposit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from raresearch.experiments.constants import constant
from raresearch.types import Array

TRITIUM_ENDPOINT = 18.59  #: keV
_ELECTRON_MASS = 510.999  # keV
_FINE_STRUCTURE = 1.0 / 137.036


@dataclass(frozen=True, slots=True)
class NeutronSpectrum:
    """Nuclear recoils of neutron calibration: two exponentials above a threshold; fields are ``data.`` names."""

    nr_soft_share: float = constant(0.70, "fraction", "recoils of the softer exponential", "[A]")
    nr_soft_energy: float = constant(8.0, "keV", "mean energy of the softer exponential", "[A]")
    nr_hard_energy: float = constant(22.0, "keV", "mean energy of the harder exponential", "[A]")
    nr_lowest_energy: float = constant(1.0, "keV", "added to both: no recoil below it is simulated", "[A]")

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """``n`` energies in keV."""
        scale = np.where(rng.random(n) < self.nr_soft_share, self.nr_soft_energy, self.nr_hard_energy)
        return np.asarray(self.nr_lowest_energy + scale * rng.exponential(size=n))


@dataclass(frozen=True, slots=True)
class ElectronSpectrum:
    """Electron recoils of calibration: tritium plus a flat part (radon daughters); fields are ``data.`` names."""

    er_tritium_share: float = constant(0.60, "fraction", "recoils from tritium, the rest is flat", "[A]")
    er_flat_low: float = constant(0.1, "keV", "lower edge of the flat part", "[A]")
    er_flat_high: float = constant(15.0, "keV", "upper edge of the flat part", "[A]")

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """``n`` energies in keV."""
        tritium = rng.random(n) < self.er_tritium_share
        energy, cumulative = _tritium_table()
        from_tritium = np.interp(rng.random(n), cumulative, energy)
        return np.where(tritium, from_tritium, rng.uniform(self.er_flat_low, self.er_flat_high, n))


def tritium_density(energy: Array) -> Array:
    """Beta spectrum of tritium (not normalised) at ``energy`` (keV), with the non-relativistic Fermi function of helium.

    p E_total (Q - T)² F; F = 2πη / (1 - exp(-2πη)), η = Z α E_total / p. Mean energy 5.7 keV.
    """
    total = energy + _ELECTRON_MASS
    momentum = np.sqrt(np.maximum(total**2 - _ELECTRON_MASS**2, 1e-12))
    eta = 2.0 * np.pi * 2.0 * _FINE_STRUCTURE * total / momentum
    return np.asarray(momentum * total * np.maximum(TRITIUM_ENDPOINT - energy, 0.0) ** 2 * eta / -np.expm1(-eta))


@lru_cache(maxsize=1)
def _tritium_table() -> tuple[Array, Array]:
    energy = np.linspace(1e-3, TRITIUM_ENDPOINT, 2000)
    density = tritium_density(energy)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return energy, cumulative / cumulative[-1]
