"""Row ranges of files as blocks; one light pass before them fixes the splits.

Legend: N rows of a range.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raresearch.data import extract
from raresearch.data.blocks import Block, finite_rows, refuse_non_finite
from raresearch.data.files import FileSet
from raresearch.data.mapping import Mapping
from raresearch.data.readers import open_table
from raresearch.data.readers.table import Column
from raresearch.data.splits import Fractions, assign_stratified, stratified_thresholds
from raresearch.errors import DataError, Unreadable
from raresearch.experiment import Schema, TensorField
from raresearch.types import Array

BLOCK_BYTES = 32 << 20  # of a block's tensors and observers in memory; files that cannot be read by range are one block

SCANNED = 4096  # rows read at a time where a file is only tried


@dataclass(frozen=True, slots=True)
class Range:
    """Rows ``start`` to ``stop`` of a file; ``first`` is the running number of row ``start`` over all files."""

    path: Path
    start: int
    stop: int
    first: int


@dataclass(frozen=True)
class FileBlocks:
    """Blocks of files; ``thresholds`` (C, 2) split each class exactly."""

    mapping: Mapping
    schema: Schema
    ranges: tuple[Range, ...]
    thresholds: Array
    seed: int
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ranges)

    def make(self, number: int) -> Block:
        where = self.ranges[number]
        table, n, name = (
            open_table(where.path, self.mapping.tree, self.mapping.labels),
            where.stop - where.start,
            where.path.name,
        )
        raw = table.read(list(self.mapping.columns), where.start, where.stop)
        columns = _numbers(self.mapping, raw, n, name)
        keep = _keep(self.mapping, columns, f"{name}: rows from {where.start}")
        ids = extract.event_ids(self.mapping, raw, where.first, n, name)[keep]
        classes = extract.class_numbers(self.mapping, raw, n, where.path)[keep]
        return Block(
            event_id=ids,
            tensors={
                t.name: extract.narrow(_shaped(columns[t.name], t, name)[keep], t.dtype, f"mapping.tensors.{t.name}: {name}")
                for t in self.schema.tensors
            },
            observers={o: columns[o][keep].astype(np.float64) for o in self.schema.observers},
            class_number=classes.astype(np.int8),
            label=self.schema.labels(classes),
            weight=columns["weight"][keep],
            split=assign_stratified(ids, classes, self.thresholds, self.seed),
            dropped=n - int(keep.sum()),
        )


def _shaped(x: Array, field: TensorField, name: str) -> Array:
    if x.shape[1:] != field.shape:
        rule = f"has shape {x.shape[1:]} in {name}, {field.shape} elsewhere"
        raise DataError(f"mapping.tensors.{field.name}", rule, "one dataset has one shape: leave that file out or mend it")
    return x


def plan_file_blocks(
    files: FileSet, mapping: Mapping, schema: Schema, fractions: Fractions, seed: int, skipped: tuple[str, ...] = ()
) -> FileBlocks:
    """Divide ``files`` into ranges, read ids and classes once, and fix the thresholds that split each class exactly.

    With ``missing: drop`` this pass reads every mapped column, since only rows that stay are divided. Raises `DataError` for
    files that do not fit the mapping, files without rows, unknown class values and event ids that occur twice.
    """
    ranges = tuple(_ranges(files, mapping, schema))
    scanned = [_scan(mapping, where) for where in ranges]
    ids, classes = (np.concatenate([s[i] for s in scanned]) for i in (0, 1))
    _refuse_twice(ids, mapping)
    thresholds = stratified_thresholds(ids, classes, len(schema.classes), fractions, seed)
    return FileBlocks(mapping, schema, ranges, thresholds, seed, skipped)


def sound(files: FileSet, mapping: Mapping) -> tuple[FileSet, tuple[str, ...]]:
    """The files that can be read, and the names of the others; all, untried, where the mapping says to refuse.

    Trying reads every mapped column of every file once. Raises `Unreadable` where none is left.
    """
    if mapping.corrupt == "refuse":
        return files, ()
    kept, skipped = [], []
    for path, sha in zip(files.paths, files.sha256, strict=True):
        try:
            _read_through(path, mapping)
            kept.append((path, sha))
        except Unreadable as error:
            skipped.append(path.name)
            if len(skipped) == len(files.paths):
                raise Unreadable(error.place, f"and all of {len(skipped)} files: {error.rule}", "write them again") from error
    return FileSet(tuple(p for p, _ in kept), tuple(s for _, s in kept)), tuple(skipped)


def _read_through(path: Path, mapping: Mapping) -> None:
    table = open_table(path, mapping.tree, mapping.labels)
    rows = extract.count_rows(mapping, table, path)
    step = SCANNED if table.seekable else rows
    for start in range(0, rows, step):
        table.read(list(mapping.columns), start, min(start + step, rows))


def _ranges(files: FileSet, mapping: Mapping, schema: Schema) -> list[Range]:
    size = sum(t.size * np.dtype(t.dtype).itemsize for t in schema.tensors) + 8 * len(schema.observers)
    step, first, ranges = max(BLOCK_BYTES // size, 1), 0, []
    for path in files.paths:
        table = open_table(path, mapping.tree, mapping.labels)
        rows = extract.count_rows(mapping, table, path)
        each = step if table.seekable else rows
        ranges += [Range(path, start, min(start + each, rows), first + start) for start in range(0, rows, each)]
        first += rows
    return ranges


def _scan(mapping: Mapping, where: Range) -> tuple[Array, Array]:
    names = list(mapping.columns)
    if mapping.missing == "refuse":
        light = {mapping.event_id, *([mapping.class_rule.column or "file"] if mapping.class_rule else [])}
        names = [name for name in names if name in light]
    table, n, name = open_table(where.path, mapping.tree, mapping.labels), where.stop - where.start, where.path.name
    raw = table.read(names, where.start, where.stop) if names else {}
    keep: Array = np.ones(n, dtype=bool)
    if mapping.missing == "drop":
        keep = _keep(mapping, _numbers(mapping, raw, n, name), name)
    ids = extract.event_ids(mapping, raw, where.first, n, name)[keep]
    return ids, extract.class_numbers(mapping, raw, n, where.path)[keep]


def _numbers(mapping: Mapping, raw: AnyMapping[str, Column], n: int, name: str) -> dict[str, Array]:
    return {
        **{t: extract.values(source, raw, name) for t, source in mapping.tensors.items()},
        **{o: extract.observer(source, raw, name) for o, source in mapping.observers.items()},
        "weight": extract.scalar_weight(mapping, raw, n, name),
    }


def _keep(mapping: Mapping, columns: dict[str, Array], place: str) -> Array:
    """Which rows stay, (N,) bool; raises where a row is not finite and the mapping does not say to drop it."""
    keep = np.ones(len(columns["weight"]), dtype=bool)
    for name, x in columns.items():
        if mapping.missing == "refuse":
            source = mapping.tensors.get(name)
            refuse_non_finite(name, x, place, _remedy(mapping, name), source.columns if source and source.stacked else ())
        keep &= finite_rows(x)
    return keep


def _remedy(mapping: Mapping, name: str) -> str:
    source = mapping.tensors.get(name) or mapping.observers.get(name)
    if source is not None and source.reduce is not None and source.fill is None:
        return f"empty lists have no {source.reduce}: add `fill: 0.0`, or `missing: drop`"
    return "`missing: drop` leaves such rows out and counts them"


def _refuse_twice(ids: Array, mapping: Mapping) -> None:
    unique, counts = np.unique(ids, return_counts=True)
    twice = unique[counts > 1]
    if len(twice):
        raise DataError(
            f"mapping.event_id: {mapping.event_id!r}",
            f"{len(twice)} ids occur more than once, such as {twice[0]}",
            "leave it out to number the rows",
        )
