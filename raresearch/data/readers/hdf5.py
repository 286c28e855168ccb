"""HDF5: each dataset is a column named by its path ("group/energy"), each field of a compound dataset one below it.

Variable-length datasets are jagged columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from raresearch.data.readers.table import Column, equal_length, jagged_from, reading, require

_DAMAGED = (OSError, RuntimeError, KeyError, ValueError)


@dataclass(frozen=True)
class Hdf5Table:
    path: Path
    lengths: dict[str, int]
    fields: dict[str, tuple[str, str]]  # column → (dataset, field of a compound dataset or "")
    seekable: ClassVar[bool] = True

    def columns(self) -> tuple[str, ...]:
        return tuple(self.lengths)

    def rows(self, names: Sequence[str]) -> int:
        require(self.path, names, self.columns())
        return equal_length(self.path, {name: self.lengths[name] for name in names})

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        require(self.path, names, self.columns())
        with reading(self.path, *_DAMAGED), h5py.File(self.path, "r") as file:
            return {name: _column(file[self.fields[name][0]], self.fields[name][1], start, stop) for name in names}


def _column(dataset: Any, part: str, start: int, stop: int) -> Column:
    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[start:stop])
    values = np.asarray(dataset.fields(part)[start:stop] if part else dataset[start:stop])
    if h5py.check_vlen_dtype(dataset.dtype[part] if part else dataset.dtype):
        return jagged_from(list(values))
    return values


def open(path: Path, tree: str | None = None) -> Hdf5Table:
    lengths: dict[str, int] = {}
    fields: dict[str, tuple[str, str]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim > 0:
            for part in item.dtype.names or ("",):
                column = f"{name}/{part}" if part else name
                lengths[column], fields[column] = len(item), (name, part)

    with reading(path, *_DAMAGED), h5py.File(path, "r") as file:
        file.visititems(visit)
    return Hdf5Table(path, lengths, fields)
