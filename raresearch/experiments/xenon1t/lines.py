"""Waveforms as black lines on logarithmic axes, with the ink of a line that is thinner than a pixel.

Legend: N events, K samples, S strips: a panel's axes are cut into strips a quarter of a pixel wide, within which a line is
the range of heights that it passes. R rows and Q columns of pixels that the axes touch.
"""

from __future__ import annotations

import math

import numpy as np

from raresearch.experiments.xenon1t.panels import Panel
from raresearch.experiments.xenon1t.waveforms import Waveforms
from raresearch.types import Array

LOWEST, HIGHEST = 0.9, 100.0  #: ends of the vertical axis; the line is drawn at PE per 10 ns plus 1
LINE = 0.0052  #: width of a line as a share of the panel: 1.5 points on the paper's 400 pixels
_STRIPS = 4  # a pixel


def draw_peak(image: Array, waveforms: Waveforms, left: Array, right: Array, panel: Panel) -> None:
    """Draw ``waveforms`` between samples ``left`` and ``right`` (N,) into ``image`` (N, C, H, W), 1 where white, in place."""
    x0, x1, y0, y1 = panel.axes
    edges = np.clip(np.arange(math.floor(x0 * _STRIPS), math.ceil(x1 * _STRIPS) + 1) / _STRIPS, x0, x1)
    lowest, highest = strip_ranges(waveforms.samples, left, right, (edges - x0) / (x1 - x0))
    half = 0.5 * LINE * panel.size
    upper = np.clip(_row(highest, y0, y1) - half, y0, y1)
    lower = np.clip(_row(lowest, y0, y1) + half, y0, y1)
    rows, columns = slice(math.floor(y0), math.ceil(y1)), slice(math.floor(x0), math.ceil(x1))
    column = np.floor(0.5 * (edges[1:] + edges[:-1])).astype(np.int64) - columns.start
    ink = covered(upper - rows.start, lower - rows.start, column, np.diff(edges), rows.stop - rows.start)
    image[:, :, rows, columns] -= ink[:, None]


def strip_ranges(samples: Array, left: Array, right: Array, edges: Array) -> tuple[Array, Array]:
    """Smallest and largest height (N, S) of the line in each strip. ``edges`` (S + 1,) run from 0 (``left``) to 1 (``right``).

    The line is drawn in steps, as pax does: between samples i - 1 and i it lies at the height of sample i. Outside of the
    window the height is that of the window's first and last sample, which are empty.
    """
    n, k = samples.shape
    sample = np.ceil(left[:, None] + edges * (right - left)[:, None]).astype(np.int64)
    sample = np.clip(sample, 0, k - 1) + k * np.arange(n)[:, None]
    bounds = np.stack([sample[:, :-1], sample[:, 1:] + 1], axis=2).ravel()
    flat = np.append(samples.ravel(), 0.0)  # so that the last bound exists
    lowest = np.minimum.reduceat(flat, bounds)[::2]
    highest = np.maximum.reduceat(flat, bounds)[::2]
    return lowest.reshape(n, -1), highest.reshape(n, -1)


def covered(upper: Array, lower: Array, column: Array, weight: Array, rows: int) -> Array:
    """Ink (N, R, Q) of vertical bars from ``upper`` to ``lower`` (N, S; rows, 0 … R), each ``weight`` (S,) of a pixel wide.

    A bar's share of row r is clip(lower - r, 0, 1) - clip(upper - r, 0, 1). Each clip is a staircase with one ramp, so its
    differences from row to row have three entries; one of them cancels, and summing up at the end restores the bar.
    """
    n = len(upper)
    columns = int(column[-1]) + 1
    base = (np.arange(n)[:, None] * columns + column) * (rows + 2)
    slots, parts = [], []
    for edge, sign in ((upper, 1.0), (lower, -1.0)):
        whole = np.floor(edge)
        share = (edge - whole) * (sign * weight)
        slot = base + whole.astype(np.int64)
        slots += [slot, slot + 1]
        parts += [sign * weight - share, share]
    steps = np.bincount(
        np.concatenate(slots, axis=None), weights=np.concatenate(parts, axis=None), minlength=n * columns * (rows + 2)
    )
    ink = np.cumsum(steps.reshape(n, columns, rows + 2), axis=2)[:, :, :rows]
    return np.asarray(ink.transpose(0, 2, 1))


def _row(height: Array, top: float, bottom: float) -> Array:
    """Row of a height in PE per 10 ns, on axes from ``top`` to ``bottom``."""
    return np.asarray(bottom - np.log((height + 1.0) / LOWEST) * ((bottom - top) / math.log(HIGHEST / LOWEST)))
