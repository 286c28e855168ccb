"""From filaments to camera frames. Legend: N events, K = 8 frames, F filaments an event (padded), P = 40 pixels a side."""

from __future__ import annotations

import numpy as np

from raresearch.experiments.newsdm.emulsion import Microscope
from raresearch.experiments.newsdm.filaments import Filaments, summed
from raresearch.experiments.newsdm.plasmon import FRAMES
from raresearch.types import Array

PIXELS = 40  #: a side of a frame [P] Sec. 2
FULL_SCALE = 255  #: counts of the 8-bit camera


def expose(filaments: Filaments, n: int, microscope: Microscope, rng: np.random.Generator) -> Array:
    """(n, 8, 40, 40) uint8: axes event, frame, y, x. The event's centre of brightness lies in the middle, to a pixel."""
    aim = rng.uniform(-0.5, 0.5, (n, 2)) * microscope.pixel
    sd = np.array([microscope.jitter_along, microscope.jitter_across])
    shift = aim[:, None, :] + sd * rng.standard_normal((n, FRAMES, 2))
    light = render(filaments, n, microscope, shift)
    level = microscope.background + microscope.background_sd * rng.standard_normal((n, 1, 1, 1), dtype=np.float32)
    return digitised(light, level, microscope, rng)


def render(filaments: Filaments, n: int, microscope: Microscope, shift: Array) -> Array:
    """(n, 8, 40, 40) float32 counts above the background; ``shift`` (n, 8, 2) nm moves each frame in x and y.

    A filament is a point: its picture is the point-spread function at the pixels' centres. Its sum over pixels is
    2π psf²/pixel² times its peak, to 1e-9 for a function three pixels wide.
    """
    x, y, light = padded(filaments, n, shift)
    light *= np.float32(microscope.gain)
    return np.asarray(np.matmul((profile(y, microscope) * light[..., None, :]), profile(x, microscope).swapaxes(-1, -2)))


def padded(filaments: Filaments, n: int, shift: Array) -> tuple[Array, Array, Array]:
    """x, y (n, 8, F) nm from the frame's middle, and light (n, 8, F), 0 where an event has fewer filaments; float32."""
    count = np.bincount(filaments.event, minlength=n)
    slot = np.arange(len(filaments.event)) - (np.cumsum(count) - count)[filaments.event]
    total = summed(filaments.light, filaments.event, n).sum(1)
    light = np.zeros((n, FRAMES, int(count.max())), dtype=np.float32)
    light[filaments.event, :, slot] = filaments.light
    places = []
    for axis, place in enumerate((filaments.x, filaments.y)):
        centre = summed(filaments.light * place[:, None], filaments.event, n).sum(1) / total
        each = np.zeros((n, int(count.max())))
        each[filaments.event, slot] = place - centre[filaments.event]
        places.append((each[:, None, :] + shift[:, :, axis, None]).astype(np.float32))
    return places[0], places[1], light


def profile(place: Array, microscope: Microscope) -> Array:
    """(…, 40, F): the point-spread function along one axis at the centres of the pixels."""
    pixel = ((np.arange(PIXELS) - (PIXELS - 1) / 2) * microscope.pixel).astype(np.float32)
    distance = (pixel[:, None] - place[..., None, :]) / np.float32(microscope.psf)
    return np.asarray(np.exp(np.float32(-0.5) * np.square(distance)))


def digitised(light: Array, level: Array, microscope: Microscope, rng: np.random.Generator) -> Array:
    """Camera counts, uint8: background ``level`` (n, 1, 1, 1), shot and read noise, rounding, saturation."""
    signal = light + level.astype(np.float32)
    variance = microscope.read_noise**2 + np.maximum(signal, 0.0) / np.float32(microscope.electrons)
    signal += np.sqrt(variance, dtype=np.float32) * rng.standard_normal(light.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(signal), 0, FULL_SCALE).astype(np.uint8))
