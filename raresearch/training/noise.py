"""Dropout whose masks depend on the cell, the step and the layer alone, not on who trains beside it.

torch draws dropout from one global stream, so a member of a pack would see other masks than the same cell alone. Here the
mask of an element is a hash of (cell's noise key, step, number of the dropout call within the forward pass, position in the
tensor): a counter-based generator, the same alone, in a pack of any size, and on any device. The hash is the 32-bit
finaliser of MurmurHash3 (A. Appleby, public domain), on 32-bit integers, which every vector unit multiplies quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

GOLDEN = -1640531527  # 2^32 / golden ratio, as a signed 32-bit number
_FIRST, _SECOND = -2048144789, -1028477387
_LOW16, _LOW19 = 0xFFFF, 0x7FFFF


def hashed(h: torch.Tensor) -> torch.Tensor:
    """MurmurHash3's finaliser of int32 ``h``. Shifts are arithmetic in torch, hence the masks."""
    h = (h ^ ((h >> 16) & _LOW16)) * _FIRST
    h = (h ^ ((h >> 13) & _LOW19)) * _SECOND
    return h ^ ((h >> 16) & _LOW16)


def signed(number: int) -> int:
    """``number`` modulo 2^32, as a signed 32-bit number.

    >>> signed(2**32 + 5), signed(2**31)
    (5, -2147483648)
    """
    return (number + 2**31) % 2**32 - 2**31


def stream_key(noise: torch.Tensor, step: torch.Tensor | int, call: int) -> torch.Tensor:
    """int32 key of one dropout call; ``noise`` is the cell's int32 key, ``step`` counts optimiser steps from 0."""
    # Hashed before it meets the cell's key: a sum of the two would give one cell's masks to another, some steps later.
    counter = torch.as_tensor(step, dtype=torch.int32, device=noise.device) * GOLDEN + signed((call + 1) * _FIRST)
    return hashed(hashed(counter) ^ noise)


def threshold(p: float) -> int:
    """The int32 below which a hash means "drop": P(hash < threshold) = p."""
    return max(-(2**31), min(2**31 - 1, round((p - 0.5) * 2**32)))


def kept(key: torch.Tensor, shape: Sequence[int], p: torch.Tensor | float) -> torch.Tensor:
    """Boolean mask of ``shape``, True with probability 1 - p. ``key`` broadcasts over leading axes of its own."""
    size = 1
    for n in shape:
        size *= n
    index = torch.arange(size, dtype=torch.int32, device=key.device).reshape(tuple(shape)) * GOLDEN
    limit = threshold(p) if isinstance(p, (int, float)) else p
    return hashed(index ^ key) >= limit


def drop(x: torch.Tensor, key: torch.Tensor, p: float, shape: Sequence[int]) -> torch.Tensor:
    """``x`` with its elements (or what ``shape`` broadcasts to) dropped and the rest scaled by 1 / (1 - p)."""
    if p >= 1.0:
        return x * 0.0
    return x * (kept(key, shape, p).to(x.dtype) * (1.0 / (1.0 - p)))


class HashedDropout(TorchFunctionMode):
    """Within this mode, dropout (elementwise or of whole channels) draws hashed masks; nothing else changes.

    ``noise`` and ``step`` may be tensors of `torch.func.vmap`, one entry a member.
    """

    def __init__(self, noise: torch.Tensor, step: torch.Tensor | int) -> None:
        super().__init__()
        self.noise, self.step, self.calls = noise, step, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keep_axes = _DROPOUTS.get(func)
        if keep_axes is None:
            return func(*args, **(kwargs or {}))
        return self._dropout(keep_axes, *args, **(kwargs or {}))

    def _dropout(
        self, spatial: int, input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        if not training:
            return input
        self.calls += 1  # also where p is 0: members of a pack may differ in p, not in the number of a call
        if p == 0.0:
            return input
        # `spatial` axes at the end share one draw: dropout2d drops whole channels.
        axes = input.dim() - spatial
        shape = [n if axis < axes else 1 for axis, n in enumerate(input.shape)]
        key = stream_key(self.noise, self.step, self.calls - 1)
        return drop(input, key, p, shape)


_DROPOUTS: Mapping[Callable[..., Any], int] = {
    functional.dropout: 0,
    functional.dropout1d: 1,
    functional.dropout2d: 2,
    functional.dropout3d: 3,
}
