"""From a block to its part files, and what is reported of it."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raresearch.data.blocks import Block, Blocks
from raresearch.data.columns import event_table
from raresearch.data.landing import SCRATCH, disk_errors
from raresearch.data.splits import SPLITS, TEST
from raresearch.experiment import Schema
from raresearch.store.files import persistently

SEALED = "sealed"
FOLDERS = (*SPLITS, SEALED)


@dataclass(frozen=True, slots=True)
class BlockReport:
    """What a block holds: ``counts[split][class]`` and ``labels[split]`` = (background, signal) events."""

    number: int
    counts: list[list[int]]
    labels: list[list[int]]
    dropped: int

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "counts": self.counts, "labels": self.labels, "dropped": self.dropped}


@dataclass(frozen=True)
class BlockWriter:
    """Makes block after block and writes its part files into ``folder``; runs in any process that sees the folder."""

    blocks: Blocks
    folder: Path

    def __len__(self) -> int:
        return len(self.blocks)

    def __call__(self, number: int) -> BlockReport:
        """Raises `DataError` for events that cannot be used, `StoreError` where the disk refuses."""
        block, schema = self.blocks.make(number), self.blocks.schema
        for split, name in enumerate(SPLITS):
            rows = np.flatnonzero(block.split == split)
            if len(rows):
                self._put(event_table(schema, _columns(block, rows, labels=split != TEST)), name, number)
            if len(rows) and split == TEST:
                self._put(event_table(schema, _labels(block, rows)), SEALED, number)
        return _report(block, schema, number)

    def _put(self, table: pa.Table, split: str, number: int) -> None:
        def once() -> None:
            with disk_errors(self.folder.parent):
                _write(table, self.folder, split, number)

        persistently(once)


def make_folders(folder: Path) -> None:
    for name in FOLDERS:
        (folder / name).mkdir()


def _labels(block: Block, rows: np.ndarray[Any, Any]) -> dict[str, Any]:
    columns = {"class": block.class_number, "label": block.label, "weight": block.weight}
    return {"event_id": block.event_id[rows], **{name: x[rows] for name, x in columns.items()}}


def _columns(block: Block, rows: np.ndarray[Any, Any], *, labels: bool) -> dict[str, Any]:
    seen = {"event_id": block.event_id, **block.tensors, **block.observers}
    # The seal begins here: a test part is written without what it must not tell.
    return {**{name: x[rows] for name, x in seen.items()}, **(_labels(block, rows) if labels else {})}


def _write(table: pa.Table, folder: Path, split: str, number: int) -> None:
    # Ray may run a block twice (a lost worker): each attempt writes its own file, and the last rename puts the same bytes.
    scratch = folder / SCRATCH / f"{uuid.uuid4().hex}.parquet"
    # Dictionaries cost time and space on measured numbers; zstd at level 1 is as fast as none and halves sparse images.
    pq.write_table(table, scratch, compression="zstd", compression_level=1, use_dictionary=False, write_page_checksum=True)
    if split == SEALED:
        os.chmod(scratch, 0o400)  # no seal against its owner, but nobody else reads it by accident, nor the owner writes
    os.replace(scratch, folder / split / f"part-{number:05d}.parquet")


def _report(block: Block, schema: Schema, number: int) -> BlockReport:
    n_classes, n_splits = len(schema.classes), len(SPLITS)
    flat = block.split.astype(np.int64) * n_classes + block.class_number
    counts = np.bincount(flat, minlength=n_splits * n_classes).reshape(n_splits, n_classes)
    labels = [[int(((block.split == s) & (block.label == y)).sum()) for y in (0, 1)] for s in range(n_splits)]
    return BlockReport(number, counts.tolist(), labels, block.dropped)


def write_manifest(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
