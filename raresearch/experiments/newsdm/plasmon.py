"""How bright a small silver spheroid is in polarised light: Gans's quasi-static polarisability. Pure functions.

Legend: F filaments (any shape), K polariser positions.
"""

from __future__ import annotations

import numpy as np

from raresearch.experiments.newsdm.emulsion import Silver
from raresearch.types import Array

FRAMES = 8  #: positions of the polariser, evenly over 180° [P] Sec. 2
SPHERE = 60.0  #: nm, the sphere whose brightness is 1


def polariser_angles() -> Array:
    """(8,) in rad: 0, 22.5°, …, 157.5°."""
    return np.arange(FRAMES) * (np.pi / FRAMES)


def depolarisation(aspect: Array) -> tuple[Array, Array]:
    """Factors of a prolate spheroid along its axis and across it (twice), for length over width ``aspect`` >= 1.

    L = (1 - e²)/e² [ln((1 + e)/(1 - e))/(2e) - 1] with e² = 1 - 1/aspect² (Bohren and Huffman, Absorption and Scattering
    of Light by Small Particles, 1983, Eq. 5.33); the three add up to 1. A sphere has 1/3.

    >>> [round(float(x), 3) for x in depolarisation(np.array(2.2))]
    [0.156, 0.422]
    """
    e2 = 1.0 - 1.0 / np.square(np.asarray(aspect, dtype=np.float64))
    e = np.sqrt(np.maximum(e2, 1e-4))
    exact = (1.0 - e2) / np.maximum(e2, 1e-4) * (np.arctanh(e) / e - 1.0)
    # The bracket loses its digits for a near sphere; there the series in e² is exact to 1e-9.
    along = np.where(e2 < 1e-3, 1.0 / 3.0 - 2.0 / 15.0 * e2 - 2.0 / 35.0 * e2**2, exact)
    return along, (1.0 - along) / 2.0


def polarisability(volume: Array, factor: Array, silver: Silver) -> Array:
    """Complex α = V (ε - ε_m)/(ε_m + L (ε - ε_m)), in units of the volume, for a depolarisation factor L."""
    return np.asarray(volume * silver.contrast / (silver.medium + factor * silver.contrast))


def response(volume: Array, aspect: Array, tilt: Array, silver: Silver) -> tuple[Array, Array]:
    """Brightness along and across a filament's projected axis, in units of a 60 nm sphere's.

    ``volume`` (F,) nm³, ``aspect`` (F,), ``tilt`` (F,) the sine of the angle between the axis and the line of sight. Seen
    from above, the spheroid's dipole is α_⊥ across and α_⊥ + (α_∥ - α_⊥) sin² along the projected axis.
    """
    along, across = (polarisability(volume, factor, silver) for factor in depolarisation(aspect))
    projected = across + (along - across) * np.square(tilt)
    unit = np.abs(polarisability(np.array(np.pi / 6 * SPHERE**3), np.array(1.0 / 3.0), silver)) ** 2
    return np.abs(projected) ** 2 / unit, np.abs(across) ** 2 / unit


def intensities(along: Array, across: Array, direction: Array, angles: Array) -> Array:
    """(F, K): I(a) = I_⊥ + (I_∥ - I_⊥) cos²(a - φ) for filaments whose axis points to ``direction`` (F,) rad."""
    swing = np.square(np.cos(angles - direction[..., None]))
    return np.asarray(across[..., None] + (along - across)[..., None] * swing)
