"""The conventional analysis: how far the barycentre of brightness moves while the polariser turns.

Definition [A], after Alexandrov et al., Scientific Reports 10 (2020), and Sec. 3.1 of the study: of the frames whose peak is
above 35 % of the brightest frame's, the largest distance between two barycentres, each taken over the central 26 × 26
pixels that are above 35 % of their frame's peak. Legend: N events, K = 8 frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.experiments.newsdm.optics import PIXELS
from raresearch.types import Array

CENTRE = 26  # pixels a side
FRACTION = 0.35
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Shifts:
    """``length`` (N,) nm, ``direction`` (N,) degrees in [0, 180) against the x axis, ``brightness`` (N,) counts: the brightest
    frame's peak above its median."""

    length: Array
    direction: Array
    brightness: Array


def shifts(frames: Array, pixel: float) -> Shifts:
    """Barycentre shifts of ``frames`` (N, 8, 40, 40), axes event, frame, y, x; ``pixel`` is the side of a pixel in nm."""
    parts = [_shifts(frames[start : start + _CHUNK], pixel) for start in range(0, len(frames), _CHUNK)]
    if not parts:
        return Shifts(np.empty(0), np.empty(0), np.empty(0))
    return Shifts(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("length", "direction", "brightness")))


def above_background(frames: Array) -> Array:
    """float32 ``frames`` less the median of each, as the network's preprocessing has it."""
    values = np.asarray(frames, dtype=np.float32)
    return values - np.median(values, axis=(-2, -1), keepdims=True)


def barycentres(light: Array) -> tuple[Array, Array, Array]:
    """x, y (N, K) in pixels from the middle, and the peaks (N, K), of background-free frames (N, K, 40, 40)."""
    edge = (PIXELS - CENTRE) // 2
    inner = light[..., edge : edge + CENTRE, edge : edge + CENTRE]
    peak = inner.max(axis=(-2, -1))
    weight = np.where(inner > FRACTION * peak[..., None, None], inner, np.float32(0.0))
    total = weight.sum(axis=(-2, -1))
    place = np.arange(CENTRE) - (CENTRE - 1) / 2
    x = (weight.sum(axis=-2) @ place) / np.where(total > 0, total, 1.0)
    y = (weight.sum(axis=-1) @ place) / np.where(total > 0, total, 1.0)
    return x, y, peak


def _shifts(frames: Array, pixel: float) -> Shifts:
    x, y, peak = barycentres(above_background(frames))
    used = peak > FRACTION * peak.max(axis=1, keepdims=True)
    dx, dy = x[:, :, None] - x[:, None, :], y[:, :, None] - y[:, None, :]
    distance = np.where(used[:, :, None] & used[:, None, :], np.hypot(dx, dy), -1.0).reshape(len(frames), -1)
    rows, best = np.arange(len(frames)), distance.argmax(axis=1)
    longest = np.maximum(distance[rows, best], 0.0) * pixel
    angle = np.arctan2(dy.reshape(len(frames), -1)[rows, best], dx.reshape(len(frames), -1)[rows, best])
    return Shifts(longest, np.degrees(angle) % 180.0, peak.max(axis=1).astype(np.float64))
