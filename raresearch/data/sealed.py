"""The labels of the test split, under seal.

No other module of `raresearch.data` imports this one; a test holds that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raresearch.data.columns import scalar_array
from raresearch.data.dataset import Dataset, read_parts
from raresearch.errors import StoreError
from raresearch.types import Array

COLUMNS = ("event_id", "class", "label", "weight")


@dataclass(frozen=True, slots=True)
class Labels:
    """Class (N,) int8, label (N,) int8 and weight (N,) float64 of the test events, ordered by event id (N,) int64."""

    event_id: Array
    class_number: Array
    label: Array
    weight: Array


def read_sealed(dataset_path: Path | str) -> Labels:
    """The labels of the test split, in the order of ``Dataset.events("test")``.

    Only `unseal` may call this: once, for a frozen choice, with a line in the ledger. Raises `StoreError` where the dataset
    is damaged.
    """
    dataset = Dataset.open(dataset_path)
    table = read_parts(dataset.path / "sealed", COLUMNS)
    if table is None:
        return Labels(np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.int8), np.empty(0))
    columns = [scalar_array(table[name]) for name in COLUMNS]
    if len(table) != dataset.size("test"):
        raise StoreError(str(dataset.path / "sealed"), f"has {len(table)} rows of {dataset.size('test')}", "prepare it again")
    order = np.argsort(columns[0], kind="stable")
    return Labels(*(column[order] for column in columns))
