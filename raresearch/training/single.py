"""One cell trained alone: the loop that every faster one must agree with.

Legend: B events of a batch, N events of a split, E epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from raresearch.errors import CellFailure
from raresearch.experiment import Batch, Experiment
from raresearch.store.records import CellRecord
from raresearch.training.arrays import FoldData
from raresearch.training.optimizers import build_optimizer
from raresearch.training.policy import Keep
from raresearch.training.scaling import fit_scalers
from raresearch.training.scoring import Split, score, split_tensors
from raresearch.training.seeding import order_generator, own_randomness, torch_seed
from raresearch.types import Array, Cell, Outcome, canonical

Report = Callable[[Cell, int], None]


def train_cell(cell: Cell, experiment: Experiment, data: FoldData, study_seed: int, keep: Keep, report: Report) -> CellRecord:
    """Train ``cell`` to its stop and return its record.

    Raises `CellFailure` where the loss stops being finite. ``report(cell, epoch)`` is called after each epoch.
    """
    started = time.perf_counter()
    with own_randomness():
        training = _Training.begin(cell, experiment, data, study_seed)
        history = History()
        for epoch in range(1, cell.epochs + 1):
            training.evaluate(training.epoch(), epoch, history, keep)
            report(cell, epoch)
            if history.waited(epoch) >= training.patience:
                break
    stop = len(history.epochs["val_loss"])
    outcome = Outcome(cell.key, "done", stop, history.best_epoch, history.best_loss, time.perf_counter() - started)
    return CellRecord(
        cell=cell,
        outcome=outcome,
        epochs={n: np.asarray(v) for n, v in history.epochs.items()},
        scores=history.scores(data),
        weights=history.weights,
        validation_events=data.validation_events,
        test_events=data.test_events,
        scaling=training.scaling,
    )


@dataclass
class History:
    """What an ongoing training has recorded so far."""

    epochs: dict[str, list[float]] = field(default_factory=lambda: {"train_loss": [], "val_loss": [], "val_accuracy": []})
    scored: dict[int, tuple[Array, Array]] = field(default_factory=dict)  # epoch → (validation logits, test logits)
    weights: dict[int, dict[str, Array]] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = math.inf

    def record(self, epoch: int, train_loss: float, val_loss: float, val_accuracy: float) -> None:
        for name, value in (("train_loss", train_loss), ("val_loss", val_loss), ("val_accuracy", val_accuracy)):
            self.epochs[name].append(value)
        if val_loss < self.best_loss:
            self.best_loss, self.best_epoch = val_loss, epoch

    def waited(self, epoch: int) -> int:
        """Epochs since the validation loss was last at its lowest."""
        return epoch - self.best_epoch

    def scores(self, data: FoldData) -> dict[str, tuple[Array, Array]]:
        """Events name → (epochs (K,), logits (K, N)) for the store."""
        if not self.scored:
            return {}
        epochs = np.asarray(sorted(self.scored), dtype=np.int32)
        kept = {data.validation_events: (epochs, np.stack([self.scored[int(e)][0] for e in epochs]))}
        if len(data.test):
            kept[data.test_events] = (epochs, np.stack([self.scored[int(e)][1] for e in epochs]))
        return kept


@dataclass
class _Training:
    """One network, its optimiser and its events on the device."""

    cell: Cell
    experiment: Experiment
    model: nn.Module
    optimizer: torch.optim.Optimizer
    train: Split
    validation: Split
    test: Split
    order: np.random.Generator
    scaling: str

    @classmethod
    def begin(cls, cell: Cell, experiment: Experiment, data: FoldData, study_seed: int) -> _Training:
        config = cell.config
        scalers = fit_scalers(str(config["train.scaling"]), data.train)
        train, validation, test = (split_tensors(s, scalers) for s in (data.train, data.validation, data.test))
        torch.manual_seed(torch_seed(cell, study_seed, "initialisation"))
        model = experiment.model(config)
        torch.manual_seed(torch_seed(cell, study_seed, "noise"))
        optimizer = build_optimizer(experiment, model, config)
        order = order_generator(cell, study_seed)
        scaling = canonical({n: s.to_json() for n, s in scalers.items()})
        return cls(cell, experiment, model, optimizer, train, validation, test, order, scaling)

    @property
    def patience(self) -> float:
        """Epochs without a better validation loss before stopping; infinite where early stopping is off."""
        patience = self.cell.config["train.patience"]
        return float(patience) if patience else math.inf  # type: ignore[arg-type]

    def epoch(self) -> float:
        """One pass over the training events in a new order; the mean training loss."""
        config, train, experiment = self.cell.config, self.train, self.experiment
        size = int(config["train.batch_size"])  # type: ignore[arg-type]
        order = torch.from_numpy(self.order.permutation(len(train)))
        total = torch.zeros(())
        self.model.train()
        for rows in torch.split(order, size):
            inputs = experiment.augment({n: t[rows] for n, t in train.inputs.items()}, config)
            batch = Batch(inputs, train.label[rows], train.weight[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss = experiment.loss(experiment.forward(self.model, inputs, config), batch, config)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.detach() * len(rows)
        return float(total) / len(order)

    def evaluate(self, train_loss: float, epoch: int, history: History, keep: Keep) -> None:
        """Score validation (and test, blind) after ``epoch`` and record what the policy keeps."""
        result = score(self.model, self.experiment, self.validation, self.cell.config)
        if not (math.isfinite(train_loss) and math.isfinite(result.loss) and np.isfinite(result.logits).all()):
            raise CellFailure(f"the loss or a score is not finite at epoch {epoch} (training loss {train_loss:.4g})")
        history.record(epoch, train_loss, result.loss, result.accuracy)
        weights, scores = keep.wanted_weights(history.epochs), keep.wanted_scores(history.epochs)
        if epoch in weights:
            history.weights[epoch] = {n: t.detach().cpu().numpy().copy() for n, t in self.model.state_dict().items()}
        if scores is None or epoch in scores:
            blind = score(self.model, self.experiment, self.test, self.cell.config)
            history.scored[epoch] = (result.logits, blind.logits)
        _drop(history.weights, weights)
        if scores is not None:
            _drop(history.scored, scores)


def _drop(kept: dict[int, Any], wanted: frozenset[int]) -> None:
    """Forget the epochs that no later choice can want."""
    for stale in [e for e in kept if e not in wanted]:
        del kept[stale]
