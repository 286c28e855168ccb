"""Readers of event files, one module for each format, all behind `Table`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from raresearch.data.readers.table import Table
from raresearch.errors import DataError, nearest

#: file suffix → module of this package with ``open(path, tree)``; imported when first used (uproot and h5py are slow to load)
SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".root": "root",
}


def open_table(path: Path, tree: str | None = None, labels: str | None = None) -> Table:
    """Open ``path`` with the reader of its suffix; ``tree`` names the TTree of a ROOT file. A folder is one event a file,
    and ``labels`` a CSV in it.

    Raises `DataError` for an unknown suffix, a missing, empty or truncated file, or a ``tree`` where there are no trees.
    """
    if path.is_dir():
        events: Table = import_module(f"{__name__}.folder").open(path, labels)
        return events
    module = SUFFIXES.get(path.suffix.lower())
    if module is None:
        raise DataError(str(path), f"suffix {path.suffix!r} is not read", nearest(path.suffix, SUFFIXES))
    if not path.is_file():
        raise DataError(str(path), "is not a file", "check the path")
    if path.stat().st_size == 0:
        raise DataError(str(path), "is an empty file", "remove it from the list or write it again")
    if tree is not None and module != "root":
        raise DataError("mapping.tree", f"only ROOT files have trees, {path.name} has none", "remove `tree`")
    table: Table = import_module(f"{__name__}.{module}").open(path, tree)
    return table


def readable(paths: Iterable[Path]) -> list[Path]:
    """The paths whose suffix has a reader, in order."""
    return [p for p in paths if p.suffix.lower() in SUFFIXES]
