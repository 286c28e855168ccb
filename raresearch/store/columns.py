"""Arrow columns made without `pyarrow.array`, whose first call imports pandas where it is installed: half a second of every
command that answers. Only what reading a store needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from raresearch.types import Array

#: Arrow's name of a type → NumPy's
PLAIN = {
    **{name: name for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    "float": "float32",
    "double": "float64",
}


def places(numbers: Array) -> pa.Array:
    """Row numbers (R,) for `Table.take`.

    >>> places(np.array([2, 0])).to_pylist()
    [2, 0]
    """
    held = np.ascontiguousarray(numbers, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(held), [None, pa.py_buffer(held)])


def mask(keep: Array) -> pa.Array:
    """Booleans (R,) for `Table.filter`.

    >>> mask(np.array([True, False, True])).to_pylist()
    [True, False, True]
    """
    bits = np.packbits(np.asarray(keep, dtype=bool), bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(keep), [None, pa.py_buffer(bits)])


def words(texts: Sequence[str]) -> pa.Array:
    """Strings (R,).

    >>> words(["pure", "", "Ξ"]).to_pylist()
    ['pure', '', 'Ξ']
    """
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def unpacked(column: pa.Array | pa.ChunkedArray) -> Array:
    """A column of numbers (R,); without a copy, and without pandas, where it is in one piece and has no nulls (else NaN there)."""
    pieces = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if not len(column) or len(pieces) != 1 or pieces[0].null_count or str(pieces[0].type) not in PLAIN:
        return np.asarray(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy())
    piece = pieces[0]
    dtype = np.dtype(PLAIN[str(piece.type)])
    return np.frombuffer(piece.buffers()[1], dtype, len(piece), piece.offset * dtype.itemsize)
