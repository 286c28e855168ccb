"""NumPy's NPZ: each array is a column, its first axis the events. Pickled objects are refused."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from raresearch.data.readers.table import Column, equal_length, reading, require
from raresearch.errors import DataError
from raresearch.types import Array

_DAMAGED = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class NpzTable:
    path: Path
    names: tuple[str, ...]
    loaded: dict[str, Array] = field(default_factory=dict)  # an array is unpacked once for each open table
    seekable: ClassVar[bool] = False

    def columns(self) -> tuple[str, ...]:
        return self.names

    def rows(self, names: Sequence[str]) -> int:
        return equal_length(self.path, {name: len(self._load(name)) for name in names})

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        return {name: self._load(name)[start:stop] for name in names}

    def _load(self, name: str) -> Array:
        require(self.path, [name], self.names)
        if name not in self.loaded:
            with reading(self.path, *_DAMAGED), self.path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                self.loaded[name] = file[name]
        array = self.loaded[name]
        if array.ndim == 0:
            raise DataError(f"{self.path}: column {name!r}", "is a single number, not one entry for each event")
        return array


def open(path: Path, tree: str | None = None) -> NpzTable:
    # Opened here: given a path, NumPy leaves the file open where the archive is damaged.
    with reading(path, *_DAMAGED), path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        return NpzTable(path, tuple(file.files))
