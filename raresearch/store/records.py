"""What lands: the record of one cell, and its Arrow schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from raresearch.types import Array, Cell, Outcome, Value, canonical, config_id, freeze

CELLS = pa.schema(
    [
        ("cell", pa.string()),
        ("config", pa.string()),
        ("values", pa.string()),  # the config as JSON
        ("fold", pa.int32()),
        ("seed", pa.int32()),
        ("epochs", pa.int32()),
        ("state", pa.string()),
        ("stop_epoch", pa.int32()),
        ("best_epoch", pa.int32()),
        ("best_val_loss", pa.float64()),
        ("seconds", pa.float64()),
        ("memory", pa.float64()),  # bytes; null where it is not known, as in stores from before it was measured
        ("error", pa.string()),
        ("validation_events", pa.string()),
        ("test_events", pa.string()),
        ("scaling", pa.string()),  # the fitted input scaling as JSON
        ("identity", pa.string()),
        ("worker", pa.string()),
        ("pack", pa.string()),  # which cells were handed out together
    ]
)
EPOCH_KEYS = (("cell", pa.string()), ("epoch", pa.int32()))


@dataclass(frozen=True)
class CellRecord:
    """Everything that one training leaves behind.

    ``epochs``: column → (E,) float64, one entry an epoch (``train_loss``, ``val_loss``, ``val_accuracy``, …).
    ``scores``: events name → (epoch numbers (K,), scores (K, N) float32 on the logit scale).
    ``weights``: epoch → parameter name → array. ``memory``: bytes that it took at its peak (`raresearch.training.memory`).
    """

    cell: Cell
    outcome: Outcome
    epochs: Mapping[str, Array] = field(default_factory=dict)
    scores: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    weights: Mapping[int, Mapping[str, Array]] = field(default_factory=dict)
    validation_events: str = ""
    test_events: str = ""
    scaling: str = ""
    worker: str = ""
    pack: str = ""
    memory: float | None = None


def cells_table(records: Sequence[CellRecord]) -> pa.Table:
    rows = [
        {
            "cell": r.cell.key,
            "config": config_id(r.cell.config),
            "values": canonical(dict(r.cell.config)),
            "fold": r.cell.fold,
            "seed": r.cell.seed,
            "epochs": r.cell.epochs,
            "state": r.outcome.state,
            "stop_epoch": r.outcome.stop_epoch,
            "best_epoch": r.outcome.best_epoch,
            "best_val_loss": r.outcome.best_val_loss,
            "seconds": r.outcome.seconds,
            "memory": r.memory,
            "error": r.outcome.error,
            "validation_events": r.validation_events,
            "test_events": r.test_events,
            "scaling": r.scaling,
            "identity": canonical(dict(r.cell.identity)),
            "worker": r.worker,
            "pack": r.pack,
        }
        for r in records
    ]
    return pa.Table.from_pylist(rows, schema=CELLS)


def epochs_table(records: Sequence[CellRecord]) -> pa.Table:
    """One row a (cell, epoch). Columns that a cell lacks are null there."""
    names = sorted({name for r in records for name in r.epochs})
    parts = []
    for record in records:
        n = record.outcome.stop_epoch if not record.epochs else len(next(iter(record.epochs.values())))
        columns = {"cell": pa.array([record.cell.key] * n, pa.string()), "epoch": pa.array(np.arange(1, n + 1, dtype=np.int32))}
        for name in names:
            values = record.epochs.get(name)
            columns[name] = pa.nulls(n, pa.float64()) if values is None else pa.array(np.asarray(values, dtype=np.float64))
        parts.append(pa.table(columns))
    schema = pa.schema([*EPOCH_KEYS, *((name, pa.float64()) for name in names)])
    return pa.concat_tables(parts).cast(schema) if parts else schema.empty_table()


def scores_table(records: Sequence[CellRecord], events: str) -> pa.Table | None:
    """Rows (cell, epoch, scores[N]) of those records that scored ``events``; None where none did."""
    keys: list[str] = []
    epochs: list[Array] = []
    blocks: list[Array] = []
    for record in records:
        if events in record.scores and len(record.scores[events][0]):
            numbers, matrix = record.scores[events]
            keys += [record.cell.key] * len(numbers)
            epochs.append(np.asarray(numbers, dtype=np.int32))
            blocks.append(np.asarray(matrix, dtype=np.float32))
    if not blocks:
        return None
    matrix = np.concatenate(blocks)
    flat = pa.array(matrix.reshape(-1), pa.float32())
    column = pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])
    return pa.table({"cell": pa.array(keys, pa.string()), "epoch": np.concatenate(epochs), "scores": column})


def parse_config(text: str) -> dict[str, Value]:
    """A config from its JSON (lists come back as tuples)."""
    return {name: freeze(value) for name, value in json.loads(text).items()}
