"""The labels of the test split, under seal.

No other module of `raresearch.data` imports this one, and of the package only the unsealing of a choice does; a test holds
both. In a study's folder `read_sealed` refuses while the ledger is empty, so that no call, by mistake or for convenience,
reads labels without a line that says so.

What the seal is not: encryption. ``sealed/`` holds plain Parquet files, and whoever has a shell and may read the folder can
read them; for simulated events anybody can also run the simulator again with the study's seed. It protects against
accidents and against code paths (a search, a rule, a network, a plot that would have used a label because it was there),
not against malice. Where that matters, keep the folder ``sealed`` with somebody else until the choice is frozen: nothing
but `unseal` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raresearch.data.columns import scalar_array
from raresearch.data.dataset import Dataset, read_parts
from raresearch.errors import SealError, StoreError
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

    Only `unseal` may call this: once, for a frozen choice, with a line in the ledger. Raises `SealError` where the dataset
    is a study's and its ledger is empty, `StoreError` where the dataset is damaged or its labels are of other events.
    """
    dataset = Dataset.open(dataset_path)
    _refuse_unrecorded(dataset.path)
    place = dataset.path / "sealed"
    table = read_parts(place, COLUMNS)
    if table is None and dataset.size("test"):
        raise StoreError(str(place), "the sealed labels are not there", "put the folder `sealed` back where it was")
    if table is None:
        return Labels(np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.int8), np.empty(0))
    columns = [scalar_array(table[name]) for name in COLUMNS]
    if len(table) != dataset.size("test"):
        raise StoreError(str(place), f"has {len(table)} rows of {dataset.size('test')}", "prepare it again")
    order = np.argsort(columns[0], kind="stable")
    labels = Labels(*(column[order] for column in columns))
    _refuse_other_events(labels, dataset)
    return labels


def _refuse_unrecorded(path: Path) -> None:
    from raresearch.store.ledger import read_ledger

    study = path.resolve().parent.parent
    if (study / "study.json").is_file() and not read_ledger(study):
        raise SealError(
            str(path / "sealed"), "nobody has opened it yet", "freeze a choice and `raresearch unseal` it: that is recorded"
        )


def _refuse_other_events(labels: Labels, dataset: Dataset) -> None:
    """A label must never meet another event's score: after a folder was moved about, ids say so and row numbers do not."""
    events = read_parts(dataset.path / "test", ["event_id"])
    ids = np.empty(0, np.int64) if events is None else np.sort(scalar_array(events["event_id"]))
    if not np.array_equal(ids, labels.event_id):
        raise StoreError(str(dataset.path / "sealed"), "its event ids are not those of the test events", "prepare it again")
