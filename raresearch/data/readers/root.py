"""ROOT TTrees through uproot: flat branches, arrays of fixed shape, and jagged branches with one list an event."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import awkward as ak
import numpy as np
import uproot

from raresearch.data.readers.table import Column, Jagged, reading, require
from raresearch.errors import DataError, nearest

_DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AssertionError, NotImplementedError, struct.error, zlib.error),
    uproot.deserialization.DeserializationError,
)


@dataclass(frozen=True)
class RootTable:
    path: Path
    tree: str
    names: tuple[str, ...]
    n_rows: int
    seekable: ClassVar[bool] = True

    def columns(self) -> tuple[str, ...]:
        return self.names

    def rows(self, names: Sequence[str]) -> int:
        require(self.path, names, self.names)
        return self.n_rows

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        require(self.path, names, self.names)
        with reading(self.path, *_DAMAGED), uproot.open(self.path) as file:
            return {name: self._column(file[self.tree][name], start, stop) for name in names}

    def _column(self, branch: Any, start: int, stop: int) -> Column:
        kind = branch.interpretation
        if isinstance(kind, (uproot.AsDtype, uproot.AsStrings)):
            return np.asarray(branch.array(entry_start=start, entry_stop=stop, library="np"))
        if isinstance(kind, uproot.AsJagged) and isinstance(kind.content, uproot.AsDtype) and not kind.content.inner_shape:
            lists = branch.array(entry_start=start, entry_stop=stop, library="ak")
            return Jagged(ak.to_numpy(ak.flatten(lists)), ak.to_numpy(ak.num(lists)).astype(np.int64))
        raise DataError(
            f"{self.path}: column {branch.name!r}",
            f"has type {branch.typename}, which is neither numbers nor one list of numbers an event",
        )


def open(path: Path, tree: str | None = None) -> RootTable:
    """Open one TTree: the one called ``tree``, or the only one there is."""
    with reading(path, *_DAMAGED), uproot.open(path) as file:
        _refuse_truncated(path, int(file.file.fEND))
        name = _choose(path, tree, file.keys(cycle=False, filter_classname="TTree"))
        return RootTable(path, name, tuple(file[name].keys()), int(file[name].num_entries))


def _refuse_truncated(path: Path, end: int) -> None:
    # ROOT keeps its directory and streamers at the end: a file cut there may still open and lose events silently.
    if path.stat().st_size < end:
        raise DataError(str(path), f"is truncated: {path.stat().st_size} of {end} bytes", "copy or write it again")


def _choose(path: Path, tree: str | None, found: list[str]) -> str:
    names = list(dict.fromkeys(found))
    if tree is not None:
        if tree not in names:
            raise DataError("mapping.tree", f"{tree!r} is not a TTree of {path.name}", nearest(tree, names))
        return tree
    if len(names) != 1:
        remedy = f"write `tree: {names[0]}`, or another of {', '.join(names)}" if names else "is it the right file?"
        raise DataError("mapping.tree", f"{path.name} has {len(names)} TTrees, must be one or named", remedy)
    return names[0]
