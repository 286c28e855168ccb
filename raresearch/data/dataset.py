"""A dataset on disk and its events in memory.

    <root>/<fingerprint>/dataset.json               what, from where, how many
                         train/part-00000.parquet   event_id, tensors, observers, class, label, weight
                         validation/part-…
                         test/part-…                event_id, tensors, observers: no label, no class, no weight
                         sealed/part-…              event_id, class, label, weight of the test events (see `sealed`)

Legend: N events of a split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raresearch.data.columns import scalar_array, tensor_array
from raresearch.data.ondisk import Stored
from raresearch.data.splits import SPLITS
from raresearch.errors import DataError, StoreError, nearest
from raresearch.experiment import Schema
from raresearch.types import Array

FORMAT = 1  # of the layout above; another format is another fingerprint
MANIFEST = "dataset.json"
LABELS = ("class", "label", "weight")


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one split, ordered by ``event_id`` (N,) int64.

    ``tensors``: name → (N, *shape), in memory or on disk (`raresearch.data.ondisk`). ``observers``: name → (N,) float64.
    ``class_number`` (N,) int8, ``label`` (N,) int8 (1 signal, 0 background, -1 spectator) and ``weight`` (N,) float64 are
    None for the test split: they are sealed.
    """

    event_id: Array
    tensors: Mapping[str, Stored]
    observers: Mapping[str, Array]
    class_number: Array | None = None
    label: Array | None = None
    weight: Array | None = None

    def __len__(self) -> int:
        return len(self.event_id)


@dataclass(frozen=True)
class Dataset:
    """A dataset that has landed. ``path`` is its folder, ``meta`` the content of its ``dataset.json``."""

    path: Path
    meta: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Dataset:
        """Open a landed dataset. Raises `StoreError` for anything else, a half-written one among them."""
        path = Path(path)
        manifest = path / MANIFEST
        if path.name.startswith("."):
            raise StoreError(str(path), "is a dataset that was never finished", "prepare it again; the leftover may be deleted")
        try:
            meta = json.loads(manifest.read_text(encoding="utf-8"))
        except OSError as error:
            raise StoreError(
                str(path), f"is not a dataset: no readable {MANIFEST}", "give a folder that `prepare` made"
            ) from error
        except ValueError as error:
            raise StoreError(str(manifest), "is not valid JSON", "delete the folder and prepare it again") from error
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            raise StoreError(str(manifest), f"is not of format {FORMAT}", "prepare it again with this version")
        return cls(path, meta)

    @property
    def schema(self) -> Schema:
        return Schema.from_json(self.meta["schema"])

    @property
    def fingerprint(self) -> str:
        return str(self.meta["fingerprint"])

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Events by split and class: ``counts["train"]["pulsar"]``."""
        counts: Mapping[str, Mapping[str, int]] = self.meta["counts"]
        return counts

    @property
    def left_out(self) -> str:
        """What of the files is not in the dataset, in words; "" where nothing is missing."""
        rows, files = int(self.meta.get("dropped", 0)), list(self.meta.get("skipped", ()))
        parts = [f"{rows} rows that were not finite"] if rows else []
        parts += [f"{len(files)} damaged file(s): {', '.join(files)}"] if files else []
        return "left out: " + "; ".join(parts) if parts else ""

    def size(self, split: str) -> int:
        """Number of events of a split."""
        return sum(self.counts[_known(split)].values())

    def events(self, split: str, *, tensors: bool = True) -> Events:
        """The events of "train", "validation" or "test", ordered by event id; without ``tensors`` all else of them.

        Raises `DataError` for another split, `StoreError` where the dataset is damaged.
        """
        schema = self.schema if tensors else replace(self.schema, tensors=())
        names = ["event_id", *(t.name for t in schema.tensors), *schema.observers]
        if _known(split) != "test":
            names += LABELS
        table = read_parts(self.path / split, names)
        rows = 0 if table is None else len(table)
        if rows != self.size(split):
            raise StoreError(str(self.path / split), f"has {rows} rows of {self.size(split)}", "delete it and prepare it again")
        return _events(table, schema, split) if table is not None else _no_events(schema, split)

    def written_order(self, split: str) -> Array:
        """Event ids (N,) as they lie in the part files behind one another."""
        table = read_parts(self.path / _known(split), ["event_id"])
        return np.empty(0, np.int64) if table is None else scalar_array(table["event_id"])


def _known(split: str) -> str:
    if split not in SPLITS:
        raise DataError(f"split {split!r}", "does not exist", nearest(split, SPLITS))
    return split


def read_parts(folder: Path, names: Sequence[str]) -> pa.Table | None:
    """Columns ``names`` of all part files of ``folder`` in the order of the blocks, or None where there is no part."""
    tables = []
    # File by file: `pyarrow.dataset` would import pandas, a second at the start of every command and worker.
    for path, part in open_parts(folder):
        with reading(path):
            tables.append(part.read(columns=list(names)).select(list(names)))
    return pa.concat_tables(tables) if tables else None


def open_parts(folder: Path) -> Iterator[tuple[Path, pq.ParquetFile]]:
    """The part files of ``folder`` in the order of the blocks; `StoreError` names the one that cannot be opened."""
    for path in sorted(folder.glob("part-*.parquet")):
        with reading(path):
            part = pq.ParquetFile(path, page_checksum_verification=True)
        yield path, part


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What Arrow says of a damaged part file as a `StoreError` that names the file."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        rule = f"cannot be read ({_line(error)})"
        raise StoreError(str(path), rule, f"delete the dataset {path.parent.parent} and prepare it again") from error


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def _events(table: pa.Table, schema: Schema, split: str) -> Events:
    event_id = scalar_array(table["event_id"])
    # Blocks number their events upwards, so most tables are in order already; then nothing is copied again.
    ordered = bool(np.all(event_id[1:] > event_id[:-1]))
    rows: Any = slice(None) if ordered else np.argsort(event_id, kind="stable")
    return Events(
        event_id=event_id[rows],
        tensors={t.name: tensor_array(table[t.name], t)[rows] for t in schema.tensors},
        observers={name: scalar_array(table[name])[rows] for name in schema.observers},
        **{} if split == "test" else _labels(*(scalar_array(table[n])[rows] for n in LABELS)),
    )


def _labels(class_number: Array, label: Array, weight: Array) -> dict[str, Array]:
    return {"class_number": class_number, "label": label, "weight": weight}


def _no_events(schema: Schema, split: str) -> Events:
    return Events(
        event_id=np.empty(0, np.int64),
        tensors={t.name: np.empty((0, *t.shape), t.dtype) for t in schema.tensors},
        observers={name: np.empty(0) for name in schema.observers},
        **{} if split == "test" else _labels(np.empty(0, np.int8), np.empty(0, np.int8), np.empty(0)),
    )
