"""NEWSnet, the 3D residual network of Appendix A, Tables 2 and 3. Loads torch; imported by workers only.

Legend: B events, D frames (polarisation axis), H, W pixels.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from raresearch.errors import SpaceError
from raresearch.experiments.newsdm.optics import PIXELS
from raresearch.experiments.newsdm.plasmon import FRAMES
from raresearch.types import Config, Value

CLASSES = 3
WIDEN = 4  #: a block of N filters ends with 4N (Table 2)


class Convolution(nn.Module):
    """3D convolution with zero padding that keeps the size (at stride 1), then batch normalisation."""

    def __init__(self, inputs: int, filters: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(inputs, filters, kernel, stride, padding=kernel // 2)
        self.norm = nn.BatchNorm3d(filters)
        # What the paper's software does unless told otherwise.
        nn.init.xavier_uniform_(self.convolution.weight)
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(x))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """Table 2: 1×1×1, 3×3×3, 1×1×1 convolutions with (N, N, 4N) filters beside an identity or a convolution of stride 2."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.first = Convolution(inputs, filters, 1, stride)
        self.second = Convolution(filters, filters, 3)
        self.third = Convolution(filters, WIDEN * filters, 1)
        self.shortcut = Convolution(inputs, WIDEN * filters, 3, stride) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.silu(self.second(functional.silu(self.first(x))))
        return functional.silu(self.third(y) + self.shortcut(x))


def group(inputs: int, filters: int, identities: int) -> nn.Sequential:
    """A block with a convolution shortcut, then ``identities`` blocks with identity shortcuts."""
    blocks = [Residual(inputs, filters, 2), *(Residual(WIDEN * filters, filters, 1) for _ in range(identities))]
    return nn.Sequential(*blocks)


class NewsNet(nn.Module):
    """Two convolutions, two groups of residual blocks with pooling and dropout before each, a dense layer.

    ``forward`` takes prepared frames (B, D, H, W) and gives logits (B, 3) of the classes, whose softmax is the paper's output.
    ``binning`` joins so many pixels a side before the first convolution; 1 is the paper's.
    """

    def __init__(
        self,
        stem: tuple[int, int],
        filters: tuple[int, int],
        identities: int,
        rates: tuple[float, float, float],
        binning: int = 1,
    ) -> None:
        super().__init__()
        self.binning = binning
        self.stem = nn.ModuleList([Convolution(1, stem[0], 3), Convolution(stem[0], stem[1], 3)])
        self.groups = nn.ModuleList([group(stem[1], filters[0], identities), group(WIDEN * filters[0], filters[1], identities)])
        self.rates = rates
        self.dense = nn.Linear(WIDEN * filters[1] * flat_cells(binning), CLASSES)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        x = functional.avg_pool2d(frames, self.binning)[:, None]
        for convolution in self.stem:
            x = functional.silu(convolution(x))
        for residuals, rate in zip(self.groups, self.rates, strict=False):
            x = functional.dropout(functional.max_pool3d(x, 2), rate, self.training)
            x = residuals(x)
        x = functional.dropout(x.flatten(1), self.rates[2], self.training)
        return self.dense(x)  # type: ignore[no-any-return]


def flat_cells(binning: int = 1) -> int:
    """Cells of the last feature map: each group pools by 2 (rounding down) and strides by 2 (rounding up).

    >>> flat_cells()  # (9, 40, 40) → (4, 20, 20) → (2, 10, 10) → (1, 5, 5) → (1, 3, 3)
    9
    """
    cells = 1
    for size in (FRAMES + 1, PIXELS // binning, PIXELS // binning):
        for _ in range(2):
            size = -(-(size // 2) // 2)
        cells *= size
    return cells


def news_net(config: Config) -> NewsNet:
    """The network of ``model.*``. Raises `SpaceError` for what cannot be."""
    stem = config["model.stem"]
    if not isinstance(stem, tuple) or len(stem) != 2:
        raise SpaceError(f"model.stem: {stem!r}", "must be two numbers of filters", "the paper has [32, 64]")
    first, second = (_whole("model.stem", n, 1) for n in stem)
    filters = tuple(_whole(f"model.filters_{half}", config[f"model.filters_{half}"], 1) for half in ("first", "second"))
    rates = tuple(_rate(f"model.dropout_{where}", config[f"model.dropout_{where}"]) for where in ("before", "middle", "after"))
    identities, binning = _whole("model.shortcuts", config["model.shortcuts"], 0), config["model.binning"]
    if isinstance(binning, bool) or binning not in (1, 2, 4):
        raise SpaceError(f"model.binning: {binning!r}", "must be 1, 2 or 4", "1 is the paper's")
    return NewsNet((first, second), (filters[0], filters[1]), identities, (rates[0], rates[1], rates[2]), int(str(binning)))


def _whole(name: str, value: Value, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpaceError(f"{name}: {value!r}", f"must be a whole number from {least} up")
    return value


def _rate(name: str, value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < 1.0:
        raise SpaceError(f"{name}: {value!r}", "must lie in [0, 1)")
    return float(value)
