"""Parquet, read by row groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raresearch.data.readers.arrow import column_of
from raresearch.data.readers.table import Column, reading, require


@dataclass(frozen=True)
class ParquetTable:
    path: Path
    names: tuple[str, ...]
    bounds: tuple[int, ...]  # first row of each row group, and the end
    seekable: ClassVar[bool] = True

    def columns(self) -> tuple[str, ...]:
        return self.names

    def rows(self, names: Sequence[str]) -> int:
        require(self.path, names, self.names)
        return self.bounds[-1]

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        require(self.path, names, self.names)
        first = max(int(np.searchsorted(self.bounds, start, side="right")) - 1, 0)
        last = int(np.searchsorted(self.bounds, stop, side="left"))
        with reading(self.path, OSError, pa.ArrowException), pq.ParquetFile(self.path) as file:
            table = file.read_row_groups(range(first, last), columns=list(names))
        table = table.slice(start - self.bounds[first], stop - start)
        return {name: column_of(table[name], self.path, name) for name in names}


def open(path: Path, tree: str | None = None) -> ParquetTable:
    with reading(path, OSError, pa.ArrowException), pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        return ParquetTable(path, tuple(file.schema_arrow.names), tuple(np.cumsum([0, *sizes]).tolist()))
