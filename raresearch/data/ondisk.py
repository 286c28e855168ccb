"""Tensors that stay on disk and are read by rows. Legend: N events, *S a tensor's shape."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from raresearch.errors import StoreError
from raresearch.types import Array

RUN = 8  # neighbours, on average, that make a read worth its call
SCATTERED = 512  # rows of one read; Linux takes 1,024


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

    @cached_property
    def scattered(self) -> Array:
        """As `mapped`, but a touched page brings none of its neighbours: what does not fit in memory must not be read in vain."""
        size = self.offset + math.prod(self.shape) * self.dtype.itemsize
        with open(self.path, "rb") as file:
            pages = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
        pages.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(pages, self.dtype, offset=self.offset).reshape(self.shape)

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    def read(self, rows: Array, views: Sequence[memoryview]) -> None:
        """Row ``rows[i]`` into ``views[i]``, by positioned reads: neighbours in one, each scattered to where it belongs."""
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        edges = [0, *(np.flatnonzero(np.diff(ordered) != 1) + 1).tolist(), len(rows)]
        starts, places = ordered.tolist(), order.tolist()
        with open(self.path, "rb", buffering=0) as file:
            for first, last in pairwise(edges):
                for start in range(first, last, SCATTERED):
                    parts = [views[i] for i in places[start : min(last, start + SCATTERED)]]
                    self._scatter(file.fileno(), parts, self.offset + starts[start] * self.row_bytes)

    def _scatter(self, descriptor: int, parts: list[memoryview], offset: int) -> None:
        if os.preadv(descriptor, parts, offset) == len(parts) * self.row_bytes:
            return
        for number, part in enumerate(parts):  # the system may read less than it was asked for
            done = 0
            while done < len(part):
                count = os.preadv(descriptor, [part[done:]], offset + number * self.row_bytes + done)
                if not count:
                    raise StoreError(self.path, "ends before its last event", "delete its folder: it is made again")
                done += count


@dataclass(frozen=True, eq=False)
class Rows:
    """(N, *S): rows ``index`` (N,) int64 of ``files`` behind one another; None: all of them, in their order.

    Indexing copies. ``streamed``: runs of neighbours by positioned reads; all else through a memory map.
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

    def pieces(self, parts: Sequence[Array]) -> list[Array]:
        """Events ``parts``, numbers each, in an array each: where one large array would be new memory each time, these are used
        again. They are read together: runs of neighbours go through all of them."""
        asked = [part if self.index is None else self.index[part] for part in parts]
        flat = np.concatenate(asked)
        if not self._by_runs(flat):
            return [self._taken(part) for part in asked]
        made = [np.empty((len(part), *self.files[0].shape[1:]), self.dtype) for part in asked]
        self._read(flat, made)
        return made

    def _by_runs(self, flat: Array) -> bool:
        """Whether to read runs of neighbours. Single events are faster through the map: a call for each of 256 events a batch
        keeps Python's lock from the thread that trains (a fifth of the images a second, measured)."""
        return self.streamed and len(flat) > RUN * int(np.count_nonzero(np.diff(np.sort(flat)) != 1))

    def _gathered(self, flat: Array) -> Array:
        if not self._by_runs(flat):
            return self._taken(flat)
        out = np.empty((len(flat), *self.files[0].shape[1:]), self.dtype)
        self._read(flat, [out])
        return out

    def _read(self, flat: Array, outs: Sequence[Array]) -> None:
        size = self.files[0].row_bytes
        views = [v[i : i + size] for v in map(_bytes, outs) for i in range(0, len(v), size)]
        for file, mine, rows in self._by_file(flat):
            file.read(rows, views if len(self.files) == 1 else [views[i] for i in mine.tolist()])

    def _taken(self, flat: Array) -> Array:
        if len(self.files) == 1:
            return self._map(self.files[0]).take(flat, axis=0, mode="clip")  # of the modes the one that does not buffer
        out = np.empty((len(flat), *self.files[0].shape[1:]), self.dtype)
        for file, mine, rows in self._by_file(flat):
            out[mine] = self._map(file).take(rows, axis=0, mode="clip")
        return out

    def _map(self, file: NpyFile) -> Array:
        return file.scattered if self.streamed else file.mapped

    def _by_file(self, flat: Array) -> Iterator[tuple[NpyFile, Array, Array]]:
        """(file, places in ``flat``, rows of the file) of each file."""
        start = 0
        for file in self.files:
            stop = start + file.shape[0]
            mine = np.arange(len(flat)) if len(self.files) == 1 else np.flatnonzero((flat >= start) & (flat < stop))
            yield file, mine, flat[mine] - start
            start = stop


def _bytes(array: Array) -> memoryview:
    """The bytes of a contiguous ``array``, to be written."""
    return array.reshape(-1).view(np.uint8).data


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
