"""Electrons in xenon, compiled: class II transport. Hard events are sampled one by one, all others act at a random hinge.

Energies in keV, lengths in cm. Losses below the cuts are continuous (no straggling of these); positrons lose and scatter as
electrons do [A] and annihilate where they stop.
"""

from __future__ import annotations

import math

import numpy as np

from raresearch.experiments.pandax3.compiled import compiled
from raresearch.experiments.pandax3.geometry import ELECTRON as CHARGED
from raresearch.experiments.pandax3.geometry import PHOTON as NEUTRAL
from raresearch.experiments.pandax3.geometry import deposit, inside, push, turned
from raresearch.experiments.pandax3.tables import ALPHA, BREMS_SLOPE, DELTA, ELECTRON, PHOTON, STOP, Physics, Z
from raresearch.types import Array

LARGEST_LOSS = 0.1  # of the energy in a step


@compiled
def looked_up(physics: Physics, energy: float, row: Array) -> None:
    """The electron table at ``energy`` into ``row``, linear in ln(energy)."""
    place = (math.log(energy) - physics.start) / physics.step
    i = min(max(int(place), 0), len(physics.electron) - 2)
    f, low, high = place - i, physics.electron[i], physics.electron[i + 1]
    for k in range(len(row)):
        row[k] = low[k] + f * (high[k] - low[k])


@compiled
def soft_cosine(mean: float, kappa: Array, rng: np.random.Generator) -> float:
    """A cosine from p ~ exp(κ cos), whose mean 1 - cos is ``mean``."""
    if mean < 1e-3:
        return 1.0 - min(2.0, mean * rng.standard_exponential())
    place = min(mean, 1.0) * (len(kappa) - 1)
    i = min(int(place), len(kappa) - 2)
    k: float = kappa[i] + (place - i) * (kappa[i + 1] - kappa[i])
    r = rng.random()
    return max(-1.0, 1.0 + math.log(r + (1.0 - r) * math.exp(-2.0 * float(k))) / float(k))


@compiled
def moller(energy: float, rng: np.random.Generator) -> float:
    """Energy of a delta between `DELTA` and half of ``energy``."""
    g, x = energy / ELECTRON + 1.0, DELTA / energy
    a, b = ((g - 1.0) / g) ** 2, (2.0 * g - 1.0) / (g * g)
    while True:
        e = 1.0 / (1.0 / x - rng.random() * (1.0 / x - 2.0))
        # weight over 1/ε², at most 1 + ε²/(1-ε)² + a ε² <= 2.25
        weight = 1.0 + (e / (1.0 - e)) ** 2 + a * e * e - b * e / (1.0 - e)
        if rng.random() * 2.25 < weight:
            return float(e * energy)


@compiled
def bremsstrahlung(energy: float, rng: np.random.Generator) -> float:
    """Energy of a photon above `PHOTON`."""
    while True:
        k: float = PHOTON * (energy / PHOTON) ** rng.random()
        if rng.random() < 1.0 - BREMS_SLOPE * k / energy:
            return float(k)


@compiled
def hard_cosine(row: Array, rng: np.random.Generator) -> float:
    """Cosine of a sampled scatter; 1 where the Mott factor rejects it (the rate was that of its largest value)."""
    least, a, factor, b2 = row[4], row[5], row[6], row[8]
    low = 1.0 / (least + a)
    mu = 1.0 / (low - rng.random() * (low - 1.0 / (1.0 + a))) - a
    s = math.sqrt(max(mu, 0.0))
    mott = 1.0 - b2 * mu + math.pi * ALPHA * Z * math.sqrt(b2) * s * (1.0 - s)
    return 1.0 - 2.0 * mu if rng.random() * factor < mott else 1.0


@compiled
def follow_electron(
    energy: float,
    place: tuple[float, float, float],
    direction: tuple[float, float, float],
    physics: Physics,
    stack: Array,
    counts: Array,
    deposits: Array,
    rng: np.random.Generator,
) -> tuple[float, float, float, float]:
    """Until it stops or leaves; deltas and photons go on the stack. Returns the energy that escaped and the last place."""
    x, y, z = place
    u, v, w = direction
    row = np.empty(9)
    while energy > STOP:
        looked_up(physics, energy, row)
        rate = row[1] + row[2] + row[3]
        s = rng.standard_exponential() / rate
        longest = min(physics.longest_step, LARGEST_LOSS * energy / row[0])
        hard = s < longest
        s = min(s, longest)
        before = s * rng.random()
        x, y, z = x + before * u, y + before * v, z + before * w
        if not inside(x, y, z, physics.radius, physics.length):
            return energy, x, y, z
        loss = row[0] * s
        deposit(deposits, counts, x, y, z, loss)
        energy -= loss
        cosine = soft_cosine(1.0 - math.exp(-row[7] * s), physics.kappa, rng)
        u, v, w = turned(u, v, w, cosine, 2.0 * math.pi * rng.random())
        after = s - before
        x, y, z = x + after * u, y + after * v, z + after * w
        if not inside(x, y, z, physics.radius, physics.length):
            return energy, x, y, z
        if not hard:
            continue
        phi, which = 2.0 * math.pi * rng.random(), rng.random() * rate
        if which < row[3]:
            u, v, w = turned(u, v, w, hard_cosine(row, rng), phi)
        elif which < row[3] + row[1]:
            if energy > 2.0 * DELTA:
                lost = moller(energy, rng)
                both = energy * (lost + 2.0 * ELECTRON) / (lost * (energy + 2.0 * ELECTRON))
                knocked = turned(u, v, w, 1.0 / math.sqrt(both), phi)
                push(stack, counts, CHARGED, lost, (x, y, z), knocked)
                rest = energy - lost
                ratio = rest * (energy + 2.0 * ELECTRON) / (energy * (rest + 2.0 * ELECTRON))
                u, v, w = turned(u, v, w, math.sqrt(ratio), phi + math.pi)
                energy = rest
        elif energy > PHOTON:
            lost = bremsstrahlung(energy, rng)
            emitted = turned(u, v, w, math.cos(ELECTRON / (energy + ELECTRON)), phi)
            push(stack, counts, NEUTRAL, lost, (x, y, z), emitted)
            energy -= lost
    deposit(deposits, counts, x, y, z, energy)
    return 0.0, x, y, z
