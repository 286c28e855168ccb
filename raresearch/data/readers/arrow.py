"""Arrow columns as NumPy arrays or `Jagged`; shared by Parquet and CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raresearch.data.readers.table import Column, Jagged
from raresearch.errors import DataError


def column_of(array: pa.ChunkedArray, place: Path, name: str) -> Column:
    """(N, …) array, or `Jagged` for lists. Nulls become NaN; a null list is an empty one."""
    kind = array.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return _stacked(pa.chunked_array([c.storage for c in array.chunks], kind.storage_type), tuple(kind.shape), place, name)
    if pa.types.is_fixed_size_list(kind):
        return _stacked(array, (kind.list_size,), place, name)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy().astype(np.int64)
        values = column_of(pc.list_flatten(array), place, name)
        if isinstance(values, Jagged) or values.ndim > 1:
            raise DataError(
                f"{place}: column {name!r}", "holds lists of lists", "only one jagged axis can be padded or reduced"
            )
        return Jagged(values, counts)
    return np.asarray(array.to_numpy())


def _stacked(array: pa.ChunkedArray, shape: tuple[int, ...], place: Path, name: str) -> Column:
    if array.null_count:
        raise DataError(f"{place}: column {name!r}", f"{array.null_count} rows have no array", "remove these rows")
    values = column_of(pc.list_flatten(array), place, name)
    if isinstance(values, Jagged):
        raise DataError(f"{place}: column {name!r}", "holds lists inside arrays", "write it as one array a row")
    return values.reshape(len(array), *shape, *values.shape[1:])
