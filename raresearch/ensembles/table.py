"""The epoch table as a store gives it: rows with their scores at hand, and groups by number rather than by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raresearch.ensembles.base import ScoreSource
from raresearch.store.columns import unpacked
from raresearch.store.store import Store
from raresearch.types import Array, EpochTable


@dataclass(frozen=True)
class StoredEpochs(EpochTable):
    """An `EpochTable` that knows where its rows' validation scores are.

    ``numbers``: an integer for each row of the columns of strings, in the order of the strings; comparing those is fifty
    times faster than comparing the strings.
    """

    scores: ScoreSource | None = None
    numbers: Mapping[str, Array] = field(default_factory=dict)

    def where(self, mask: Array | slice) -> StoredEpochs:
        """The rows where ``mask`` (boolean, row numbers, or a slice) holds."""
        columns = {name: column[mask] for name, column in self.columns.items()}
        return StoredEpochs(columns, self.scores, {name: column[mask] for name, column in self.numbers.items()})

    def groups(self, *names: str) -> Iterator[tuple[tuple[Any, ...], EpochTable]]:
        """See `EpochTable.groups`; rows of a group that stand together are views, not copies."""
        if not len(self):
            return
        group = np.zeros(len(self), dtype=np.int64)
        for name in names:
            number = codes(self, name)
            group = group * (int(number.max()) + 1) + number
        starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
        if len(np.unique(group[starts])) < len(starts):  # rows of a group lie apart
            yield from super().groups(*names)
            return
        for start, stop in zip(starts, np.r_[starts[1:], len(self)], strict=True):
            yield tuple(_plain(self[n][start]) for n in names), self.where(slice(int(start), int(stop)))


def codes(epochs: EpochTable, name: str) -> Array:
    """(R,) numbers of 0 and more that are equal where the column is."""
    if isinstance(epochs, StoredEpochs) and name in epochs.numbers:
        return epochs.numbers[name]
    _, inverse = np.unique(epochs[name], return_inverse=True)
    return np.asarray(inverse, dtype=np.int64)


def epoch_table(store: Store, scores: ScoreSource | None = None, cells: pa.Table | None = None) -> EpochTable:
    """The epochs of every done cell (or of ``cells``, rows of `Store.cells`) as arrays, by (config, fold, seed, epoch).

    With ``scores``, rules that need scores can choose from it.
    """
    table = store.epochs(cells)
    columns, numbers = {}, {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_string(column.type):
            columns[name], numbers[name] = _strings(column)
        else:
            columns[name] = unpacked(column)
    return StoredEpochs(columns, scores, numbers)


def _strings(column: pa.Array) -> tuple[Array, Array]:
    """Strings (R,) and their numbers in sorted order (R,)."""
    encoded = pc.dictionary_encode(column)
    words = np.asarray(encoded.dictionary.to_pylist(), dtype=str)
    order = np.argsort(words)
    rank = np.empty(len(words), dtype=np.int64)
    rank[order] = np.arange(len(words))
    indices = unpacked(encoded.indices)
    return (words[indices] if len(words) else np.asarray([], dtype=str)), rank[indices] if len(words) else indices


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
