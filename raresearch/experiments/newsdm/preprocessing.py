"""Sec. 3.2.1 of the paper on the device: scaling, background, the ninth frame, rotation. Loads torch; for workers only.

Legend: B events, K = 8 frames, H, W = 40 pixels.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

FULL_SCALE = 255.0  #: "the maximum pixel value (defined by the camera specifications)"


def prepare(frames: torch.Tensor, angle: torch.Tensor | None = None) -> torch.Tensor:
    """(B, K + 1, H, W) from counts ``frames`` (B, K, H, W): what the network sees.

    Scaled; less each frame's median; the first frame again at the end, since the polariser has a period of 180°; and, where
    ``angle`` (B, 1) in rad is given, all nine frames of an event turned by its angle. The median is taken before the
    rotation, as in the paper.
    """
    scaled = frames / FULL_SCALE
    centred = scaled - median(scaled)
    periodic = torch.cat([centred, centred[..., :1, :, :]], dim=-3)
    return periodic if angle is None else rotate(periodic, angle)


def median(frames: torch.Tensor) -> torch.Tensor:
    """(B, K, 1, 1): of the pixels of each frame, the lower of the two in the middle, which for counts are mostly one."""
    return frames.flatten(-2).median(dim=-1).values[..., None, None]


def random_angles(events: int, like: torch.Tensor) -> torch.Tensor:
    """(events, 1) rad, even over the full turn, from torch's generator."""
    return 2.0 * math.pi * torch.rand(events, 1, dtype=like.dtype, device=like.device)


def rotate(frames: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """``frames`` (B, K, H, W) turned about their middle by ``angle`` (B, 1) rad: bilinear, borders reflected."""
    c, s = torch.cos(angle), torch.sin(angle)
    zero = torch.zeros_like(c)
    matrix = torch.stack([torch.cat([c, -s, zero], 1), torch.cat([s, c, zero], 1)], 1)
    grid = functional.affine_grid(matrix, list(frames.shape), align_corners=False)
    return functional.grid_sample(frames, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
