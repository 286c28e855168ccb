"""What a boosted tree reads off the frames: 33 numbers that a rotation of the picture leaves as they are.

Legend: N events, K = 8 frames, H, W = 40 pixels. Nothing here knows the simulator; real frames may be given as well.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from raresearch.experiments.newsdm.plasmon import FRAMES, polariser_angles
from raresearch.experiments.newsdm.shift import above_background, barycentres
from raresearch.types import Array

RINGS = (2.0, 4.0, 6.0, 8.0, 11.0)  # pixels from the middle of brightness
LEVELS = (0.1, 0.25, 0.5, 0.75)  # of the peak
_CHUNK = 500


def features(frames: Array) -> Array:
    """(N, features) float64 of ``frames`` (N, 8, 40, 40)."""
    parts = [_features(above_background(frames[start : start + _CHUNK])) for start in range(0, len(frames), _CHUNK)]
    return np.concatenate(parts) if parts else np.empty((0, 0))


def _features(light: Array) -> Array:
    """Of background-free frames."""
    mean = light.mean(axis=1)
    swing = np.abs(np.tensordot(light, np.exp(2j * polariser_angles()), axes=(1, 0))) * (2.0 / FRAMES)
    columns = [
        *_brightness(light),
        *_shape(mean),
        *_shape(swing),
        *_rings(mean),
        *_rings(swing),
        *_levels(mean),
        *_motion(light),
        swing.sum(axis=(1, 2)) / _positive(mean.sum(axis=(1, 2))),
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _brightness(light: Array) -> list[Array]:
    """Sum and peak over the polariser's turn: mean, harmonics of 2a and 4a, extremes."""
    columns = []
    for values in (light.sum(axis=(2, 3)), light.max(axis=(2, 3))):
        mean = _positive(values.mean(axis=1))
        columns += [mean, *(np.abs(values @ np.exp(1j * m * polariser_angles())) / mean for m in (2, 4))]
        columns += [values.min(axis=1) / mean, values.max(axis=1) / mean]
    return columns


def _shape(image: Array) -> list[Array]:
    """Length and width (pixels) of a picture (N, H, W) from second moments above a tenth of its peak, and their ratio."""
    weight = np.where(image > 0.1 * image.max(axis=(1, 2), keepdims=True), image, 0.0)
    total = _positive(weight.sum(axis=(1, 2)))
    y, x = np.mgrid[: image.shape[1], : image.shape[2]]

    def moment(values: Array) -> Array:
        return np.asarray((weight * values).sum(axis=(1, 2)) / total)

    mx, my = moment(x), moment(y)
    xx, yy, xy = moment(x * x) - mx**2, moment(y * y) - my**2, moment(x * y) - mx * my
    half, root = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    length, width = np.sqrt(half + root), np.sqrt(np.maximum(half - root, 0.0))
    return [length, width, width / _positive(length)]


def _rings(image: Array) -> list[Array]:
    """Mean brightness in rings around the centre, as shares of the peak."""
    middle = (image.shape[1] - 1) / 2
    y, x = np.mgrid[: image.shape[1], : image.shape[2]]
    radius = np.hypot(y - middle, x - middle)
    peak = _positive(image.max(axis=(1, 2)))
    edges = (0.0, *RINGS)
    inside = [(radius >= a) & (radius < b) for a, b in pairwise(edges)]
    return [image[:, ring].mean(axis=1) / peak for ring in inside]


def _levels(image: Array) -> list[Array]:
    """Pixels above shares of the peak."""
    peak = image.max(axis=(1, 2), keepdims=True)
    return [(image > level * peak).sum(axis=(1, 2)) for level in LEVELS]


def _motion(light: Array) -> list[Array]:
    """How the barycentre moves (pixels): spread along and across its path, largest step, and whether brightness goes with it."""
    x, y, peak = barycentres(light)
    dx, dy = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    xx, yy, xy = (dx * dx).mean(axis=1), (dy * dy).mean(axis=1), (dx * dy).mean(axis=1)
    half, root = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    step = np.hypot(x - np.roll(x, 1, axis=1), y - np.roll(y, 1, axis=1)).max(axis=1)
    # A real shift repeats with the polariser's 2a; vibration has no period.
    phase = np.exp(2j * polariser_angles())
    swing = np.hypot(np.abs(dx @ phase), np.abs(dy @ phase)) / FRAMES
    used = (peak > 0.35 * peak.max(axis=1, keepdims=True)).sum(axis=1)
    return [np.sqrt(half + root), np.sqrt(np.maximum(half - root, 0.0)), step, swing, used]


def _positive(values: Array) -> Array:
    return np.asarray(np.maximum(values, 1e-6))
