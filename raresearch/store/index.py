"""What thousands of landings say, gathered: a cache beside them, true of a landing as long as its file is the one that was read.

A landing's name says which cells are in it and not what they became: cells that were removed and trained again come back under the
same name, with other bits where machine or libraries are others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raresearch.errors import StoreError
from raresearch.store.columns import words
from raresearch.store.files import make_folder, write_atomic

LEAST = 64  # landings that are not in the index yet; fewer are read in a moment
MARKS = b"raresearch.marks"  # in the file's metadata: landing → `mark` of what was read
#: kind → (file of a landing, columns) where these are not the kind itself and all; "done" is for workers, who ask for nothing else
PARTS: Mapping[str, tuple[str, Sequence[str]]] = {"done": ("cells", ("cell", "state"))}
GROWTH = 4  # it is written again when it would grow by a quarter: rewriting then costs a constant a landing


@dataclass(frozen=True)
class Known:
    """Tables with a column ``landing``, and the landings in them with their marks; ``in_file`` of these are in the index."""

    tables: tuple[pa.Table, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    in_file: int = 0

    def with_new(self, landings: Sequence[Path], kind: str) -> Known:
        """With those of ``landings`` that are not in it. Raises `StoreError` for a damaged one."""
        new = [path for path in landings if path.name not in self.names]
        if not new:
            return self
        # One table: a later look then reads one piece and not thousands.
        marks = {path.name: mark(path, kind) for path in new}  # before they are read: what changes meanwhile is read again
        read = pa.concat_tables([landed(path, kind) for path in new], promote_options="default")
        return Known((*self.tables, read), {**self.names, **marks}, self.in_file)


def mark(landing: Path, kind: str) -> str:
    """Size and time of change of the file of ``kind`` of ``landing``; empty where it is not there."""
    try:
        stat = os.stat(f"{landing}/{PARTS[kind][0] if kind in PARTS else kind}.parquet")
    except OSError:
        return ""
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def landed(path: Path, kind: str) -> pa.Table:
    """The table ``kind`` of the landing in ``path``. Raises `StoreError` where it is damaged."""
    name, columns = PARTS.get(kind, (kind, None))
    try:
        table = pq.ParquetFile(path / f"{name}.parquet").read(columns)  # `read_table` would import pandas: a second
    except (pa.ArrowInvalid, OSError) as error:
        remedy = f"remove the folder {path} and run the study again: only its cells are trained anew"
        raise StoreError(str(path / f"{name}.parquet"), "damaged (not readable as Parquet)", remedy) from error
    return table.append_column("landing", words([path.name] * len(table)))


def indexed(root: Path, kind: str, there: Iterable[str]) -> Known:
    """What the index of ``root`` says of the landings ``there``; nothing where there is none, or where it is damaged.

    A landing that was removed, or whose file is another one than was read, is left out.
    """
    try:
        table = pq.ParquetFile(root / "index" / f"{kind}.parquet").read()
        marks = dict(json.loads((table.schema.metadata or {})[MARKS]))
    except (pa.ArrowInvalid, OSError, ValueError, KeyError, TypeError):
        return Known()
    there, cells = frozenset(there), root / "cells"
    true = {name: was for name, was in marks.items() if name in there and was == mark(cells / name, kind)}
    if len(true) < len(marks):
        table = table.filter(pc.is_in(table["landing"], words(sorted(true))))
    return Known((table.replace_schema_metadata(None),), true, len(true))


def outgrown(root: Path, known: Known) -> bool:
    """Whether ``known`` has grown so much since the index was written that it is worth writing it again."""
    new = len(known.names) - known.in_file
    return new >= max(LEAST, known.in_file // GROWTH) or (
        known.in_file > 0 and not (root / "index" / "epochs.parquet").exists()
    )


def write_index(root: Path, kind: str, known: Known) -> None:
    """Write ``known`` as the index of ``root``; not at all where ``root`` cannot be written."""
    with suppress(OSError, StoreError):
        make_folder(root / "index")
        table = pa.concat_tables(known.tables, promote_options="default")
        table = table.replace_schema_metadata({MARKS: json.dumps(dict(known.names))})
        write_atomic(root / "index" / f"{kind}.parquet", lambda path: pq.write_table(table, path))
