"""One cell trained alone: the loop that every faster one must agree with.

Legend: B events of a batch, N events of a split, E epochs.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from raresearch.data.transforms import Scaler
from raresearch.errors import CellFailure
from raresearch.experiment import Batch, Experiment
from raresearch.store.records import CellRecord
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.optimizers import build_optimizer
from raresearch.training.policy import Keep
from raresearch.training.scaling import fit_scalers, scale
from raresearch.training.seeding import order_generator, own_randomness, torch_seed
from raresearch.types import Array, Cell, Config, Outcome, canonical

CHUNK = 8192  # events scored at once: bounds memory, large enough that Python's share is small

Report = Callable[[Cell, int], None]


@dataclass
class _Tensors:
    """A split on the device."""

    inputs: dict[str, torch.Tensor]
    label: torch.Tensor | None
    weight: torch.Tensor | None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass
class _History:
    """What an ongoing training has recorded so far."""

    epochs: dict[str, list[float]] = field(default_factory=lambda: {"train_loss": [], "val_loss": [], "val_accuracy": []})
    scored: list[int] = field(default_factory=list)
    validation: list[Array] = field(default_factory=list)
    test: list[Array] = field(default_factory=list)
    weights: dict[int, dict[str, Array]] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = math.inf


def train_cell(cell: Cell, experiment: Experiment, data: FoldData, study_seed: int, keep: Keep, report: Report) -> CellRecord:
    """Train ``cell`` to its stop and return its record.

    Raises `CellFailure` where the loss stops being finite. ``report(cell, epoch)`` is called after each epoch.
    """
    started = time.perf_counter()
    config = cell.config
    with own_randomness():
        torch.manual_seed(torch_seed(cell, study_seed, "initialisation"))
        model = experiment.model(config)
        torch.manual_seed(torch_seed(cell, study_seed, "noise"))
        scalers = fit_scalers(str(config["train.scaling"]), data.train)
        train, validation, test = (_tensors(s, scalers) for s in (data.train, data.validation, data.test))
        optimizer = build_optimizer(experiment, model, config)
        rng = order_generator(cell, study_seed)
        history = _History()
        for epoch in range(1, cell.epochs + 1):
            loss = _train_epoch(model, optimizer, experiment, train, config, torch.from_numpy(rng.permutation(len(train))))
            _evaluate(model, experiment, validation, test, config, epoch, loss, history, keep)
            report(cell, epoch)
            if _should_stop(config, epoch, history):
                break
    stop = len(history.epochs["val_loss"])
    outcome = Outcome(cell.key, "done", stop, history.best_epoch, history.best_loss, time.perf_counter() - started)
    return CellRecord(
        cell=cell,
        outcome=outcome,
        epochs={n: np.asarray(v) for n, v in history.epochs.items()},
        scores=_kept_scores(history, data),
        weights=history.weights,
        validation_events=data.validation_events,
        test_events=data.test_events,
        scaling=canonical({n: s.to_json() for n, s in scalers.items()}),
    )


def _tensors(sample: Sample, scalers: Mapping[str, Scaler]) -> _Tensors:
    def tensor(column: Array | None) -> torch.Tensor | None:
        return None if column is None else torch.tensor(np.asarray(column, dtype=np.float32))

    # torch.tensor copies: arrays from Ray's object store are read-only and torch warns about sharing those.
    inputs = {name: torch.tensor(scale(a, scalers.get(name))) for name, a in sample.inputs.items()}
    return _Tensors(inputs, tensor(sample.label), tensor(sample.weight))


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    experiment: Experiment,
    train: _Tensors,
    config: Config,
    order: torch.Tensor,
) -> float:
    assert train.label is not None and train.weight is not None  # noqa: S101 -- FoldData gives training events labels
    model.train()
    size = int(config["train.batch_size"])  # type: ignore[arg-type]
    total = torch.zeros(())
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        inputs = experiment.augment({n: t[rows] for n, t in train.inputs.items()}, config)
        batch = Batch(inputs, train.label[rows], train.weight[rows])
        optimizer.zero_grad(set_to_none=True)
        loss = experiment.loss(experiment.forward(model, inputs, config), batch, config)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach() * len(rows)
    return float(total) / len(order)


@torch.no_grad()
def score(
    model: nn.Module, experiment: Experiment, sample: _Tensors, config: Config
) -> tuple[torch.Tensor, float, float]:
    """Logits (N,), and the mean loss and accuracy over labelled events (NaN where the split is sealed)."""
    model.eval()
    logits, loss, right, weight = [], 0.0, 0.0, 0.0
    for start in range(0, len(sample), CHUNK):
        rows = slice(start, start + CHUNK)
        output = experiment.forward(model, {n: t[rows] for n, t in sample.inputs.items()}, config)
        logit = experiment.logit(output, config)
        logits.append(logit)
        if sample.label is None or sample.weight is None:
            continue
        counted = sample.label[rows] >= 0
        batch = Batch({n: t[rows][counted] for n, t in sample.inputs.items()}, sample.label[rows][counted], sample.weight[rows][counted])
        if len(batch.label):
            share = float(batch.weight.sum())
            loss += float(experiment.loss(output[counted], batch, config)) * share
            right += float((batch.weight * ((logit[counted] > 0) == (batch.label > 0.5))).sum())
            weight += share
    all_logits = torch.cat(logits) if logits else torch.zeros(0)
    return all_logits, *((loss / weight, right / weight) if weight else (math.nan, math.nan))


def _evaluate(
    model: nn.Module,
    experiment: Experiment,
    validation: _Tensors,
    test: _Tensors,
    config: Config,
    epoch: int,
    train_loss: float,
    history: _History,
    keep: Keep,
) -> None:
    logits, loss, accuracy = score(model, experiment, validation, config)
    if not (math.isfinite(train_loss) and math.isfinite(loss) and bool(torch.isfinite(logits).all())):
        raise CellFailure(f"the loss or a score is not finite at epoch {epoch} (training loss {train_loss:.4g})")
    for name, value in (("train_loss", train_loss), ("val_loss", loss), ("val_accuracy", accuracy)):
        history.epochs[name].append(value)
    if loss < history.best_loss:
        history.best_loss, history.best_epoch = loss, epoch
    wanted = keep.epochs(history.epochs)
    _remember(model, history, epoch, keep, wanted)
    if keep.all_scores or epoch in wanted:
        history.scored.append(epoch)
        history.validation.append(logits.numpy())
        history.test.append(score(model, experiment, test, config)[0].numpy())


def _remember(model: nn.Module, history: _History, epoch: int, keep: Keep, wanted: frozenset[int]) -> None:
    if keep.weights and epoch in wanted:
        state = copy.deepcopy(model.state_dict())
        history.weights[epoch] = {n: t.detach().cpu().numpy() for n, t in state.items()}
    for stale in [e for e in history.weights if e not in wanted]:
        del history.weights[stale]
    if not keep.all_scores:
        rows = [i for i, e in enumerate(history.scored) if e in wanted]
        history.scored = [history.scored[i] for i in rows]
        history.validation = [history.validation[i] for i in rows]
        history.test = [history.test[i] for i in rows]


def _should_stop(config: Config, epoch: int, history: _History) -> bool:
    patience = int(config["train.patience"])  # type: ignore[arg-type]
    return patience > 0 and epoch - history.best_epoch >= patience


def _kept_scores(history: _History, data: FoldData) -> dict[str, tuple[Array, Array]]:
    epochs = np.asarray(history.scored, dtype=np.int32)
    kept = {data.validation_events: (epochs, np.stack(history.validation))} if history.scored else {}
    if history.scored and len(data.test):
        kept[data.test_events] = (epochs, np.stack(history.test))
    return kept
