"""From a selection rule to what a worker may drop while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raresearch.ensembles.base import SelectionRule
from raresearch.types import EpochTable


@dataclass(frozen=True)
class KeptByRule:
    """The epochs that ``rule`` may still choose; a `raresearch.training.policy.KeepRule` that travels to workers."""

    rule: SelectionRule

    def __call__(self, epochs: Mapping[str, Sequence[float]]) -> frozenset[int]:
        n = len(epochs["val_loss"])
        same = np.zeros(n, dtype=np.int32)
        columns = {name: np.asarray(values, dtype=np.float64) for name, values in epochs.items()}
        table = EpochTable({"cell": same.astype(str), "epoch": np.arange(1, n + 1, dtype=np.int32), **columns})
        return frozenset(self.rule.keep(table))
