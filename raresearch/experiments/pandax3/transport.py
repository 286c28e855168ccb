"""An event's particles from the first to the last, compiled. Energies in keV, lengths in cm."""

from __future__ import annotations

import math

import numpy as np

from raresearch.experiments.pandax3.compiled import compiled
from raresearch.experiments.pandax3.electrons import follow_electron
from raresearch.experiments.pandax3.geometry import ELECTRON, FORCED, PHOTON, POSITRON, isotropic, push, turned
from raresearch.experiments.pandax3.photons import follow_photon
from raresearch.experiments.pandax3.tables import ELECTRON as MASS
from raresearch.experiments.pandax3.tables import Physics
from raresearch.types import Array


@compiled
def anywhere(physics: Physics, rng: np.random.Generator) -> tuple[float, float, float]:
    """A place in the gas, even in volume."""
    r, phi = physics.radius * math.sqrt(rng.random()), 2.0 * math.pi * rng.random()
    return r * math.cos(phi), r * math.sin(phi), physics.length * rng.random()


@compiled
def start_decay(q: float, quantiles: Array, physics: Physics, stack: Array, counts: Array, rng: np.random.Generator) -> None:
    """Two electrons from one place; angle from 1 - β1 β2 cos θ."""
    place = rng.random() * (len(quantiles) - 1)
    i = min(int(place), len(quantiles) - 2)
    first = quantiles[i] + (place - i) * (quantiles[i + 1] - quantiles[i])
    t1, t2 = first / MASS, (q - first) / MASS
    b = math.sqrt(t1 * (t1 + 2.0)) / (t1 + 1.0) * math.sqrt(t2 * (t2 + 2.0)) / (t2 + 1.0)
    cosine = (1.0 - math.sqrt((1.0 + b) ** 2 - 4.0 * b * rng.random())) / b
    vertex, (u, v, w) = anywhere(physics, rng), isotropic(rng)
    push(stack, counts, ELECTRON, first, vertex, (u, v, w))
    push(stack, counts, ELECTRON, q - first, vertex, turned(u, v, w, cosine, 2.0 * math.pi * rng.random()))


@compiled
def start_gamma(energy: float, physics: Physics, stack: Array, counts: Array, rng: np.random.Generator) -> None:
    """A photon whose first interaction lies anywhere in the gas with the same probability."""
    push(stack, counts, FORCED, energy, anywhere(physics, rng), isotropic(rng))


@compiled
def follow(most: float, physics: Physics, stack: Array, counts: Array, deposits: Array, rng: np.random.Generator) -> float:
    """All particles of the stack; returns the energy that escaped. Ends early once that exceeds ``most``.

    Photons go first: most background events can be given up before an electron is followed.
    """
    escaped = 0.0
    while counts[0] > 0 and escaped <= most:
        top = counts[0] - 1
        for k in range(counts[0]):  # the last photon, if there is one
            if stack[counts[0] - 1 - k, 0] == PHOTON or stack[counts[0] - 1 - k, 0] == FORCED:
                top = counts[0] - 1 - k
                break
        row = stack[top].copy()
        stack[top] = stack[counts[0] - 1]
        counts[0] -= 1
        kind, energy = int(row[0]), row[1]
        place, direction = (row[2], row[3], row[4]), (row[5], row[6], row[7])
        if kind in (PHOTON, FORCED):
            escaped += follow_photon(energy, place, direction, kind == FORCED, physics, stack, counts, deposits, rng)
            continue
        lost, x, y, z = follow_electron(energy, place, direction, physics, stack, counts, deposits, rng)
        escaped += lost
        if kind == POSITRON:
            if lost > 0.0:  # it annihilates in the wall
                escaped += 2.0 * MASS
            else:
                u, v, w = isotropic(rng)
                push(stack, counts, PHOTON, MASS, (x, y, z), (u, v, w))
                push(stack, counts, PHOTON, MASS, (x, y, z), (-u, -v, -w))
    return escaped
