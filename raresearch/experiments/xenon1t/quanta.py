"""Quanta of single recoils in liquid xenon at XENON1T's field: mean yields and their fluctuations, as laidbax draws them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from raresearch.experiments.xenon import QUANTA_PER_KEV, nr_yields
from raresearch.experiments.xenon1t.detector import Detector
from raresearch.types import Array

Species = Literal["ER", "NR"]

#: electrons per keV of electron recoils: polynomial in log10(E / 5 keV), flat above 12 keV. XENON1T's fit to its own
#: calibration as in laidbax; J. Aalbers, thesis, Amsterdam 2018
_ER_CHARGE = (32.507, -27.695, 15.043)


def er_electrons(energy: Array) -> Array:
    """Mean electrons of electron recoils of ``energy`` (keV, above 0); never more than there are quanta.

    >>> round(float(er_electrons(np.array([5.0]))[0]), 1)
    162.5
    """
    x = np.log10(np.minimum(energy, 12.0) / 5.0)
    per_kev = _ER_CHARGE[0] + _ER_CHARGE[1] * x + _ER_CHARGE[2] * x * x
    return np.asarray(np.minimum(per_kev, QUANTA_PER_KEV) * energy)


def mean_yields(species: Species, energy: Array, field: float) -> tuple[Array, Array]:
    """Mean (photons, electrons) at ``energy`` (keV)."""
    if species == "ER":
        electrons = er_electrons(energy)
        return QUANTA_PER_KEV * energy - electrons, electrons
    quanta, electrons, share = nr_yields(energy, field)
    return (quanta - electrons) * share, electrons


def sample_quanta(species: Species, energy: Array, detector: Detector, rng: np.random.Generator) -> tuple[Array, Array]:
    """Photons and electrons (integers, shape of ``energy`` in keV) of single recoils.

    A Fano factor on 73 quanta a keV; binomial loss to heat (NR); binomial sharing between photons and electrons, its
    probability spread further by recombination.
    """
    photons, electrons = mean_yields(species, energy, detector.drift_field)
    visible = photons + electrons
    number = QUANTA_PER_KEV * energy
    drawn = np.maximum(np.rint(rng.normal(number, np.sqrt(detector.fano * number))), 0.0).astype(np.int64)
    if species == "NR":
        drawn = rng.binomial(drawn, visible / number)
    width = detector.er_electron_sd if species == "ER" else detector.nr_electron_sd
    share = np.clip(rng.normal(electrons / visible, width), 0.0, 1.0)
    n_electrons = rng.binomial(drawn, share)
    return drawn - n_electrons, n_electrons
