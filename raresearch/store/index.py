"""What thousands of landings say, gathered: a cache beside them, which is true as long as a landing that it names is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raresearch.errors import StoreError
from raresearch.store.columns import words
from raresearch.store.files import make_folder, write_atomic

LEAST = 64  # landings that are not in the index yet; fewer are read in a moment
GROWTH = 4  # it is written again when it would grow by a quarter: rewriting then costs a constant a landing


@dataclass(frozen=True)
class Known:
    """Tables with a column ``landing``, and the names of the landings in them; ``in_file`` of these are in the index."""

    tables: tuple[pa.Table, ...] = ()
    names: frozenset[str] = frozenset()
    in_file: int = 0

    def with_new(self, landings: Sequence[Path], kind: str) -> Known:
        """With those of ``landings`` that are not in it. Raises `StoreError` for a damaged one."""
        new = [path for path in landings if path.name not in self.names]
        if not new:
            return self
        # One table: a later look then reads one piece and not thousands.
        read = pa.concat_tables([landed(path, kind) for path in new], promote_options="default")
        return Known((*self.tables, read), self.names | {path.name for path in new}, self.in_file)


def landed(path: Path, kind: str) -> pa.Table:
    """The table ``kind`` of the landing in ``path``. Raises `StoreError` where it is damaged."""
    try:
        table = pq.ParquetFile(path / f"{kind}.parquet").read()  # `read_table` would import pandas: a second
    except (pa.ArrowInvalid, OSError) as error:
        remedy = f"remove the folder {path} and run the study again: only its cells are trained anew"
        raise StoreError(str(path / f"{kind}.parquet"), "damaged (not readable as Parquet)", remedy) from error
    return table.append_column("landing", words([path.name] * len(table)))


def indexed(root: Path, kind: str, there: Iterable[str]) -> Known:
    """What the index of ``root`` says of the landings ``there``; nothing where there is none, or where it is damaged."""
    try:
        table = pq.ParquetFile(root / "index" / f"{kind}.parquet").read()
    except (pa.ArrowInvalid, OSError):
        return Known()
    there = frozenset(there)
    names = frozenset(pc.unique(table["landing"]).to_pylist())
    if not names <= there:  # somebody has removed a landing: to train its cells again
        table = table.filter(pc.is_in(table["landing"], words(sorted(there))))
    return Known((table,), names & there, len(names & there))


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
        write_atomic(root / "index" / f"{kind}.parquet", lambda path: pq.write_table(table, path))
