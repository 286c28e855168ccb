"""Liquid xenon as several detectors need it: mean yields of nuclear recoils by the NEST fit to world data."""

from __future__ import annotations

import numpy as np

from raresearch.types import Array

ATOMIC_NUMBER = 54.0
QUANTA_PER_KEV = 73.0  #: NEST, 13.7 eV a quantum


def nr_yields(energy: Array, field: float) -> tuple[Array, Array, Array]:
    """Mean (quanta before quenching, electrons, share of photons that survive Penning quenching) of nuclear recoils.

    ``energy`` in keV (above 0), ``field`` in V/cm. The mean number of photons is (quanta - electrons) × share. Lenardo et
    al. 2015 (arXiv:1412.4417): Lindhard k = 0.1394, 73 quanta per keV, Thomas-Imel parameter 0.01385 F^-0.0620.

    >>> quanta, electrons, share = nr_yields(np.array([10.0]), 117.0)
    >>> round(float(electrons[0]), 1), round(float((quanta - electrons)[0] * share[0]), 1)
    (51.9, 77.7)
    """
    epsilon = 11.5 * np.asarray(energy) * ATOMIC_NUMBER ** (-7.0 / 3.0)
    g = 3.0 * epsilon**0.15 + 0.7 * epsilon**0.6 + epsilon
    lindhard = 0.1394 * g / (1.0 + 0.1394 * g)
    quanta = QUANTA_PER_KEV * energy * lindhard
    excitons_per_ion = 1.240 * field**-0.0472 * -np.expm1(-239.0 * epsilon)
    ions = quanta / (1.0 + excitons_per_ion)
    thomas_imel = 0.01385 * field**-0.0620
    electrons = np.log1p(ions * thomas_imel) / thomas_imel
    return quanta, electrons, 1.0 / (1.0 + 3.3 * epsilon**1.14)
