"""Where silver grains lie: along carbon's tracks and, by chance, as fog. Legend: N events, G grains of all events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.experiments.newsdm.emulsion import Crystals, Ions
from raresearch.types import Array


@dataclass(frozen=True, slots=True)
class Tracks:
    """Grains of N events. ``event`` (G,) rising event numbers, ``place`` (G, 3) nm, ``angle`` (N,) rad: the direction of
    the track, or of a fog pair, seen from above; that of a single fog grain is random."""

    event: Array
    place: Array
    angle: Array


def ends(energy: Array, ions: Ions, rng: np.random.Generator) -> Array:
    """(N, 3) nm: end of a carbon ion that starts at the origin along +x; ``energy`` (N,) is 30 or 100 keV."""
    high = (energy > 50.0)[:, None]
    mean = np.where(high, [ions.range_100, 0.0, 0.0], [ions.range_30, 0.0, 0.0])
    lateral = (ions.lateral_100, ions.lateral_100), (ions.lateral_30, ions.lateral_30)
    sd = np.where(high, [ions.range_100_sd, *lateral[0]], [ions.range_30_sd, *lateral[1]])
    return np.asarray(mean + sd * rng.standard_normal((len(energy), 3)))


def carbon(energy: Array, ions: Ions, crystals: Crystals, rng: np.random.Generator) -> Tracks:
    """Developed grains of carbon tracks along +x. Tracks without a developed grain are thrown again: nobody sees them."""
    n = len(energy)
    end = np.empty((n, 3))
    event, place = np.empty(0, dtype=np.int64), np.empty((0, 3))
    missing = np.arange(n)
    while len(missing):
        end[missing] = ends(energy[missing], ions, rng)
        number, where = _developed(end[missing], crystals, rng)
        event, place = np.r_[event, missing[number]], np.concatenate([place, where])
        missing = np.setdiff1d(missing, event)
    order = np.argsort(event, kind="stable")
    return Tracks(event[order], place[order], np.arctan2(end[:, 1], end[:, 0]))


def _developed(end: Array, crystals: Crystals, rng: np.random.Generator) -> tuple[Array, Array]:
    """Event number (G,) and place (G, 3) of the grains along tracks from the origin to ``end`` (N, 3)."""
    length = np.linalg.norm(end, axis=1)
    most = int(np.ceil(length.max() / crystals.spacing)) + 1
    along = (rng.random((len(end), 1)) + np.arange(most)) * crystals.spacing
    hit = (along <= length[:, None]) & (rng.random(along.shape) < crystals.sensitivity)
    event, step = np.nonzero(hit)
    t = (along[event, step] / length[event])[:, None]
    # Multiple scattering: the direction is the beam's at first, the distance from the axis grows with the power 3/2.
    place = end[event] * np.concatenate([t, t**1.5, t**1.5], axis=1)
    # The track passes a crystal at any distance up to its radius, so the crystal lies beside the track.
    place[:, 1:] += _disc(len(event), crystals.crystal / 2, rng)
    return event, place


def fog(n: int, crystals: Crystals, rng: np.random.Generator) -> Tracks:
    """One grain, or two by chance: the second lies anywhere in a disc around the first."""
    angle = rng.uniform(-np.pi, np.pi, n)
    paired = np.flatnonzero(rng.random(n) < crystals.fog_pair)
    offset = _disc(len(paired), crystals.pair_distance, rng)
    angle[paired] = np.arctan2(offset[:, 1], offset[:, 0])
    event = np.r_[np.arange(n), paired]
    place = np.zeros((len(event), 3))
    place[n:, :2] = offset
    order = np.argsort(event, kind="stable")
    return Tracks(event[order], place[order], angle)


def rotated(tracks: Tracks, turn: Array) -> Tracks:
    """The emulsion turned by ``turn`` (N,) rad under the microscope."""
    place = tracks.place.copy()
    c, s = np.cos(turn)[tracks.event], np.sin(turn)[tracks.event]
    place[:, 0] = c * tracks.place[:, 0] - s * tracks.place[:, 1]
    place[:, 1] = s * tracks.place[:, 0] + c * tracks.place[:, 1]
    return Tracks(tracks.event, place, tracks.angle + turn)


def _disc(n: int, radius: float, rng: np.random.Generator) -> Array:
    """(n, 2) evenly in a disc."""
    r, phi = radius * np.sqrt(rng.random(n)), rng.uniform(0.0, 2 * np.pi, n)
    return np.stack([r * np.cos(phi), r * np.sin(phi)], axis=1)
