"""Quanta of liquid xenon: mean yields from published parametrisations at the drift field, and their fluctuations.

Nuclear recoils: Lenardo et al. 2015 (arXiv:1412.4417), the NEST fit of world data, as a function of field.
Electron recoils: photon and electron yields of NEST's beta model at 317 V/cm, interpolated between the energies below.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.interpolate import PchipInterpolator

from raresearch.experiments import xenon
from raresearch.experiments.pandax2.detector import Detector
from raresearch.types import Array

FIELD = 317.0  #: drift field in V/cm; fixed because the electron-recoil table below holds at this field only

Species = Literal["NR", "ER"]

# energy (keV), photons, electrons: NEST beta model, 317 V/cm
_NEST_BETA = np.array(
    [
        [1.0, 10.9, 63.5],
        [2.0, 52.6, 96.2],
        [5.0, 199.0, 173.0],
        [10.0, 449.0, 295.0],
        [20.0, 950.0, 538.0],
        [50.0, 2317.0, 1404.0],
    ]
)
# Monotone cubic in ln E: the photon share bends strongly between 1 and 5 keV, where straight lines fall short.
_PHOTON_SHARE = PchipInterpolator(np.log(_NEST_BETA[:, 0]), _NEST_BETA[:, 1] / _NEST_BETA[:, 1:].sum(axis=1))
_QUANTA_PER_KEV = float(np.mean(_NEST_BETA[:, 1:].sum(axis=1) / _NEST_BETA[:, 0]))


def nr_yields(energy: Array, field: float = FIELD) -> tuple[Array, Array, Array]:
    """Mean (quanta before quenching, electrons, share of photons that survive Penning quenching) of nuclear recoils.

    See `raresearch.experiments.xenon.nr_yields`; here at this detector's drift field unless another is given.

    >>> quanta, electrons, share = nr_yields(np.array([10.0]))
    >>> round(float(electrons[0]), 1), round(float((quanta - electrons)[0] * share[0]), 1)
    (53.5, 76.1)
    """
    return xenon.nr_yields(energy, field)


def er_yields(energy: Array) -> tuple[Array, Array]:
    """Mean (quanta, electrons) of electron recoils of ``energy`` (keV) at 317 V/cm.

    Outside the table the photon share of its nearest end holds; below 1 keV no event reaches the S1 threshold.

    >>> quanta, electrons = er_yields(np.array([5.0]))
    >>> round(float(quanta[0] - electrons[0])), round(float(electrons[0]))
    (199, 173)
    """
    inside = np.clip(energy, _NEST_BETA[0, 0], _NEST_BETA[-1, 0])
    quanta = _QUANTA_PER_KEV * np.asarray(energy)
    return quanta, quanta * (1.0 - _PHOTON_SHARE(np.log(inside)))


def sample_quanta(species: Species, energy: Array, detector: Detector, rng: np.random.Generator) -> tuple[Array, Array]:
    """Photons and electrons (integers, shape of ``energy`` in keV) of single recoils.

    Fluctuations: Fano factor on the number of quanta; binomial sharing between photons and electrons, its probability
    spread further by the recombination width; binomial survival of Penning quenching (nuclear recoils only).
    """
    if species == "NR":
        quanta, electrons, share = nr_yields(energy)
        width = detector.nr_recombination_sd
    else:
        quanta, electrons = er_yields(energy)
        share, width = np.ones_like(quanta), detector.er_recombination_sd
    number = np.maximum(np.rint(rng.normal(quanta, np.sqrt(detector.fano * quanta))), 0.0).astype(np.int64)
    probability = np.clip(rng.normal(electrons / np.maximum(quanta, 1e-9), width), 0.0, 1.0)
    n_electrons = rng.binomial(number, probability)
    return rng.binomial(number - n_electrons, share), n_electrons
