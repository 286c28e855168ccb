"""Directions and the stack of particles, compiled. A particle is a row: kind, energy (keV), x, y, z (cm), u, v, w.

Legend: ``counts`` holds the numbers of particles on the stack and of deposits; deposits are rows x, y, z (cm), energy (keV).
"""

from __future__ import annotations

import math

import numpy as np

from raresearch.experiments.pandax3.compiled import compiled
from raresearch.types import Array

PHOTON, ELECTRON, POSITRON, FORCED = 0, 1, 2, 3  #: kinds; FORCED: a photon that interacts where it is


@compiled
def isotropic(rng: np.random.Generator) -> tuple[float, float, float]:
    """A unit vector."""
    w = 2.0 * rng.random() - 1.0
    s, phi = math.sqrt(1.0 - w * w), 2.0 * math.pi * rng.random()
    return s * math.cos(phi), s * math.sin(phi), w


@compiled
def turned(u: float, v: float, w: float, cosine: float, phi: float) -> tuple[float, float, float]:
    """(u, v, w) deflected by an angle of ``cosine`` at azimuth ``phi``."""
    sine = math.sqrt(max(0.0, 1.0 - cosine * cosine))
    a, b = sine * math.cos(phi), sine * math.sin(phi)
    if abs(w) > 0.99999999:
        return a, b, cosine * (1.0 if w > 0 else -1.0)
    t = math.sqrt(1.0 - w * w)
    x = u * cosine + (a * u * w - b * v) / t
    y = v * cosine + (a * v * w + b * u) / t
    z = w * cosine - a * t
    norm = 1.0 / math.sqrt(x * x + y * y + z * z)
    return x * norm, y * norm, z * norm


@compiled
def push(
    stack: Array,
    counts: Array,
    kind: int,
    energy: float,
    place: tuple[float, float, float],
    direction: tuple[float, float, float],
) -> None:
    """One particle more on the stack."""
    row = stack[counts[0]]
    row[0], row[1] = kind, energy
    row[2], row[3], row[4] = place
    row[5], row[6], row[7] = direction
    counts[0] += 1


@compiled
def deposit(deposits: Array, counts: Array, x: float, y: float, z: float, energy: float) -> None:
    """Energy left at a place; a full list adds it to its last row, so that no energy is lost."""
    if counts[1] < len(deposits):
        row = deposits[counts[1]]
        row[0], row[1], row[2], row[3] = x, y, z, energy
        counts[1] += 1
    else:
        deposits[counts[1] - 1, 3] += energy


@compiled
def inside(x: float, y: float, z: float, radius: float, length: float) -> bool:
    """Whether a place lies in the gas."""
    return x * x + y * y < radius * radius and 0.0 < z < length
