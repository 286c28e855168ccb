"""Hit patterns as coloured discs: one a photomultiplier, its colour the charge.

Legend: N events, T photomultipliers of an array, P pixels that any disc touches, C = 3 colours.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from raresearch.experiments.xenon1t.panels import Panel
from raresearch.experiments.xenon1t.pmts import bottom_positions, top_positions
from raresearch.types import Array

RADIUS = 3.0  #: cm, of a disc: marker size 200 in the paper's program
HALF_WIDTH = 1.2 * 47.9  #: cm, from the axis to the edge of the axes
OPACITY = 0.4
LOWEST, HIGHEST = 0.1, 1e4  #: PE, the ends of the logarithmic colour scale
_FINE = 8  # points a pixel and direction for the share of a pixel that a disc covers

# The colour map viridis (S. van der Walt, N. Smith; CC0) at 17 equidistant points, straight lines between them
_VIRIDIS = (
    *((68, 1, 84), (72, 24, 106), (71, 45, 123), (66, 64, 134), (59, 82, 139), (51, 99, 141), (44, 114, 142), (38, 130, 142)),
    *((33, 145, 140), (31, 160, 136), (40, 174, 128), (63, 188, 115), (94, 201, 98), (132, 212, 75), (173, 220, 48)),
    *((216, 226, 25), (253, 231, 37)),
)
_LEVELS = 256


def draw_hits(image: Array, patterns: tuple[Array, Array], panels: tuple[Panel, Panel]) -> None:
    """Draw S1's bottom array and S2's top array into ``image`` (N, C, H, W), 1 where white, in place.

    ``patterns``: charges in PE, (N, 121) and (N, 127). A photomultiplier without charge is not drawn.
    """
    n, colours, height, width = image.shape
    flat = image.reshape(n, colours, height * width)
    for array, charges, panel in zip(("bottom", "top"), patterns, panels, strict=True):
        pixels, cover = _discs(array, panel, (height, width))
        ink = _ink_table()[_level(charges)]  # (N, T, C)
        # Discs do not overlap, so that their inks add.
        flat[:, :, pixels] -= ink.transpose(0, 2, 1) @ cover


def _level(charges: Array) -> Array:
    """Number of each charge's colour; the last number is "not drawn"."""
    decades = np.log10(HIGHEST / LOWEST)
    share = np.log10(np.maximum(charges, LOWEST) / LOWEST) / decades
    level = np.minimum((share * _LEVELS).astype(np.int64), _LEVELS - 1)
    return np.where(charges > 0.0, level, _LEVELS)


@lru_cache(maxsize=1)
def _ink_table() -> Array:
    """What a fully covered pixel loses of white, (levels + 1, C) float32."""
    anchors = np.asarray(_VIRIDIS) / 255.0
    at = np.linspace(0.0, 1.0, _LEVELS)
    colours = np.stack([np.interp(at, np.linspace(0.0, 1.0, len(anchors)), anchors[:, c]) for c in range(3)], axis=1)
    return np.concatenate([OPACITY * (1.0 - colours), np.zeros((1, 3))]).astype(np.float32)


@lru_cache(maxsize=16)
def _discs(array: str, panel: Panel, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Pixels (P,) that discs touch, and the share of each that each disc covers, (T, P) float32."""
    tubes = bottom_positions() if array == "bottom" else top_positions()
    left, right, top, bottom = panel.axes
    scale = (right - left) / (2.0 * HALF_WIDTH)
    columns = 0.5 * (left + right) + tubes[:, 0] * scale
    rows = 0.5 * (top + bottom) - tubes[:, 1] * scale
    fine = (np.arange(max(shape) * _FINE) + 0.5) / _FINE
    across = (fine[None, : shape[1] * _FINE] - columns[:, None]) ** 2
    down = (fine[None, : shape[0] * _FINE] - rows[:, None]) ** 2
    cover = np.empty((len(tubes), shape[0] * shape[1]), dtype=np.float32)
    for tube in range(len(tubes)):
        inside = down[tube][:, None] + across[tube] <= (RADIUS * scale) ** 2
        blocks = inside.reshape(shape[0], _FINE, shape[1], _FINE)
        cover[tube] = blocks.mean(axis=(1, 3)).ravel()
    pixels = np.flatnonzero(cover.any(axis=0))
    return pixels, np.ascontiguousarray(cover[:, pixels])
