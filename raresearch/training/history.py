"""What an ongoing training has recorded, and the record that it becomes. Legend: E epochs, N events of a split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from raresearch.errors import CellFailure
from raresearch.store.records import CellRecord
from raresearch.training.arrays import FoldData
from raresearch.training.policy import Keep
from raresearch.training.scoring import Scored
from raresearch.types import Array, Cell, Outcome

State = Mapping[str, Array]


@dataclass
class History:
    """The epochs so far, and the scores and weights of those that the policy keeps."""

    epochs: dict[str, list[float]] = field(default_factory=lambda: {"train_loss": [], "val_loss": [], "val_accuracy": []})
    scored: dict[int, tuple[Array, Array]] = field(default_factory=dict)  # epoch → (validation logits, test logits)
    weights: dict[int, State] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = math.inf

    def add(
        self, train_loss: float, result: Scored, keep: Keep, snapshot: Callable[[], State], blind: Callable[[], Array]
    ) -> None:
        """Record the next epoch. ``snapshot`` gives its weights, ``blind`` its test logits; each is called only if kept.

        Raises `CellFailure` where the loss or a score is not finite.
        """
        epoch = len(self.epochs["val_loss"]) + 1
        if not (math.isfinite(train_loss) and math.isfinite(result.loss) and np.isfinite(result.logits).all()):
            raise CellFailure(f"the loss or a score is not finite at epoch {epoch} (training loss {train_loss:.4g})")
        values = {"train_loss": train_loss, "val_loss": result.loss, "val_accuracy": result.accuracy}
        for name, value in values.items():
            self.epochs[name].append(value)
        if result.loss < self.best_loss:
            self.best_loss, self.best_epoch = result.loss, epoch
        weights, scores = keep.wanted_weights(self.epochs), keep.wanted_scores(self.epochs)
        if epoch in weights:
            self.weights[epoch] = snapshot()
        if scores is None or epoch in scores:
            self.scored[epoch] = (result.logits, blind())
        _drop(self.weights, weights)
        if scores is not None:
            _drop(self.scored, scores)

    def waited(self, epoch: int) -> int:
        """Epochs since the validation loss was last at its lowest."""
        return epoch - self.best_epoch

    def record(self, cell: Cell, data: FoldData, scaling: str, seconds: float) -> CellRecord:
        """The record of ``cell``, whose training this was."""
        stop = len(self.epochs["val_loss"])
        return CellRecord(
            cell=cell,
            outcome=Outcome(cell.key, "done", stop, self.best_epoch, self.best_loss, seconds),
            epochs={n: np.asarray(v) for n, v in self.epochs.items()},
            scores=self._scores(data),
            weights=dict(self.weights),  # a copy: a longer budget goes on with this history
            validation_events=data.validation_events,
            test_events=data.test_events,
            scaling=scaling,
        )

    def copy(self) -> History:
        """As it is now. Recorded arrays are shared: nobody writes into them."""
        epochs = {name: list(values) for name, values in self.epochs.items()}
        return replace(self, epochs=epochs, scored=dict(self.scored), weights=dict(self.weights))

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """(plain data, arrays) for a checkpoint."""
        arrays = {f"weights/{epoch}/{name}": a for epoch, state in self.weights.items() for name, a in state.items()}
        if self.scored:
            for number, split in enumerate(("validation", "test")):
                arrays[f"scores/{split}"] = np.stack([pair[number] for pair in self.scored.values()])
        return {"epochs": self.epochs, "scored": list(self.scored)}, arrays

    @classmethod
    def from_parts(cls, about: Mapping[str, Any], arrays: Mapping[str, Array]) -> History:
        """What `to_parts` gave. Raises KeyError, TypeError or ValueError where it is something else."""
        history = cls({name: [float(v) for v in about["epochs"][name]] for name in cls().epochs})
        for row, epoch in enumerate(about["scored"]):
            # Copies: a view of one row would keep all of them in memory, for as long as one is kept.
            history.scored[int(epoch)] = (arrays["scores/validation"][row].copy(), arrays["scores/test"][row].copy())
        for name, array in arrays.items():
            kind, _, rest = name.partition("/")
            if kind == "weights":
                epoch, _, parameter = rest.partition("/")
                history.weights.setdefault(int(epoch), {})[parameter] = array  # type: ignore[index]
        losses = history.epochs["val_loss"]
        history.best_epoch = min(range(len(losses)), key=lambda i: losses[i]) + 1
        history.best_loss = losses[history.best_epoch - 1]
        return history

    def _scores(self, data: FoldData) -> dict[str, tuple[Array, Array]]:
        """Events name → (epochs (K,), logits (K, N)) for the store."""
        if not self.scored:
            return {}
        epochs = np.asarray(sorted(self.scored), dtype=np.int32)
        kept = {data.validation_events: (epochs, np.stack([self.scored[int(e)][0] for e in epochs]))}
        if len(data.test):
            kept[data.test_events] = (epochs, np.stack([self.scored[int(e)][1] for e in epochs]))
        return kept


def _drop(kept: dict[int, Any], wanted: frozenset[int]) -> None:
    """Forget the epochs that no later choice can want."""
    for stale in [e for e in kept if e not in wanted]:
        del kept[stale]
