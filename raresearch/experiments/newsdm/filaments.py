"""Filaments of silver grains and their brightness at every position of the polariser. Legend: G grains, F filaments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.experiments.newsdm.emulsion import Grains, Silver
from raresearch.experiments.newsdm.plasmon import intensities, polariser_angles, response
from raresearch.types import Array


@dataclass(frozen=True, slots=True)
class Filaments:
    """``event`` (F,) rising, ``x`` and ``y`` (F,) nm, ``light`` (F, 8) in units of a 60 nm sphere's brightness."""

    event: Array
    x: Array
    y: Array
    light: Array

    def barycentres(self, n: int) -> tuple[Array, Array]:
        """x and y (n, 8) nm of the centre of brightness of each event's frame, without optics and noise."""
        total = summed(self.light, self.event, n)
        moments = (summed(self.light * place[:, None], self.event, n) for place in (self.x, self.y))
        x, y = (moment / total for moment in moments)
        return x, y


def grow(event: Array, place: Array, is_carbon: Array, grains: Grains, silver: Silver, rng: np.random.Generator) -> Filaments:
    """Filaments of grains at ``place`` (G, 3), each of its event's origin: ``is_carbon`` (G,) bool.

    A grain's volume is shared evenly by its filaments. They point anywhere, lie anywhere in the sphere of the grain's
    volume, and shine independently of one another [A].
    """
    least, most = _of(grains, "filaments_least", is_carbon), _of(grains, "filaments_most", is_carbon)
    count = np.floor(least + rng.random(len(event)) * (most - least + 1.0)).astype(np.int64)
    diameter = _positive(_of(grains, "diameter", is_carbon), _of(grains, "diameter_sd", is_carbon), rng)
    grain = np.repeat(np.arange(len(event)), count)
    volume = (np.pi / 6 * diameter**3 / count)[grain]
    mine = is_carbon[grain]
    aspect = 1.0 + _positive(_of(grains, "aspect", mine) - 1.0, _of(grains, "aspect_sd", mine), rng)
    axis, offset = _sphere(len(grain), rng), _sphere(len(grain), rng)
    offset *= (diameter[grain] / 2 * np.cbrt(rng.random(len(grain))))[:, None]
    along, across = response(volume, aspect, np.hypot(axis[:, 0], axis[:, 1]), silver)
    light = intensities(along, across, np.arctan2(axis[:, 1], axis[:, 0]), polariser_angles())
    centre = place[grain] + offset
    return Filaments(event[grain], centre[:, 0], centre[:, 1], light)


def summed(values: Array, event: Array, n: int) -> Array:
    """(n, …): sums of ``values`` (F, …) over the filaments of each event; every event has at least one."""
    starts = np.searchsorted(event, np.arange(n))
    return np.asarray(np.add.reduceat(values, starts, axis=0))


def _of(grains: Grains, what: str, is_carbon: Array) -> Array:
    return np.asarray(np.where(is_carbon, getattr(grains, f"carbon_{what}"), getattr(grains, f"fog_{what}")))


def _positive(mean: Array, sd: Array, rng: np.random.Generator) -> Array:
    """A normal variate folded at 0: nothing is thinner than nothing, and no value is a wall."""
    return np.asarray(np.abs(mean + sd * rng.standard_normal(len(mean))))


def _sphere(n: int, rng: np.random.Generator) -> Array:
    """(n, 3) unit vectors that point evenly everywhere."""
    z, phi = rng.uniform(-1.0, 1.0, n), rng.uniform(0.0, 2 * np.pi, n)
    r = np.sqrt(1.0 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)
