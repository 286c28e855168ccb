"""A split's tensors as they are stored, and as a network sees them.

Legend: N events of a split, B of a batch, *S a tensor's shape.

A narrow tensor (uint8 images, float16 charges) stays as it is, in memory, on the device or on disk; only the rows of a batch
become the training's precision. Values are the same to the bit as if all were converted before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch

from raresearch.data.ondisk import Rows
from raresearch.data.ondisk import Stored as Values
from raresearch.data.ondisk import joined as joined_values
from raresearch.data.transforms import Scaler
from raresearch.training.scaling import scale
from raresearch.types import Array

WIDE = 4  # bytes of a float32: what is as wide is converted at once, since it takes no more memory so
DEVICE_SHARE = 0.5  # of a GPU's free memory that a split's stored tensor may take


@dataclass(frozen=True, eq=False)
class Packed:
    """(N, *S) ``values`` as stored; indexing gives rows in ``dtype`` on ``device``, scaled where there is a scaler."""

    values: Values | torch.Tensor
    scaler: Scaler | None
    dtype: torch.dtype
    device: torch.device

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.values.shape)

    @property
    def ndim(self) -> int:
        return self.values.ndim

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | torch.Tensor) -> torch.Tensor:
        """Events ``rows``: a slice, a mask (N,) or numbers of any shape, which the result begins with."""
        if isinstance(self.values, torch.Tensor):
            return self.ready(self.values[rows])
        return self.ready(gathered(self.values, rows if isinstance(rows, slice) else rows.cpu().numpy()))

    def ready(self, raw: Array | torch.Tensor) -> torch.Tensor:
        """Stored rows (…, *S) as the network sees them."""
        if isinstance(raw, torch.Tensor):
            return _scaled_there(raw, self.scaler).to(self.dtype)
        if self.scaler is not None:
            flat = scale(raw.reshape(-1, *self.values.shape[1:]), self.scaler)
            return torch.from_numpy(flat.reshape(raw.shape)).to(self.device, self.dtype)
        # torch warns of memory that it may not write, such as Ray's.
        moved = torch.from_numpy(raw if raw.flags.writeable else raw.copy()).to(self.device)
        return moved.to(torch.float32).to(self.dtype)


Column: TypeAlias = torch.Tensor | Packed


def gathered(values: Values, rows: slice | Array) -> Array:
    """Rows of what is in memory or on disk; a slice of memory is a view."""
    if isinstance(values, Rows) or isinstance(rows, slice) or rows.dtype == bool:
        return values[rows]
    return values.take(rows, axis=0, mode="clip")  # of take's modes the one that does not buffer


def column(values: Values, scaler: Scaler | None, dtype: torch.dtype, device: torch.device) -> Column:
    """``values`` as a column of a split on ``device``."""
    if isinstance(values, Rows):
        return Packed(values, scaler, dtype, device)
    if values.dtype.itemsize >= WIDE:
        # torch.tensor copies: Ray's shared arrays are read-only, which torch warns about.
        return torch.tensor(scale(values, scaler)).to(device, dtype)
    return Packed(_placed(values, device), scaler, dtype, device)


def _placed(values: Array, device: torch.device) -> Array | torch.Tensor:
    """On the device where there is room for it, else where it is."""
    if device.type != "cuda" or values.nbytes > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return values
    # torch does not index 16-bit unsigned integers on a GPU.
    return torch.tensor(values.astype(np.int32) if values.dtype == np.uint16 else values).to(device)


def _scaled_there(raw: torch.Tensor, scaler: Scaler | None) -> torch.Tensor:
    """As `Scaler.apply`, on the device of ``raw`` (…, F, …): computed in float64, rounded to float32."""
    if scaler is None or scaler.kind == "none":
        return raw.to(torch.float32)
    wide = (-1,) + (1,) * (raw.ndim - 2)
    shift, width = (torch.tensor(a, device=raw.device).view(wide) for a in (scaler.shift, scaler.scale))
    return ((raw.to(torch.float64) - shift) / width).to(torch.float32)


def joined(columns: Sequence[Column]) -> Column:
    """Columns of several folds behind one another, all of one kind."""
    first = columns[0]
    if isinstance(first, torch.Tensor):
        return torch.cat([c for c in columns if isinstance(c, torch.Tensor)])
    values = [c.values for c in columns if isinstance(c, Packed)]
    if any(c.scaler is not None for c in columns if isinstance(c, Packed)):  # each fold has its own
        return torch.cat([c[:] for c in columns])
    tensors = [v for v in values if isinstance(v, torch.Tensor)]
    if tensors:
        return replace(first, values=torch.cat(tensors))
    return replace(first, values=joined_values([v for v in values if not isinstance(v, torch.Tensor)]))


class Whole(Mapping[str, torch.Tensor]):
    """The rows of ``columns`` where ``mask`` (N,) holds as tensors, each made when it is first asked for: most losses look at no
    input, and a million images as float32 fit nowhere."""

    def __init__(self, columns: Mapping[str, Column], mask: torch.Tensor) -> None:
        self._columns, self._mask = columns, None if bool(mask.all()) else mask
        self._made: dict[str, torch.Tensor] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._made:
            rows = slice(None) if self._mask is None else self._mask
            self._made[name] = self._columns[name][rows]
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)
