"""Products, convolutions and activations of stacked networks on a CPU, such that a member's last bit does not depend on the pack.

Under `torch.func.vmap` a linear layer becomes a batched product, whose kernels choose by alignment and by the number of
matrices, and a convolution becomes a grouped one, which on a CPU is slower than its groups one by one (measured: a small
CNN took 5.7 times as long as alone). Here operands of linear layers are padded to whole vectors, which makes the product
of each member independent of the others, and convolutions run member by member.

Legend: M members, B events, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from raresearch.training.layers import WIDTH

VECTORS = 64  # elements: no vector loop of torch's is longer


class MemberOps(TorchFunctionMode):
    """Within this mode, linear layers are padded and convolutions run member by member; all else is vmap's own."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear:
            return padded_linear(*args, **kwargs)
        if func in _CONVOLUTIONS:
            return member_convolution(func, *args, **kwargs)
        if func in _ELEMENTWISE:
            return padded_elementwise(func, *args, **kwargs)
        if func is functional.binary_cross_entropy_with_logits and kwargs.get("reduction") == "none" and len(args) == 2:
            # its logistic function is elementwise too
            return padded_elementwise(lambda z: func(z, torch.zeros_like(z), **kwargs), args[0]) - args[0] * args[1]
        return func(*args, **kwargs)


def padded_elementwise(func: Callable[..., Any], input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """``func`` of every element. A kernel's vector loop and its tail differ in the last bit, and which member meets the tail
    depends on the pack: so each member is padded to whole vectors."""
    flat = input.reshape(-1)
    kwargs.pop("inplace", None)
    padded = functional.pad(flat, (0, -flat.shape[0] % VECTORS))
    return func(padded, *args, **kwargs)[: flat.shape[0]].reshape(input.shape)  # type: ignore[no-any-return]


def padded_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x (…, I), weight (O, I), bias (O,) → (…, O), by way of a product whose three sizes are whole vectors."""
    outputs, inputs = weight.shape
    flat = x.reshape(-1, inputs)
    events = flat.shape[0]
    more = (-events % WIDTH, -inputs % WIDTH, -outputs % WIDTH)
    if more[0] or more[1]:
        flat = functional.pad(flat, (0, more[1], 0, more[0]))
    if more[1] or more[2]:
        weight = functional.pad(weight, (0, more[1], 0, more[2]))
    y = torch.matmul(flat, weight.transpose(0, 1))[:events, :outputs].reshape(*x.shape[:-1], outputs)
    return y if bias is None else y + bias


def member_convolution(
    func: Callable[..., Any],
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *args: Any,
    **kwargs: Any,
) -> torch.Tensor:
    """``func`` of each member's own input and weight."""
    return _EachMember.apply(lambda x, w, b: func(x, w, b, *args, **kwargs), input, weight, bias)  # type: ignore[no-any-return]


class _EachMember(torch.autograd.Function):
    """A function of (x, w, b) that `vmap` applies to one member after another, under plain autograd."""

    @staticmethod
    def forward(
        function: Callable[..., torch.Tensor], x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None
    ) -> torch.Tensor:
        return function(x, w, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep: the members' own graphs hold what backward needs."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, function: Callable[..., torch.Tensor], *operands: torch.Tensor | None
    ) -> tuple[torch.Tensor, int]:
        def each(tensor: torch.Tensor | None, axis: int | None) -> Any:
            if tensor is None or axis is None:
                return [tensor] * info.batch_size
            return tensor.unbind(axis)

        members = [each(t, axis) for t, axis in zip(operands, in_dims[1:], strict=True)]
        return torch.stack([function(*one) for one in zip(*members, strict=True)]), 0


_CONVOLUTIONS = frozenset(
    {
        torch.conv1d,
        torch.conv2d,
        torch.conv3d,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
    }
)

_ELEMENTWISE = frozenset(
    {
        functional.gelu,
        functional.silu,
        functional.mish,
        functional.elu,
        functional.selu,
        functional.softplus,
        functional.logsigmoid,
        torch.tanh,
        torch.sigmoid,
        torch.exp,
        torch.log,
        torch.Tensor.tanh,
        torch.Tensor.sigmoid,
        torch.Tensor.exp,
        torch.Tensor.log,
    }
)
