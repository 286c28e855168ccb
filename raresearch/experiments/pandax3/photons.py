"""Photons in xenon, compiled: photo-effect with K fluorescence, Compton scattering (Klein-Nishina), pair production.

Energies in keV, lengths in cm. Shells but K, coherent scattering and electrons bound in Compton scattering are left out.
"""

from __future__ import annotations

import math

import numpy as np

from raresearch.experiments.pandax3.compiled import compiled
from raresearch.experiments.pandax3.geometry import ELECTRON as CHARGED
from raresearch.experiments.pandax3.geometry import PHOTON as NEUTRAL
from raresearch.experiments.pandax3.geometry import POSITRON, deposit, inside, isotropic, push, turned
from raresearch.experiments.pandax3.tables import ELECTRON, K_EDGE, PHOTON, Physics
from raresearch.types import Array

K_SHARE = 0.85  # of photo-effects with the K shell
FLUORESCENCE = 0.89  # K yield
K_ALPHA, K_BETA, ALPHA_SHARE = 29.8, 33.6, 0.81


@compiled
def rates(physics: Physics, energy: float) -> tuple[float, float, float]:
    """Photo-effect, Compton scattering, pair production per cm."""
    place = (math.log(energy) - physics.start) / physics.step
    i = min(max(int(place), 0), len(physics.photon) - 2)
    f, low, high = place - i, physics.photon[i], physics.photon[i + 1]
    return low[0] + f * (high[0] - low[0]), low[1] + f * (high[1] - low[1]), low[2] + f * (high[2] - low[2])


@compiled
def klein_nishina(energy: float, rng: np.random.Generator) -> float:
    """Energy of the scattered photon: 1/ε and ε parts mixed, with rejection (Butcher and Messel)."""
    least = 1.0 / (1.0 + 2.0 * energy / ELECTRON)
    first, second = -math.log(least), 0.5 * (1.0 - least * least)
    while True:
        if rng.random() * (first + second) < first:
            e = math.exp(-first * rng.random())
        else:
            e = math.sqrt(least * least + (1.0 - least * least) * rng.random())
        t = ELECTRON * (1.0 - e) / (energy * e)
        if rng.random() < 1.0 - e * t * (2.0 - t) / (1.0 + e * e):
            return e * energy


@compiled
def sauter(energy: float, rng: np.random.Generator) -> float:
    """Cosine of a photoelectron of kinetic ``energy`` (Sauter's K-shell distribution, sampled as in PENELOPE's manual)."""
    g = energy / ELECTRON + 1.0
    b = math.sqrt(1.0 - 1.0 / (g * g))
    a, c = 1.0 / b - 1.0, 0.5 * b * g * (g - 1.0) * (g - 2.0)
    most = 2.0 * (1.0 / a + c)
    while True:
        r = rng.random()
        nu = 2.0 * a / ((a + 2.0) ** 2 - 4.0 * r) * (2.0 * r + (a + 2.0) * math.sqrt(r))
        if rng.random() * most < (2.0 - nu) * (1.0 / (a + nu) + c):
            return 1.0 - nu


@compiled
def photoeffect(
    energy: float,
    place: tuple[float, float, float],
    direction: tuple[float, float, float],
    stack: Array,
    counts: Array,
    deposits: Array,
    rng: np.random.Generator,
) -> None:
    """A photoelectron, and of a K hole either a photon or Auger electrons, which stay where they are."""
    x, y, z = place
    u, v, w = direction
    bound = 0.0
    if energy > K_EDGE and rng.random() < K_SHARE:
        bound = K_EDGE
        line = 0.0
        if rng.random() < FLUORESCENCE:
            line = K_ALPHA if rng.random() < ALPHA_SHARE else K_BETA
            push(stack, counts, NEUTRAL, line, place, isotropic(rng))
        deposit(deposits, counts, x, y, z, bound - line)
    kinetic = energy - bound
    if kinetic > 0.0:
        cosine = sauter(kinetic, rng) if kinetic > 1.0 else 2.0 * rng.random() - 1.0
        push(stack, counts, CHARGED, kinetic, place, turned(u, v, w, cosine, 2.0 * math.pi * rng.random()))


@compiled
def pair(
    energy: float,
    place: tuple[float, float, float],
    direction: tuple[float, float, float],
    stack: Array,
    counts: Array,
    rng: np.random.Generator,
) -> None:
    """Electron and positron share the energy evenly distributed [A], at the typical angle mc²/E of each [A]."""
    u, v, w = direction
    share, phi = (energy - 2.0 * ELECTRON) * rng.random(), 2.0 * math.pi * rng.random()
    rest = energy - 2.0 * ELECTRON - share
    push(stack, counts, CHARGED, share, place, turned(u, v, w, math.cos(ELECTRON / (share + ELECTRON)), phi))
    push(stack, counts, POSITRON, rest, place, turned(u, v, w, math.cos(ELECTRON / (rest + ELECTRON)), phi + math.pi))


@compiled
def follow_photon(
    energy: float,
    place: tuple[float, float, float],
    direction: tuple[float, float, float],
    forced: bool,
    physics: Physics,
    stack: Array,
    counts: Array,
    deposits: Array,
    rng: np.random.Generator,
) -> float:
    """Until absorption or escape; electrons go on the stack. Returns the energy that escaped."""
    x, y, z = place
    u, v, w = direction
    while energy > PHOTON:
        photo, compton, pairs = rates(physics, energy)
        total = photo + compton + pairs
        if not forced:
            s = rng.standard_exponential() / total
            x, y, z = x + s * u, y + s * v, z + s * w
            if not inside(x, y, z, physics.radius, physics.length):
                return energy
        forced = False
        which = rng.random() * total
        if which < photo:
            photoeffect(energy, (x, y, z), (u, v, w), stack, counts, deposits, rng)
            return 0.0
        if which >= photo + compton:
            pair(energy, (x, y, z), (u, v, w), stack, counts, rng)
            return 0.0
        left = klein_nishina(energy, rng)
        cosine = 1.0 - ELECTRON * (1.0 / left - 1.0 / energy)
        phi = 2.0 * math.pi * rng.random()
        p, q, r = turned(u, v, w, cosine, phi)
        a, b, c = energy * u - left * p, energy * v - left * q, energy * w - left * r
        norm = math.sqrt(a * a + b * b + c * c)
        if norm > 0.0:
            push(stack, counts, CHARGED, energy - left, (x, y, z), (a / norm, b / norm, c / norm))
        energy, u, v, w = left, p, q, r
    deposit(deposits, counts, x, y, z, energy)
    return 0.0
