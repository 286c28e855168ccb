"""What every reader gives: named columns of equal length, read by row range.

Legend: N rows, M entries of all the lists of a jagged column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from raresearch.errors import DataError, Unreadable, nearest
from raresearch.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Jagged:
    """A column of lists: ``values`` (M,) one after the other, ``counts`` (N,) entries of each row."""

    values: Array
    counts: Array

    def __len__(self) -> int:
        return len(self.counts)


Column: TypeAlias = "Array | Jagged"


class Table(Protocol):
    """An open file. Reading is stateless: any range, in any order. Every error is a `DataError` that names the file."""

    #: False where a range costs a pass over the whole file (CSV, NPZ): such a file is one block
    seekable: bool

    def columns(self) -> tuple[str, ...]:
        """Names of all columns that can be read."""
        ...

    def rows(self, names: Sequence[str]) -> int:
        """Number of rows of ``names``; `DataError` where they differ in length."""
        ...

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Rows ``start`` to ``stop`` (exclusive) of each column: (n, …) array, or `Jagged`. Strings come as objects."""
        ...


@contextmanager
def reading(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn a library's ``errors`` about a damaged file into an `Unreadable` that names it."""
    try:
        yield
    except errors as error:
        text = (str(error).strip().splitlines() or [""])[0][:160]
        detail = f"{type(error).__name__}: {text}" if text else type(error).__name__
        remedy = "copy or write it again, or skip such files with `corrupt: skip` in the mapping"
        raise Unreadable(str(path), f"cannot be read, truncated or damaged ({detail})", remedy) from error


def require(path: Path, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise `DataError` for the first of ``names`` that is not ``known``."""
    for name in names:
        if name not in known:
            raise DataError(f"{path}: column {name!r}", "is missing", nearest(name, known))


def equal_length(path: Path, lengths: dict[str, int]) -> int:
    """The one length of all columns; `DataError` where they differ."""
    longest = max(lengths, key=lambda name: lengths[name])
    shortest = min(lengths, key=lambda name: lengths[name])
    if lengths[longest] != lengths[shortest]:
        raise DataError(
            f"{path}: column {shortest!r}", f"has {lengths[shortest]} rows, {longest!r} has {lengths[longest]}", "must be equal"
        )
    return lengths[longest]


def jagged_from(rows: Sequence[Array]) -> Jagged:
    """`Jagged` from one array for each row."""
    counts = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    return Jagged(np.concatenate(list(rows)) if len(rows) else np.empty(0), counts)
