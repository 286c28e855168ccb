"""The layers of a plain multi-layer perceptron, read off an `nn.Sequential`, and their activations with derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

#: widths are padded to whole 32-byte (float32) or 64-byte (float64) vectors: then the last bit of a member's matrix product
#: depends neither on its place in a batch nor on the batch's size (without: it does, for widths such as 5 or 7)
WIDTH = 8


@dataclass(frozen=True, slots=True)
class Activation:
    """``function`` of the pre-activation z; ``backward(g, saved, out)`` where saved is y, or z if ``from_input``.

    ``keeps_zero``: a padded neuron's 0 stays 0, so that nothing flows through the padding.
    """

    function: Callable[[torch.Tensor, torch.Tensor], object]
    backward: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]
    from_input: bool = False
    keeps_zero: bool = True


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear map, its activation and its dropout. ``kind`` names the activation ("" for none); ``dropout`` may be None
    (no such layer) or a probability. ``weight`` and ``bias`` are the names in the state dict."""

    inputs: int
    outputs: int
    kind: str
    slope: float
    dropout: float | None
    weight: str
    bias: str

    @property
    def shape(self) -> tuple[int, int]:
        """Padded (inputs, outputs)."""
        return (-(-self.inputs // WIDTH) * WIDTH, -(-self.outputs // WIDTH) * WIDTH)

    @property
    def signature(self) -> tuple[int, int, str, float, bool]:
        """What members of one pack must share; the dropout's probability is each member's own."""
        return (self.inputs, self.outputs, self.kind, self.slope, self.dropout is not None)


_aten = torch.ops.aten


def activation(layer: Layer) -> Activation | None:
    """The activation of ``layer``; None where it has none."""
    slope = layer.slope
    table = {
        "ReLU": Activation(
            lambda z, y: torch.clamp_min(z, 0.0, out=y),
            lambda g, y, out: _aten.threshold_backward.grad_input(g, y, 0, grad_input=out),
        ),
        "LeakyReLU": Activation(
            lambda z, y: _aten.leaky_relu.out(z, slope, out=y),
            lambda g, y, out: _aten.leaky_relu_backward.grad_input(g, y, slope, True, grad_input=out),
        ),
        "Tanh": Activation(
            lambda z, y: torch.tanh(z, out=y), lambda g, y, out: _aten.tanh_backward.grad_input(g, y, grad_input=out)
        ),
        "Sigmoid": Activation(
            lambda z, y: torch.sigmoid(z, out=y),
            lambda g, y, out: _aten.sigmoid_backward.grad_input(g, y, grad_input=out),
            keeps_zero=False,
        ),
        "GELU": Activation(
            lambda z, y: _aten.gelu.out(z, out=y),
            lambda g, z, out: _aten.gelu_backward.grad_input(g, z, grad_input=out),
            from_input=True,
        ),
        "SiLU": Activation(
            lambda z, y: _aten.silu.out(z, out=y),
            lambda g, z, out: _aten.silu_backward.grad_input(g, z, grad_input=out),
            from_input=True,
        ),
    }
    return table.get(layer.kind)


ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU)


def read_layers(model: nn.Module) -> tuple[Layer, ...] | None:
    """The layers of ``model``, or None where it is anything but Linear, activation, dropout, …, Linear with one output."""
    layers: list[Layer] = []
    pending: tuple[str, nn.Linear, str, float, float | None] | None = None
    for name, module in _flat(model, ""):
        if _touched(module):
            return None
        if type(module) is nn.Identity:
            continue
        if type(module) is nn.Linear and module.bias is not None:
            layers += [_layer(pending)] if pending else []
            pending = (name, module, "", 0.0, None)
        elif pending and type(module) in ACTIVATIONS and not pending[2] and pending[4] is None:
            if getattr(module, "approximate", "none") != "none":
                return None
            pending = (*pending[:2], type(module).__name__, float(getattr(module, "negative_slope", 0.0)), None)
        elif pending and type(module) is nn.Dropout and pending[4] is None:
            pending = (*pending[:4], module.p)
        else:
            return None
    if pending is None or pending[1].out_features != 1 or pending[2] or pending[4] is not None:
        return None
    layers.append(_layer(pending))
    chained = all(a.outputs == b.inputs for a, b in pairwise(layers))
    distinct = len({id(p) for p in model.parameters()}) == 2 * len(layers)
    return tuple(layers) if chained and distinct and all(p.requires_grad for p in model.parameters()) else None


def _flat(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if type(module) is nn.Sequential and not _touched(module):
        for child, inner in module._modules.items():  # named_children() names a module that is used twice only once
            if inner is not None:
                yield from _flat(inner, f"{name}{child}.")
    else:
        yield name, module


def _touched(module: nn.Module) -> bool:
    """Hooks and parametrisations change what a layer computes."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or "forward" in vars(module))


def _layer(found: tuple[str, nn.Linear, str, float, float | None]) -> Layer:
    name, linear, kind, slope, dropout = found
    return Layer(linear.in_features, linear.out_features, kind, slope, dropout, f"{name}weight", f"{name}bias")
