"""CSV and TSV with a header line. Types are inferred; an empty field is NaN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pyarrow import csv

from raresearch.data.readers.arrow import column_of
from raresearch.data.readers.table import Column, reading, require


@dataclass(frozen=True)
class CsvTable:
    path: Path
    content: pa.Table
    seekable: ClassVar[bool] = False

    def columns(self) -> tuple[str, ...]:
        return tuple(self.content.column_names)

    def rows(self, names: Sequence[str]) -> int:
        require(self.path, names, self.columns())
        return int(self.content.num_rows)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        require(self.path, names, self.columns())
        part = self.content.slice(start, stop - start)
        return {name: column_of(part[name], self.path, name) for name in names}


def open(path: Path, tree: str | None = None) -> CsvTable:
    parse = csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    with reading(path, OSError, pa.ArrowException):
        return CsvTable(path, csv.read_csv(path, parse_options=parse))
