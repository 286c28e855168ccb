"""A mapping applied to columns that were read.

Legend: N rows, F features of a flat tensor.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping as AnyMapping
from pathlib import Path

import numpy as np

from raresearch.data.mapping import ClassRule, Mapping, Source
from raresearch.data.readers.table import Column, Jagged, Table
from raresearch.data.reductions import pad, reduce
from raresearch.errors import DataError, nearest
from raresearch.experiment import Schema, TensorField
from raresearch.types import Array


def count_rows(mapping: Mapping, table: Table, path: Path) -> int:
    """Rows of ``table``. Raises `DataError` with the dotted path of a column that it does not have, and for no rows."""
    known = table.columns()
    for column, place in mapping.columns.items():
        if column not in known:
            raise DataError(f"{place}: {column!r}", f"is not a column of {path.name}", nearest(column, known))
    rows = table.rows(list(mapping.columns))
    if rows == 0:
        raise DataError(str(path), "is empty: it has no rows", "remove it from the list or write it again")
    return rows


def schema_of(mapping: Mapping, table: Table, path: Path) -> Schema:
    """The schema that ``mapping`` makes of ``table``; shapes that it leaves open are those of the first row."""
    count_rows(mapping, table, path)
    return Schema(
        tensors=tuple(_field(n, s, table, path.name) for n, s in mapping.tensors.items()),
        classes=mapping.classes,
        signal=mapping.signal,
        background=mapping.background,
        observers=tuple(mapping.observers),
    )


def _field(tensor: str, source: Source, table: Table, name: str) -> TensorField:
    columns = source.columns if source.stacked else ()
    shape = source.shape
    if shape is None:
        raw = table.read(source.columns, 0, 1)
        shape = tuple(values(source, raw, name).shape[1:])
    return TensorField(tensor, shape, source.dtype, columns)


def values(source: Source, raw: AnyMapping[str, Column], name: str) -> Array:
    """The numbers of one tensor, (N, *shape), as wide as the file has them. Raises `DataError` with the dotted path."""
    if source.stacked:
        return np.stack(
            [_scalars(raw[c], f"{source.place}.columns[{i}]: {c!r}", name) for i, c in enumerate(source.columns)], 1
        )
    column, place = raw[source.columns[0]], f"{source.place}: {source.columns[0]!r}"
    if isinstance(column, Jagged):
        regular = _regular(source, column, place, name)
        return regular.reshape(len(regular), -1)
    if source.pad is not None or source.reduce is not None:
        raise DataError(place, f"is not jagged in {name}", f"remove `{'pad' if source.pad is not None else 'reduce'}`")
    _refuse_text(column, place, name)
    shape = source.shape or column.shape[1:] or (1,)
    if math.prod(shape) != math.prod(column.shape[1:]):
        raise DataError(place, f"has shape {column.shape[1:]} in {name}, which does not make {shape}", "mend `shape`")
    return column.reshape(len(column), *shape)


def observer(source: Source, raw: AnyMapping[str, Column], name: str) -> Array:
    """The numbers of one observer, (N,)."""
    column, place = raw[source.columns[0]], f"{source.place}: {source.columns[0]!r}"
    if isinstance(column, Jagged) and source.reduce is not None:
        return _regular(source, column, place, name)
    if source.reduce is not None:
        raise DataError(place, f"is not jagged in {name}", "remove `reduce`")
    return _scalars(column, place, name)


def _regular(source: Source, lists: Jagged, place: str, name: str) -> Array:
    _refuse_text(lists.values, place, name)
    if source.pad is not None:
        return pad(lists, source.pad, source.fill or 0.0)
    if source.reduce is not None:
        return reduce(lists, source.reduce, source.fill)
    raise DataError(place, f"is jagged in {name}", "add `pad: 4` or `reduce: max`")


def _scalars(column: Column, place: str, name: str) -> Array:
    if isinstance(column, Jagged):
        raise DataError(place, f"is jagged in {name}", "give it a tensor of its own with `pad`, or `reduce` it")
    _refuse_text(column, place, name)
    if column.ndim > 1 and math.prod(column.shape[1:]) != 1:
        raise DataError(
            place, f"has shape {column.shape[1:]} in {name}, must be one number an event", "use `column` for an array"
        )
    return column.reshape(len(column))


def _refuse_text(column: Array, place: str, name: str) -> None:
    if column.dtype.kind not in "biuf":
        raise DataError(place, f"holds {column.dtype} in {name}, not numbers", "choose a numeric column")


def narrow(x: Array, dtype: str, place: str) -> Array:
    """``x`` in the ``dtype`` of its tensor. Raises `DataError` where a finite number does not fit."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = x.astype(dtype)
    whole = np.dtype(dtype).kind != "f"
    wrong = cast.astype(np.float64) != x if whole else ~np.isfinite(cast)
    if wrong.any():
        raise DataError(
            place, f"{int(wrong.sum())} values do not fit {dtype}, such as {x[wrong][0]!s}", "choose another `dtype`"
        )
    return cast


