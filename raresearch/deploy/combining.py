"""The combinations and calibrations of `raresearch.ensembles` as torch operations that export to ONNX.

Everything is in float64. The NumPy functions there are what these must equal; a test holds them together. Combinations
are continuous in the logits except ranks: a logit that differs in its last bit from a tied validation logit moves by half a
rank, so re-scored validation events agree to about M⁻¹V⁻¹ there, not to rounding. Isotonic calibration multiplies
rounding by its steepest slope.

Legend: M members, N events, V validation events, K knots.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from raresearch.ensembles.calibrate import EDGE, Calibration


def combined(name: str, logits_MN: torch.Tensor, weights_M: torch.Tensor, references: Sequence[torch.Tensor]) -> torch.Tensor:
    """(N,) float64 scores; ``weights_M`` sum to 1, ``references`` are sorted validation logits (V,) of each member (ranks only)."""
    match name:
        case "logits":
            return torch.sigmoid(weights_M @ logits_MN)
        case "median":
            return _median(logits_MN, weights_M)
        case "ranks":
            ranks = [_rank(logits_MN[m], reference) for m, reference in enumerate(references)]
            return weights_M @ torch.stack(ranks)
    return weights_M @ torch.sigmoid(logits_MN)


def calibrated(calibration: Calibration, scores_N: torch.Tensor) -> torch.Tensor:
    """Calibrated scores (N,)."""
    if calibration.kind == "isotonic":
        half = len(calibration.parameters) // 2
        knots, values = (
            torch.tensor(p, dtype=torch.float64) for p in (calibration.parameters[:half], calibration.parameters[half:])
        )
        return _interpolated(scores_N, knots, values)
    slope, offset = (_exact(p) for p in (*calibration.parameters, 0.0)[:2])
    clipped = torch.minimum(torch.maximum(scores_N, _exact(EDGE)), _exact(1.0 - EDGE))
    return torch.sigmoid(slope * (torch.log(clipped) - torch.log1p(-clipped)) + offset)


def _exact(number: float) -> torch.Tensor:
    """A constant in float64: the exporter to ONNX rounds Python's numbers to float32, even beside float64 tensors."""
    return torch.tensor(number, dtype=torch.float64)


def count_below(known_V: torch.Tensor, x_N: torch.Tensor, through: bool = False) -> torch.Tensor:
    """How many of the sorted ``known_V`` are < x (``through``: <= x), (N,) int64.

    A binary search unrolled into gathers: ONNX has no searchsorted, and comparing all pairs would take N·V memory.
    """
    size = len(known_V)
    place = torch.zeros_like(x_N, dtype=torch.int64)
    step = 1 << max(size.bit_length() - 1, 0)
    while step:
        probe = place + step
        value = known_V[(probe - 1).clamp(max=size - 1)]
        smaller = value <= x_N if through else value < x_N
        place = torch.where(smaller & (probe <= size), probe, place)
        step >>= 1
    return place


def _rank(logits_N: torch.Tensor, known_V: torch.Tensor) -> torch.Tensor:
    below, up_to = count_below(known_V, logits_N), count_below(known_V, logits_N, through=True)
    return (below + up_to).double() / _exact(2.0 * len(known_V))


def _median(logits_MN: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
    ranked, order = torch.sort(logits_MN, dim=0)
    below = torch.cumsum(weights_M[order], dim=0)
    # Counting what has not reached a half finds the first that has, without relying on which of equal maxima argmax takes.
    low = (below < _exact(0.5 - 1e-12)).sum(0, keepdim=True)
    high = (below <= _exact(0.5 + 1e-12)).sum(0, keepdim=True)
    middle = torch.sigmoid(ranked.gather(0, low)) + torch.sigmoid(ranked.gather(0, high))
    return 0.5 * middle.squeeze(0)


def _interpolated(x_N: torch.Tensor, knots_K: torch.Tensor, values_K: torch.Tensor) -> torch.Tensor:
    if len(knots_K) == 1:
        return values_K.expand(len(x_N))
    right = count_below(knots_K, x_N, through=True).clamp(1, len(knots_K) - 1)
    left = right - 1
    share = ((x_N - knots_K[left]) / (knots_K[right] - knots_K[left])).clamp(0.0, 1.0)
    return values_K[left] + share * (values_K[right] - values_K[left])
