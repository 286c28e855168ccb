"""New events in blocks: from files through the readers of `raresearch.data`, or from a dataset's folder. No labels are read.

Legend: N events of a block.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from raresearch.data import extract
from raresearch.data.columns import scalar_array, tensor_array
from raresearch.data.dataset import MANIFEST, Dataset
from raresearch.data.file_blocks import FileBlocks, plan_file_blocks
from raresearch.data.files import FileSet
from raresearch.data.mapping import Mapping, complete
from raresearch.data.readers import open_table
from raresearch.data.splits import SPLITS, Fractions
from raresearch.errors import DataError, StoreError, nearest
from raresearch.experiment import Schema, TensorField
from raresearch.types import Array

#: parts of a mapping that say what an event is; scoring must neither need nor see them
LABELS = ("classes", "signal", "background", "class", "observers", "weight")


@dataclass(frozen=True)
class NewEvents:
    """``event_id`` (N,) int64, ``inputs`` name → (N, *S); ``dropped`` rows are gone already."""

    event_id: Array
    inputs: AnyMapping[str, Array]
    dropped: int = 0


class Source(Protocol):
    """Blocks of events: picklable, each block a pure function of its number."""

    def __len__(self) -> int: ...

    def read(self, number: int) -> NewEvents:
        """Block ``number``; raises `DataError` or `StoreError`."""

    def provenance(self) -> list[dict[str, Any]]:
        """Which files these are."""


def open_source(paths: Sequence[Path | str], mapping: AnyMapping[str, Any] | None, fields: Sequence[TensorField]) -> Source:
    """The events of ``paths``: one dataset's folder (of `ingest`, `simulate` or a study), or files and folders of files.

    ``mapping`` is that of `raresearch ingest`; what it says of classes, observers and weights is ignored, and tensors that
    it leaves out are read by the names they had in training. Raises `DataError` for what does not fit ``fields``.
    """
    datasets = [Path(p) for p in paths if (Path(p) / MANIFEST).is_file()]
    if not datasets:
        return FileSource.of(paths, mapping or {}, fields)
    if len(paths) > 1:
        raise DataError(str(datasets[0]), "is a dataset; a dataset is scored alone", "one call for each: their ids overlap")
    return DatasetSource.of(Dataset.open(datasets[0]), fields)


@dataclass(frozen=True)
class FileSource:
    """Row ranges of files."""

    files: FileSet
    blocks: FileBlocks

    @classmethod
    def of(cls, paths: Sequence[Path | str], mapping: AnyMapping[str, Any], fields: Sequence[TensorField]) -> FileSource:
        unlabelled = Schema(tuple(fields), classes=("events",), signal=(), background=())
        wanted = {key: value for key, value in mapping.items() if key not in LABELS}
        _refuse_unknown(wanted, fields)
        parsed = Mapping.parse(complete(wanted, unlabelled))
        files = FileSet.of(paths, parsed.one_event_a_file)
        first = files.paths[0]
        found = extract.schema_of(parsed, open_table(first, parsed.tree, parsed.labels), first)
        _refuse_other(found.tensors, fields, "mapping.tensors")
        # Fractions and seed divide nothing here: every event of a block is scored, whatever split it would fall into.
        return cls(files, plan_file_blocks(files, parsed, unlabelled, Fractions(), seed=0))

    def __len__(self) -> int:
        return len(self.blocks)

    def read(self, number: int) -> NewEvents:
        block = self.blocks.make(number)
        return NewEvents(block.event_id, block.tensors, block.dropped)

    def provenance(self) -> list[dict[str, Any]]:
        return self.files.to_json()


@dataclass(frozen=True)
class DatasetSource:
    """The part files of a dataset, all splits; of the test split too nothing but tensors is there to be read."""

    fingerprint: str
    fields: tuple[TensorField, ...]
    parts: tuple[Path, ...]

    @classmethod
    def of(cls, dataset: Dataset, fields: Sequence[TensorField]) -> DatasetSource:
        _refuse_other(dataset.schema.tensors, fields, f"{dataset.path}: tensors")
        parts = tuple(p for split in SPLITS for p in sorted((dataset.path / split).glob("part-*.parquet")))
        return cls(dataset.fingerprint, tuple(fields), tuple(p.resolve() for p in parts))

    def __len__(self) -> int:
        return len(self.parts)

    def read(self, number: int) -> NewEvents:
        path = self.parts[number]
        try:
            table = pq.read_table(path, columns=["event_id", *(f.name for f in self.fields)], partitioning=None)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(str(path), "cannot be read, truncated or damaged", "prepare the dataset again") from error
        return NewEvents(scalar_array(table["event_id"]), {f.name: tensor_array(table[f.name], f) for f in self.fields})

    def provenance(self) -> list[dict[str, Any]]:
        return [{"dataset": self.fingerprint}]


def _refuse_unknown(mapping: AnyMapping[str, Any], fields: Sequence[TensorField]) -> None:
    known, tensors = [f.name for f in fields], mapping.get("tensors")
    for name in tensors if isinstance(tensors, AnyMapping) else ():
        if name not in known:
            raise DataError(f"mapping.tensors.{name}", "is not an input of this ensemble", nearest(str(name), known))


def _refuse_other(found: Sequence[TensorField], wanted: Sequence[TensorField], place: str) -> None:
    """Raise `DataError` where the tensors at hand are not those that the networks were trained on."""
    there = {f.name: f for f in found}
    for field in wanted:
        if field.name not in there:
            raise DataError(f"{place}.{field.name}", "is missing", nearest(field.name, there))
        mine = there[field.name]
        if (mine.shape, mine.dtype) != (field.shape, field.dtype):
            rule = f"makes {mine.shape} {mine.dtype}, the ensemble was trained on {field.shape} {field.dtype}"
            raise DataError(f"{place}.{field.name}", rule)