def scalar_weight(mapping: Mapping, raw: AnyMapping[str, Column], n: int, name: str) -> Array:
    """Event weights (N,) float64; 1 without a weight column."""
    if mapping.weight is None:
        return np.ones(n)
    return _scalars(raw[mapping.weight], f"mapping.weight: {mapping.weight!r}", name).astype(np.float64)


def event_ids(mapping: Mapping, raw: AnyMapping[str, Column], first: int, n: int, name: str) -> Array:
    """Event ids (N,) int64 from their column, or the running number from ``first``."""
    if mapping.event_id is None:
        return np.arange(first, first + n, dtype=np.int64)
    place = f"mapping.event_id: {mapping.event_id!r}"
    ids = _scalars(raw[mapping.event_id], place, name)
    limit = 2.0**53 if ids.dtype.kind == "f" else 2.0**63  # above it a float64 no longer tells neighbours apart
    whole = ids.dtype.kind in "iu" or bool(np.all(np.isfinite(ids)) and np.all(ids == np.floor(ids)))
    if ids.dtype.kind == "b" or not whole or (n and float(np.abs(ids.astype(np.float64)).max()) >= limit):
        raise DataError(
            place, f"must hold whole numbers below 2^63 in {name}, has {ids.dtype}", "leave it out to number the rows"
        )
    return ids.astype(np.int64)


def class_numbers(mapping: Mapping, raw: AnyMapping[str, Column], n: int, path: Path) -> Array:
    """Class number of each row, (N,) int64. Raises `DataError` for a value or a file that no class claims."""
    rule = mapping.class_rule
    if rule is None:
        return np.zeros(n, dtype=np.int64)
    if rule.patterns and "file" in raw and path.is_dir():
        return np.asarray([class_of_file(rule, path / str(name)) for name in raw["file"]], dtype=np.int64)  # type: ignore[union-attr]
    if rule.patterns:
        return np.full(n, class_of_file(rule, path), dtype=np.int64)
    column = raw[rule.column]
    place = f"mapping.class.column: {rule.column!r}"
    if isinstance(column, Jagged) or (column.ndim > 1 and math.prod(column.shape[1:]) != 1):
        raise DataError(place, f"holds more than one value an event in {path.name}")
    return _lookup(rule, column.reshape(n), place, path.name)


def _lookup(rule: ClassRule, column: Array, place: str, name: str) -> Array:
    text = column.dtype.kind not in "biuf"
    number = np.full(len(column), -1, dtype=np.int64)
    for value, c in rule.values:
        if not text and isinstance(value, str):
            raise DataError(
                "mapping.class.values", f"{value!r} is text, but {rule.column!r} holds numbers in {name}", "no quotes"
            )
        number[column == (str(value) if text else value)] = c
    unknown = column[number < 0]
    if len(unknown):
        known = ", ".join(str(value) for value, _ in rule.values)
        raise DataError(
            f"{place}: value {unknown[0]!s}", f"has no class ({len(unknown)} rows of {name})", f"`values` lists {known}: add it"
        )
    return number


def class_of_file(rule: ClassRule, path: Path) -> int:
    """The class whose pattern the file's name matches; `DataError` unless there is exactly one."""
    found = {c for pattern, c in rule.patterns if fnmatch.fnmatchcase(path.name, pattern)}
    if len(found) != 1:
        patterns = ", ".join(pattern for pattern, _ in rule.patterns)
        raise DataError(
            "mapping.class.file", f"{path.name} matches {len(found)} classes, must match one", f"patterns: {patterns}"
        )
    return found.pop()
