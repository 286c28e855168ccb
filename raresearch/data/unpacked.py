"""A dataset's tensors as plain NumPy files, which can be mapped and read by row; Parquet's compressed pages cannot.

    <datasets>/unpacked/<fingerprint>/train-image.npy, validation-image.npy, …

Made once for all processes that see the folder, part by part, so that it takes no more memory than a part's batch.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from raresearch.data.columns import tensor_array
from raresearch.data.dataset import Dataset, Events, open_parts, reading
from raresearch.data.landing import disk_errors, landing
from raresearch.data.ondisk import NpyFile, Rows
from raresearch.data.residence import event_bytes, tensor_bytes
from raresearch.data.splits import SPLITS
from raresearch.errors import StoreError
from raresearch.types import Array

FOLDER = "unpacked"
BATCH_BYTES = 1 << 20  # of events on their way from Parquet, whose decoder takes some ten times as much


def on_disk(dataset: Dataset, split: str, *, streamed: bool) -> Events:
    """The events of ``split`` with tensors that stay on disk. Raises `StoreError` as `unpack` does."""
    folder = unpack(dataset)
    tensors = {
        t.name: Rows((NpyFile.open(folder / f"{split}-{t.name}.npy"),), streamed)
        for t in dataset.schema.tensors
        if dataset.size(split)
    }
    bare = dataset.events(split, tensors=False)
    return replace(bare, tensors=tensors) if tensors else dataset.events(split)


def unpack(dataset: Dataset) -> Path:
    """The folder of ``dataset``'s NumPy files, made now if it is not there.

    Raises `StoreError` where the disk has no room for them or refuses to write, and where the dataset is damaged.
    """
    root = dataset.path.parent / FOLDER
    target = root / dataset.fingerprint
    if target.exists():
        return target
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(root, dataset.fingerprint):
        if not target.exists():
            _refuse_full(root, tensor_bytes(dataset.schema, dataset.counts))
            with landing(root, dataset.fingerprint) as folder:
                for split in SPLITS:
                    if dataset.size(split):
                        _write(dataset, split, folder)
    return target


@contextmanager
def _one_at_a_time(root: Path, fingerprint: str) -> Iterator[None]:
    """Many workers of a node ask at the same time: one writes, the others wait and find it written."""
    with disk_errors(root):
        lock = os.open(root / f".lock-{fingerprint}", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _refuse_full(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if needed > free:
        rule = f"has {free / 1e9:.1f} GB free, the events need {needed / 1e9:.1f} GB beside their Parquet files"
        raise StoreError(str(root), rule, "free space, give another --out, or set execution.data: resident")


def _write(dataset: Dataset, split: str, folder: Path) -> None:
    place, schema = dataset.path / split, dataset.schema
    target = _places(dataset.events(split, tensors=False).event_id, dataset.written_order(split))
    with disk_errors(folder.parent):
        files = {
            t.name: np.lib.format.open_memmap(folder / f"{split}-{t.name}.npy", "w+", t.dtype, (dataset.size(split), *t.shape))
            for t in schema.tensors
        }
    start, rows = 0, max(1, BATCH_BYTES // event_bytes(schema))
    for path, part in open_parts(place):
        with reading(path):
            for batch in part.iter_batches(rows, columns=[t.name for t in schema.tensors], use_threads=False):
                where = target[start : start + len(batch)]
                for t in schema.tensors:
                    files[t.name][where] = tensor_array(pa.chunked_array([batch.column(t.name)]), t)
                start += len(batch)
        pa.default_memory_pool().release_unused()  # Arrow keeps what it has freed, part after part
    with disk_errors(folder.parent):
        for file in files.values():
            file.flush()


def _places(ordered: Array, written: Array) -> Array:
    """Where each row as written goes in the order of event ids."""
    return np.searchsorted(ordered, written)
