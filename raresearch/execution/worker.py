"""What a worker does with a pack: lease, train, land, for one cell after another."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

from raresearch.errors import CellFailure, UserError
from raresearch.experiment import Experiment
from raresearch.store.lease import lease
from raresearch.store.records import CellRecord
from raresearch.store.store import Store
from raresearch.training.arrays import FoldData, Loaded, fold_data
from raresearch.training.policy import Keep
from raresearch.types import Cell, Outcome, Pack

Report: TypeAlias = Callable[[Cell, int], None]


class DataHandles(Protocol):
    """How a worker gets at a dataset: from disk, or from Ray's object store."""

    def load(self, fingerprint: str) -> Loaded:
        """The events of the dataset with ``fingerprint``; may keep them for the next call."""


@dataclass(frozen=True)
class WorkContext:
    """All that a worker needs besides the pack. Test labels are not in it, nor any path to them that it follows."""

    store: Path
    experiment: Experiment
    data: DataHandles
    study_seed: int
    folds: int
    keep: Keep


def run_pack(context: WorkContext, pack: Pack, report: Report) -> list[Outcome]:
    """Train what of ``pack`` has not landed yet, land it, and say what became of every cell, in the pack's order."""
    store = Store(context.store)
    return [_one(context, store, cell, report) for cell in pack.cells]


def _one(context: WorkContext, store: Store, cell: Cell, report: Report) -> Outcome:
    with lease(context.store / "leases.lock", cell.key, lambda: store.landed(cell.key)) as ours:
        if not ours:
            return store.outcomes()[cell.key]
        record = replace(_train(context, cell, report), worker=f"{socket.gethostname()}:{os.getpid()}")
        store.land([record])
        return record.outcome


def _train(context: WorkContext, cell: Cell, report: Report) -> CellRecord:
    # Imported here: a driver that only hands packs to Ray would wait seconds for torch and never use it.
    from raresearch.training.single import train_cell

    try:
        data = _fold_data(context, cell)
        return train_cell(cell, context.experiment, data, context.study_seed, context.keep, report)
    except CellFailure as error:
        return _failed(cell, str(error))
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the boundary to a user's code: whatever it raises is this cell's result, not the study's end
        last = traceback.extract_tb(error.__traceback__)[-1]
        return _failed(cell, f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})")


def _failed(cell: Cell, reason: str) -> CellRecord:
    return CellRecord(cell, Outcome(cell.key, "failed", error=" ".join(reason.split())[:500]))


def _fold_data(context: WorkContext, cell: Cell) -> FoldData:
    loaded = context.data.load(str(cell.identity["data"]))
    return fold_data(loaded, cell.fold, context.folds, context.study_seed)
