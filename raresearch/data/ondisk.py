"""Tensors that stay on disk and are read by rows. Legend: N events, *S a tensor's shape."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from raresearch.errors import StoreError
from raresearch.types import Array


@dataclass(frozen=True)
class NpyFile:
    """An uncompressed ``.npy`` file of shape (N, *S), C order. Pickled it is its place, not its content."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def open(cls, path: Path) -> NpyFile:
        """Raises `StoreError` where the file is missing, cut off or of another kind."""
        try:
            found = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise StoreError(str(path), f"cannot be read ({error})", "delete its folder: it is made again") from error
        return cls(str(path), int(found.offset), found.shape, found.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("path", "offset", "shape", "dtype")}

    @cached_property
    def mapped(self) -> Array:
        """(N, *S), read-only; pages come into memory as they are touched and leave it as the system needs room."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape).view(np.ndarray)

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    def read(self, rows: Array) -> Array:
        """Rows (B,) → (B, *S) by positioned reads, neighbours in one: the file is not mapped and holds no page table."""
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        view = memoryview(out.reshape(-1).view(np.uint8).data)
        edges = [0, *(np.flatnonzero(np.diff(ordered) != 1) + 1).tolist(), len(rows)]
        size = self.row_bytes
        with open(self.path, "rb", buffering=0) as file:
            for start, stop in pairwise(edges):
                if stop > start:
                    _fill(file.fileno(), view[start * size : stop * size], self.offset + int(ordered[start]) * size, self.path)
        if np.array_equal(ordered, rows):
            return out
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return out.take(back, axis=0, mode="clip")  # of the modes the one that does not buffer


def _fill(descriptor: int, view: memoryview, offset: int, path: str) -> None:
    done = 0
    while done < len(view):  # the system may read less than it was asked for
        count = os.preadv(descriptor, [view[done:]], offset + done)
        if not count:
            raise StoreError(path, "ends before its last event", "delete its folder: it is made again")
        done += count


@dataclass(frozen=True, eq=False)
class Rows:
    """(N, *S): rows ``index`` (N,) int64 of ``files`` behind one another; None: all of them, in their order.

    Indexing copies. ``streamed``: by positioned reads; else through a memory map.
    """

    files: tuple[NpyFile, ...]
    streamed: bool = False
    index: Array | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.files[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.files[0].shape[1:])

    @property
    def ndim(self) -> int:
        return len(self.files[0].shape)

    def __len__(self) -> int:
        return sum(f.shape[0] for f in self.files) if self.index is None else len(self.index)

    def __getitem__(self, rows: slice | Array) -> Array:
        """Events ``rows``: a slice, a mask (N,), or numbers of any shape, which the result begins with."""
        asked = np.arange(len(self))[rows] if isinstance(rows, slice) or rows.dtype == bool else rows
        flat = asked.reshape(-1) if self.index is None else self.index[asked.reshape(-1)]
        return self._gathered(flat).reshape(*asked.shape, *self.files[0].shape[1:])

    def rows(self, chosen: Array) -> Rows:
        """The events that ``chosen``, a mask (N,) or numbers (M,), names; nothing is read."""
        index = np.arange(len(self)) if self.index is None else self.index
        return Rows(self.files, self.streamed, index[chosen])

    def _gathered(self, flat: Array) -> Array:
        if len(self.files) == 1:
            return self._from(self.files[0], flat)
        out = np.empty((len(flat), *self.files[0].shape[1:]), self.dtype)
        start = 0
        for file in self.files:
            mine = np.flatnonzero((flat >= start) & (flat < start + file.shape[0]))
            out[mine] = self._from(file, flat[mine] - start)
            start += file.shape[0]
        return out

    def _from(self, file: NpyFile, rows: Array) -> Array:
        return file.read(rows) if self.streamed else file.mapped.take(rows, axis=0, mode="clip")


#: a split's tensor: in memory, or on disk
Stored: TypeAlias = Array | Rows


def chosen(column: Stored, rows: Array) -> Stored:
    """The events ``rows`` (mask or numbers) of ``column``: a copy in memory, a view of the disk; all of them: itself."""
    if rows.dtype == bool and rows.all():
        return column
    return column.rows(rows) if isinstance(column, Rows) else column[rows]


def joined(columns: Sequence[Stored]) -> Stored:
    """Columns behind one another, of which all or none are on disk."""
    if not isinstance(columns[0], Rows):
        return np.concatenate([np.asarray(c) for c in columns])
    index, start = [], 0
    files: list[NpyFile] = []
    for column in columns:
        assert isinstance(column, Rows)
        index.append((np.arange(len(column)) if column.index is None else column.index) + start)
        files += column.files
        start += sum(f.shape[0] for f in column.files)
    return Rows(tuple(files), columns[0].streamed, np.concatenate(index))
