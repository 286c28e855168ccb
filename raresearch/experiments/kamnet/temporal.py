"""Attention ConvLSTM (Eqs. 3 and 4): a series of hit maps becomes context images. Loads torch; imported by workers only.

Two forms. `PlanarAttention` is the paper's: kernels on the plane of angles and a weight of attention for every pixel, which no
rotation leaves as they are. `PointAttention` sees each pixel's own history with the same weights everywhere: what follows is
a sum over hits, and rotation-invariant by construction.

Legend: B events, T time slices, H rings, W sectors, C channels, S pixels with a hit.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

State = tuple[torch.Tensor, torch.Tensor]
_ODD, _MIX = 0x1E3779B97F4A7C16, 0x2545F4914F6CDD1D  # multiply and add in 64 bits, wrapping around


def spherical_padding(x: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, H, W) with ``size`` more pixels at each side: around in azimuth, across the poles in polar angle."""
    if size == 0:
        return x
    turned = x.roll(x.shape[-1] // 2, -1).flip(-2)
    tall = torch.cat([turned[..., -size:, :], x, turned[..., :size, :]], -2)
    return functional.pad(tall, (size, size, 0, 0), mode="circular")


def gates(combined: torch.Tensor, cell: torch.Tensor) -> State:
    """Hidden and cell state from the sums of the four gates (B, 4C, …)."""
    enter, forget, leave, new = combined.chunk(4, 1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def attend(hidden: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eqs. 3 and 4: context and scores from ``hidden`` (B, T, C, …) and ``weight`` (T, C, …); the softmax is along time."""
    score = torch.softmax(hidden * weight * hidden[:, -1:], dim=1)
    return (score * hidden).sum(1), score


class ConvCell(nn.Module):
    """One step of a ConvLSTM (Shi et al. 2015, without peepholes)."""

    def __init__(self, inputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.hidden, self.reach = hidden, kernel // 2
        self.convolution = nn.Conv2d(inputs + hidden, 4 * hidden, kernel)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor) -> State:
        return gates(self.convolution(spherical_padding(torch.cat([x, hidden], 1), self.reach)), cell)


class PlanarAttention(nn.Module):
    """``forward``: maps (B, T, H, W) → context (B, C, H, W). ``recompute`` trades a second forward pass for the memory of
    the gates: what is kept of a step is its two states."""

    def __init__(
        self, times: int, shape: tuple[int, int], hidden: tuple[int, ...], kernels: tuple[int, ...], recompute: bool
    ) -> None:
        super().__init__()
        self.recompute, self.channels = recompute, hidden[-1]
        sizes = zip((1, *hidden[:-1]), hidden, kernels, strict=True)
        self.layers = nn.ModuleList(ConvCell(a, b, k) for a, b, k in sizes)
        self.weight = nn.Parameter(torch.randn(times, hidden[-1], *shape) / math.sqrt(hidden[-1]))

    def scores(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Context (B, C, H, W) and attention (B, T, C, H, W)."""
        series = [x[:, None] for x in maps.unbind(1)]
        for layer in self.layers:
            empty = maps.new_zeros(len(maps), int(layer.hidden), *maps.shape[-2:])  # type: ignore[arg-type]
            hidden, cell, found = empty, empty, []
            for x in series:
                hidden, cell = self._step(layer, x, hidden, cell)
                found.append(hidden)
            series = found
        return attend(torch.stack(series, 1), self.weight)

    def _step(self, layer: nn.Module, *state: torch.Tensor) -> State:
        if self.recompute and self.training:
            return checkpoint(layer, *state, use_reentrant=False)  # type: ignore[no-any-return]
        return layer(*state)  # type: ignore[no-any-return]

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.scores(maps)[0]


class PointAttention(nn.Module):
    """``forward``: maps (B, T, H, W) → (B, C, H, W): context of each pixel less that of a pixel without hits.

    A pixel without hits thus counts nothing, and the image is a measure: one term for each pixel with hits. Where maps hold
    numbers of hits (``counts``), most pixels of a batch share their history with others, and each is followed once.
    """

    def __init__(self, times: int, hidden: tuple[int, ...], counts: bool = False) -> None:
        super().__init__()
        self.channels, self.counts = hidden[-1], counts
        sizes = list(zip((1, *hidden[:-1]), hidden, strict=True))
        self.inputs = nn.ModuleList(nn.Linear(a, 4 * b) for a, b in sizes)
        self.states = nn.ModuleList(nn.Linear(b, 4 * b, bias=False) for _, b in sizes)
        self.weight = nn.Parameter(torch.randn(times, hidden[-1]) / math.sqrt(hidden[-1]))

    def scores(self, histories: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Context (S, C) and attention (S, T, C) of pixels' ``histories`` (S, T)."""
        series = histories[..., None]
        for enter, stay in zip(self.inputs, self.states, strict=True):
            entering = enter(series)  # all times at once
            cell = hidden = entering.new_zeros(len(series), entering.shape[-1] // 4)
            found = []
            for x in entering.unbind(1):
                hidden, cell = gates(x + stay(hidden), cell)
                found.append(hidden)
            series = torch.stack(found, 1)
        return attend(series, self.weight)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        pixels = maps.flatten(2).transpose(1, 2)  # (B, H·W, T)
        lit = (pixels != 0).any(-1)
        histories = torch.cat([pixels.new_zeros(1, maps.shape[1]), pixels[lit]])
        if self.counts:
            different, which = distinct(histories)
            context = self.scores(different)[0][which]
        else:
            context = self.scores(histories)[0]
        image = maps.new_zeros(*lit.shape, self.channels)
        image[lit] = context[1:] - context[:1]
        return image.transpose(1, 2).reshape(len(maps), self.channels, *maps.shape[-2:])


def distinct(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The different ones among ``rows`` (S, T) of whole numbers, and for every row the number of its own.

    Rows are compared by 64-bit sums with fixed odd multipliers: two different ones of a million agree with a probability of
    some 10⁻⁷, and `torch.unique` on whole rows takes longer than the network.
    """
    multipliers = torch.arange(1, rows.shape[1] + 1, device=rows.device) * _ODD + 1
    keys = ((rows.long() + 1) * multipliers * (rows.long() * _MIX + multipliers)).sum(1)
    _, which = torch.unique(keys, return_inverse=True)
    first = torch.empty(int(which.max()) + 1, dtype=torch.int64, device=rows.device)
    first[which] = torch.arange(len(rows), device=rows.device)
    return rows[first], which
