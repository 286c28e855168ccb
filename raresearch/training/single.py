"""One cell trained alone: the loop that every faster one must agree with, and the one for what cannot be packed.

Legend: B events of a batch, N events of a split.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from raresearch.experiment import Batch, Experiment
from raresearch.store.records import CellRecord
from raresearch.training.arrays import FoldData
from raresearch.training.batches import batches
from raresearch.training.history import State
from raresearch.training.lanes import FoldTensors, Lane, window_of
from raresearch.training.noise import HashedDropout
from raresearch.training.optimizers import build_optimizer, optimizer_state, restore_optimizer
from raresearch.training.policy import Keep
from raresearch.training.scoring import judged, logits_of, outputs_of
from raresearch.training.seeding import generators, own_randomness, restore_generators, torch_seed
from raresearch.types import Cell, Value

Report = Callable[[Cell, int], None]


def train_cell(cell: Cell, experiment: Experiment, data: FoldData, study_seed: int, keep: Keep, report: Report) -> CellRecord:
    """Train ``cell`` to its stop and return its record.

    Raises `CellFailure` where the loss stops being finite. ``report(cell, epoch)`` is called after each epoch.
    """
    with own_randomness():
        lane = Lane.of(cell, FoldTensors.of(data, cell.config, torch.device("cpu")), study_seed)
        training = Alone.begin(lane, experiment, study_seed)
        while not lane.finished:
            training.advance(keep)
            report(cell, lane.epoch)
    return lane.history.record(cell, data, lane.events.scaling, lane.seconds)


@dataclass
class Alone:
    """One network and its optimiser."""

    lane: Lane
    experiment: Experiment
    model: nn.Module
    optimizer: torch.optim.Optimizer

    @classmethod
    def begin(cls, lane: Lane, experiment: Experiment, study_seed: int) -> Self:
        """The network before its first step; torch's generator is then at the start of the cell's noise."""
        model = build_model(lane, experiment, study_seed)
        torch.manual_seed(torch_seed(lane.cell, study_seed, "noise"))
        return cls(lane, experiment, model, build_optimizer(experiment, model, lane.cell.config))

    def advance(self, keep: Keep) -> None:
        """One epoch: train, score validation (and test, blind), record what the policy keeps."""
        started = time.perf_counter()
        lane, config = self.lane, self.lane.cell.config
        train_loss = self._pass()
        lane.epoch += 1
        result = judged(self.experiment, self._outputs("validation"), lane.events.validation, config)
        lane.history.add(
            train_loss,
            result,
            keep,
            snapshot=self._state,
            blind=lambda: logits_of(self.experiment, self._outputs("test"), config),
        )
        lane.seconds += time.perf_counter() - started

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Value]]:
        """All that further epochs depend on besides the lane; copies. Raises `TypeError` where the optimiser keeps what
        cannot be kept."""
        tensors = {f"model/{n}": t.detach().clone() for n, t in self.model.state_dict().items()}
        memories, numbers = optimizer_state(self.optimizer)
        return {**tensors, **memories, **generators(self.lane.events.device)}, numbers

    def restore(self, tensors: Mapping[str, torch.Tensor], own: Mapping[str, Value]) -> None:
        """Put back what `state` gave."""
        self.model.load_state_dict({n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")})
        restore_optimizer(self.optimizer, tensors, own)
        restore_generators(tensors)

    def _outputs(self, split: str) -> torch.Tensor:
        events = self.lane.events.validation if split == "validation" else self.lane.events.test
        return outputs_of(self.model, self.experiment, events, self.lane.cell.config)

    def _state(self) -> State:
        return {n: t.detach().cpu().numpy().copy() for n, t in self.model.state_dict().items()}

    def _pass(self) -> float:
        """One pass over the training events in a new order; the mean training loss."""
        lane, experiment, config = self.lane, self.experiment, self.lane.cell.config
        train, noise = lane.events.train, torch.tensor(lane.noise, dtype=torch.int32, device=lane.events.device)
        order, window = lane.next_order(), window_of(config)
        total = torch.zeros((), dtype=lane.events.dtype, device=lane.events.device)
        self.model.train()
        for rows, stored in batches(train.inputs, order, lane.batch_size, window, lane.events.device):
            inputs = experiment.augment(stored, config)
            batch = Batch(inputs, train.label[rows], train.weight[rows])
            self.optimizer.zero_grad(set_to_none=True)
            with HashedDropout(noise, lane.steps):
                output = experiment.forward(self.model, inputs, config)
            loss = experiment.loss(output, batch, config)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            lane.steps += 1
            total += loss.detach() * len(rows)
        return float(total) / len(order)


def build_model(lane: Lane, experiment: Experiment, study_seed: int) -> nn.Module:
    """The cell's network with its own initial parameters, in its precision, on its device."""
    torch.manual_seed(torch_seed(lane.cell, study_seed, "initialisation"))
    return experiment.model(lane.cell.config).to(lane.events.device, lane.events.dtype)
