"""What a decay sets free: electrons at the vertex, gammas with their delays. Energies in MeV, times in ns.

Levels, feeding and gammas are ENSDF evaluations, kept in ``decay_schemes.json`` (keV): feeds as [kind, level, end point of
the kinetic energy, per cent], gammas of a level as [energy, share, level after]. Legend: N events, P gammas, L levels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from raresearch.experiments.kamnet.detector import Physics
from raresearch.experiments.kamnet.spectra import ELECTRON_MASS, Q_XENON, beta_table, double_beta_table, draw, share
from raresearch.types import Array

_SCHEMES = Path(__file__).with_name("decay_schemes.json")
DAUGHTER = {
    "Bi214": (84, 214),
    "C10": (5, 10),
    "Sb118": (50, 118),
    "I122": (52, 122),
    "I124": (52, 124),
    "I130": (54, 130),
    "I132": (54, 132),
}  #: charge and mass number of the daughter
HALF_LIVES = {("C10", 1): 0.707}  #: ns [R], where the evaluation in the file has none
EXCITED = {"0vbb": (), "2vbb": (), "2v_0+": (760.5, 818.5), "2v_2+": (818.5,), "2v_2+2": (732.5, 818.5)}  #: gammas, keV
SOLAR = (0.5, 4.0)  #: MeV, electrons of solar neutrinos: even, as recoils of 8B are over the window [A]


@dataclass(frozen=True, slots=True)
class Decays:
    """``electrons`` (N, 2) kinetic energies, 0 for none; ``positron`` (N,) bool: the first of them is one.

    Gammas: ``event`` (P,), ``energy`` (P,), ``time`` (P,), nuclear ones only; annihilation follows from ``positron``.
    """

    electrons: Array
    positron: Array
    event: Array
    energy: Array
    time: Array

    def released(self) -> Array:
        """(N,) MeV: all that a perfect detector would see."""
        gammas = np.bincount(self.event, self.energy, minlength=len(self.electrons))
        return np.asarray(self.electrons.sum(1) + 2 * ELECTRON_MASS * self.positron + gammas)


@lru_cache(maxsize=16)
def scheme(isotope: str) -> dict[str, Any]:
    """One isotope's feeds and levels."""
    found: dict[str, Any] = json.loads(_SCHEMES.read_text(encoding="utf-8"))[isotope]
    return found


def decay(species: str, physics: Physics, rng: np.random.Generator, n: int) -> Decays:
    """``n`` decays of ``species``: an isotope, a double-beta mode of `EXCITED`, or "electron" (solar neutrinos)."""
    if species == "electron":
        return _plain(np.stack([rng.uniform(*SOLAR, n), np.zeros(n)], axis=1))
    if species in EXCITED:
        return _double_beta(species, physics, rng, n)
    return _isotope(species, rng, n)


def _plain(electrons: Array) -> Decays:
    return Decays(electrons, np.zeros(len(electrons), bool), np.zeros(0, int), np.zeros(0), np.zeros(0))


def _double_beta(mode: str, physics: Physics, rng: np.random.Generator, n: int) -> Decays:
    lines = np.asarray(EXCITED[mode]) / 1000.0
    total = np.full(n, Q_XENON) if mode == "0vbb" else draw(double_beta_table(Q_XENON - float(lines.sum())), rng, n)
    electrons = share(total, rng)
    if not len(lines):
        return _plain(electrons)
    energies = np.tile(lines, (n, 1))
    if mode == "2v_2+2":
        direct = rng.random(n) < physics.direct_gamma
        energies[direct] = [lines.sum(), 0.0]
    event, column = np.nonzero(energies)
    return Decays(electrons, np.zeros(n, bool), event, energies[event, column], np.zeros(len(event)))


def _isotope(isotope: str, rng: np.random.Generator, n: int) -> Decays:
    feeds = scheme(isotope)["feeds"]
    intensity = np.asarray([f[3] for f in feeds])
    chosen = rng.choice(len(feeds), n, p=intensity / intensity.sum())
    electrons, positron, level = np.zeros((n, 2)), np.zeros(n, bool), np.asarray([f[1] for f in feeds])[chosen]
    z, mass_number = DAUGHTER[isotope]
    for number, (kind, _, endpoint, _) in enumerate(feeds):
        mine = np.flatnonzero(chosen == number)
        if kind != "ec":  # a capture leaves X rays of some 30 keV, left out
            positron[mine] = kind == "b+"
            electrons[mine, 0] = draw(beta_table(endpoint / 1000.0, -z if kind == "b+" else z, mass_number), rng, len(mine))
    return Decays(electrons, positron, *_cascade(isotope, level, rng))


def _cascade(isotope: str, level: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Gammas down from ``level`` (N,) to the ground state: event, energy (MeV), time (ns)."""
    energy, share_up_to, after, mean_life = _levels(isotope)
    event, clock, parts = np.arange(len(level)), np.zeros(len(level)), []
    while True:
        going = share_up_to[level, 0] > 0
        event, level, clock = event[going], level[going], clock[going]
        if not len(event):
            break
        clock = clock + rng.exponential(1.0, len(level)) * mean_life[level]
        gamma = (rng.random(len(level))[:, None] > share_up_to[level]).sum(1)
        parts.append((event, energy[level, gamma], clock))
        level = after[level, gamma]
    if not parts:
        return np.zeros(0, int), np.zeros(0), np.zeros(0)
    return tuple(np.concatenate([p[i] for p in parts]) for i in range(3))  # type: ignore[return-value]


@lru_cache(maxsize=16)
def _levels(isotope: str) -> tuple[Array, Array, Array, Array]:
    """(L, G) energies in MeV, cumulative shares, levels after; (L,) mean lives in ns. A ground state has share 0."""
    levels = scheme(isotope)["levels"]
    size = max(int(i) for i in levels) + 1, max(len(v["gammas"]) for v in levels.values()) or 1
    energy, shares, after, life = np.zeros(size), np.zeros(size), np.zeros(size, int), np.zeros(size[0])
    for name, values in levels.items():
        number = int(name)
        for column, (kev, part, down) in enumerate(values["gammas"]):
            energy[number, column], shares[number, column], after[number, column] = kev / 1000.0, part, down
        half_life = HALF_LIVES.get((isotope, number), values["halflife_ns"])
        life[number] = half_life / np.log(2) if values["gammas"] else 0.0
    up_to = np.cumsum(shares, axis=1)
    whole = up_to[:, -1:]
    return energy, np.divide(up_to, whole, out=np.zeros_like(up_to), where=whole > 0), after, life
