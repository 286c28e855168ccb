"""The paper's convolutional network (Sec. IV). Loads torch; imported by workers only.

Legend: B events, H, W a picture's height and width.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from raresearch.errors import SpaceError
from raresearch.types import Config, Value

FILTERS, KERNEL, DENSE = 16, 3, 32


class PictureNet(nn.Module):
    """Convolution, leaky ReLU and max pooling, one to three times; dropout; a dense layer; dropout; a logit.

    ``forward`` takes pictures (B, 3, H, W) of 0 … 255 and gives (B, 2): the logit, and the penalty of the network's own
    weights, the same for every event. A loss sees outputs only, so the penalty travels with them; it is then part of the
    training and of the validation loss, as in the paper's software, and it is differentiated with everything else.
    """

    def __init__(
        self, shape: tuple[int, int], layers: int, leak: float, stride: int, rates: tuple[float, float], l2: tuple[float, float]
    ) -> None:
        super().__init__()
        self.leak, self.stride, self.rates, self.l2 = leak, stride, rates, l2
        channels = (3, *(FILTERS,) * layers)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, KERNEL) for a, b in pairwise(channels))
        self.dense = nn.Linear(FILTERS * pooled_pixels(shape, layers, stride), DENSE)
        self.out = nn.Linear(DENSE, 1)
        for module in (*self.convolutions, self.dense, self.out):
            initialise(module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Colours last in memory: measured half the time of convolution and pooling on a processor. Written as two turns and
        # not as a memory format, which `torch.func.vmap` refuses.
        x = (x / 255.0).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        for convolution in self.convolutions:
            # The activation rises everywhere, so it may follow the pooling: the same values for a quarter of the work.
            x = functional.leaky_relu(functional.max_pool2d(convolution(x), 2, self.stride), self.leak)
        x = functional.dropout(x.permute(0, 2, 3, 1).flatten(1), self.rates[0], self.training)
        x = functional.leaky_relu(self.dense(x), self.leak)
        logit: torch.Tensor = self.out(functional.dropout(x, self.rates[1], self.training))
        return torch.cat([logit, self.penalty().expand_as(logit)], dim=1)

    def penalty(self) -> torch.Tensor:
        """Sum of squares times l2: of the convolutions' kernels, and of the dense layer's weights and bias."""
        kernels = torch.stack([w.square().sum() for n, w in self.convolutions.named_parameters() if n.endswith("weight")])
        dense = self.dense.weight.square().sum() + self.dense.bias.square().sum()
        return self.l2[0] * kernels.sum() + self.l2[1] * dense


def initialise(module: nn.Module) -> None:
    """Glorot's uniform weights and zero biases: what the paper's software does unless told otherwise."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def pooled_pixels(shape: tuple[int, int], layers: int, stride: int) -> int:
    """Pixels that are left of a picture after ``layers`` convolutions and poolings.

    >>> pooled_pixels((75, 75), 1, 2), pooled_pixels((75, 75), 1, 1)
    (1296, 5184)
    """
    height, width = shape
    for _ in range(layers):
        height, width = ((n - KERNEL + 1 - 2) // stride + 1 for n in (height, width))
    return height * width


def picture_net(config: Config, shape: tuple[int, int]) -> PictureNet:
    """The network of ``model.*``. Raises `SpaceError` for what cannot be."""
    layers, stride = (
        _whole("model.layers", config["model.layers"], 3),
        _whole("model.pool_stride", config["model.pool_stride"], 2),
    )
    leak = _number("model.leak", config["model.leak"], 1.0)
    rates = (
        _number("model.dropout_conv", config["model.dropout_conv"], 1.0),
        _number("model.dropout_dense", config["model.dropout_dense"], 1.0),
    )
    l2 = _number("model.l2_conv", config["model.l2_conv"]), _number("model.l2_dense", config["model.l2_dense"])
    return PictureNet(shape, layers, leak, stride, rates, l2)


def _whole(name: str, value: Value, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise SpaceError(f"{name}: {value!r}", f"must be a whole number from 1 to {most}")
    return value


def _number(name: str, value: Value, below: float = float("inf")) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < below:
        raise SpaceError(
            f"{name}: {value!r}", "must not be negative" if below == float("inf") else f"must lie in [0, {below:g})"
        )
    return float(value)
