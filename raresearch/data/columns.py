"""NumPy arrays ↔ Arrow columns. A tensor is stored as Arrow's own fixed-shape tensor, which other programs read too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from raresearch.errors import DataError, nearest
from raresearch.experiment import Schema, TensorField
from raresearch.types import Array

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)


def check_schema(schema: Schema) -> None:
    """Raise `DataError` where a tensor's shape or dtype cannot be stored."""
    for field in schema.tensors:
        if field.dtype not in DTYPES:
            raise DataError(
                f"schema: tensor {field.name!r}: dtype {field.dtype!r}", "is not known", nearest(field.dtype, DTYPES)
            )
        if not field.shape or any(size < 1 for size in field.shape):
            raise DataError(f"schema: tensor {field.name!r}", f"shape {field.shape} has no entries", "a single number is (1,)")
        if field.columns and field.shape != (len(field.columns),):
            raise DataError(f"schema: tensor {field.name!r}", f"{len(field.columns)} columns do not make shape {field.shape}")
    if not 1 <= len(schema.classes) <= 127:
        raise DataError("schema", f"has {len(schema.classes)} classes, must have 1 to 127")
    if not schema.tensors:
        raise DataError("schema", "has no tensor", "a network needs at least one")


def tensor_column(x: Array) -> pa.Array:
    """(N, *shape) → Arrow fixed-shape tensors. Arrow's tensors hold no booleans: these lie as uint8."""
    stored = x.view(np.uint8) if x.dtype == bool else x
    flat = pa.array(np.ascontiguousarray(stored).reshape(-1))
    storage = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(x.shape[1:])))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, x.shape[1:]), storage)


def tensor_array(column: pa.ChunkedArray, field: TensorField) -> Array:
    """Arrow fixed-shape tensors → (N, *shape) in the dtype of ``field``; one copy."""
    out = np.empty((len(column), *field.shape), dtype=np.uint8 if field.dtype == "bool" else field.dtype)
    start = 0
    for chunk in column.chunks:
        out[start : start + len(chunk)] = chunk.storage.flatten().to_numpy().reshape(-1, *field.shape)
        start += len(chunk)
    return out.view(np.bool_) if field.dtype == "bool" else out


def scalar_array(column: pa.ChunkedArray) -> Array:
    """(N,) copy: Arrow's own memory is read-only, which torch refuses to share."""
    return np.array(column.to_numpy())


def event_table(schema: Schema, columns: dict[str, Array]) -> pa.Table:
    """Arrow table of ``columns`` by name, tensors as fixed-shape tensors, in the order given."""
    tensors = {t.name for t in schema.tensors}
    arrays: dict[str, Any] = {n: tensor_column(x) if n in tensors else pa.array(x) for n, x in columns.items()}
    return pa.table(arrays)
