"""Any network, trained many at a time: `torch.func.functional_call` under `vmap`, one autograd graph for all members.

Legend: M members, B events of a batch, N events of a split, *S a tensor's shape. Members of one pack share their config
but for the optimiser's settings, so that one call of the experiment's `forward` and `loss` serves them all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

from raresearch.experiment import Batch, Experiment
from raresearch.training.bank import Bank, padded
from raresearch.training.columns import Column, joined
from raresearch.training.lanes import FoldTensors, Lane, SplitName
from raresearch.training.member_ops import MemberOps
from raresearch.training.noise import HashedDropout
from raresearch.training.seeding import torch_seed
from raresearch.types import Array, Config

SCORED = 512  # events scored at once; fixed, since a product's last bits may depend on its number of rows
Tensors = dict[str, torch.Tensor]


class _Forward(nn.Module):
    """The experiment's forward pass as a module, so that `functional_call` can exchange the network's parameters."""

    def __init__(self, model: nn.Module, experiment: Experiment, config: Config) -> None:
        super().__init__()
        self.model, self.experiment, self.config = model, experiment, config

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.experiment.forward(self.model, inputs, self.config)


@dataclass(frozen=True)
class _Slot:
    """Where a parameter lies in a row."""

    name: str
    start: int
    shape: torch.Size

    def view(self, rows: torch.Tensor) -> torch.Tensor:
        """(M, *shape) within ``rows`` (M, P)."""
        return rows[:, self.start : self.start + self.shape.numel()].view(len(rows), *(self.shape or (1,)))


class VmappedStack:
    """Members of the same network, whatever it is; see `raresearch.training.pack.Stack` for what its methods owe."""

    def __init__(self, experiment: Experiment, lanes: Sequence[Lane], models: Sequence[nn.Module], study_seed: int) -> None:
        self.experiment, self.config, self.study_seed = experiment, lanes[0].cell.config, study_seed
        self.size, self.device = lanes[0].batch_size, lanes[0].events.device
        self.forward = _Forward(copy.deepcopy(models[0]), experiment, self.config)
        self.trained = [n for n, p in self.forward.named_parameters() if p.requires_grad]
        self.slots = _slots(self.forward, self.trained)
        self.bank = Bank(self._rows(models), [lane.settings for lane in lanes])
        self.others = self._stacked(models)
        self.lanes: list[Lane] = []
        self.generators: list[torch.Tensor] = []
        self._joined(lanes)

    # -- members come and go

    def add(self, lanes: Sequence[Lane], models: Sequence[nn.Module]) -> None:
        """New members after the others."""
        self.bank.add(self._rows(models), [lane.settings for lane in lanes])
        fresh = self._stacked(models)
        self.others = {n: torch.cat([t, fresh[n]]) for n, t in self.others.items()}
        self._joined(lanes)

    def keep(self, numbers: Sequence[int]) -> None:
        """Forget all members but ``numbers``."""
        self.bank.keep(numbers)
        self.others = {n: t[list(numbers)] for n, t in self.others.items()}
        self.lanes, self.generators = ([each[n] for n in numbers] for each in (self.lanes, self.generators))  # type: ignore[assignment]
        self._ready()

    def _joined(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            torch.manual_seed(torch_seed(lane.cell, self.study_seed, "noise"))
            self.generators.append(torch.random.get_rng_state())
        self.lanes += lanes
        self._ready()

    def _rows(self, models: Sequence[nn.Module]) -> torch.Tensor:
        last = self.slots[-1]
        width = padded(last.start + last.shape.numel())
        rows = torch.zeros(len(models), width, dtype=next(models[0].parameters()).dtype, device=self.device)
        for number, model in enumerate(models):
            state = dict(model.named_parameters(prefix="model"))
            for slot in self.slots:
                slot.view(rows[number : number + 1])[0] = state[slot.name].detach().view(slot.shape or (1,))
        return rows

    def _stacked(self, models: Sequence[nn.Module]) -> Tensors:
        """What is not trained: buffers such as running statistics, and frozen parameters; name → (M, …)."""
        states = [
            {**dict(m.named_parameters(prefix="model", remove_duplicate=False)), **dict(m.named_buffers(prefix="model"))}
            for m in models
        ]
        names = [n for n in states[0] if n not in self.trained]
        return {n: torch.stack([s[n].detach() for s in states]).to(self.device) for n in names}

    def snapshot(self, number: int) -> dict[str, Array]:
        """Parameters and buffers of one member, named as in its own network."""
        row = self.bank.parameters[number : number + 1].detach().cpu().clone()
        found = {slot.name: slot.view(row)[0].view(slot.shape) for slot in self.slots}
        found |= {n: t[number].cpu().clone() for n, t in self.others.items()}
        kept = self.forward.state_dict()
        return {n.removeprefix("model."): found[n].numpy() for n in kept if n in found}

    def state(self, number: int) -> dict[str, torch.Tensor]:
        """What the further epochs of one member depend on besides its lane; copies."""
        others = {f"others/{n}": t[number].clone() for n, t in self.others.items()}
        return {**self.bank.member(number), **others, "generator": self.generators[number].clone()}

    def restore(self, number: int, state: Mapping[str, torch.Tensor]) -> None:
        """Put back what `state` gave."""
        self.bank.restore(number, state)
        for name, stacked in self.others.items():
            stacked[number] = state[f"others/{name}"].to(stacked.device)
        self.generators[number] = state["generator"].clone()

    def _ready(self) -> None:
        self.parameters = {s.name: s.view(self.bank.parameters).detach().requires_grad_() for s in self.slots}
        self.gradients = {s.name: s.view(self.bank.gradients) for s in self.slots}
        self.noise = torch.tensor([lane.noise for lane in self.lanes], dtype=torch.int32, device=self.device)
        folds = list({id(lane.events): lane.events for lane in self.lanes}.values())
        starts = np.r_[0, np.cumsum([len(f.train) for f in folds])]
        self.start = [int(starts[[f is lane.events for f in folds].index(True)]) for lane in self.lanes]
        self.train = _joined_splits(folds)

    # -- training

    def epoch(self) -> list[float]:
        """One pass of every member over its training events in its own new order; the mean training losses."""
        events = len(self.lanes[0].events.train)
        orders = np.stack([lane.next_order() + s for lane, s in zip(self.lanes, self.start, strict=True)])
        total = torch.zeros(len(self.lanes), dtype=self.bank.parameters.dtype, device=self.device)
        self.forward.train()
        for begin in range(0, events, self.size):
            rows = torch.from_numpy(orders[:, begin : begin + self.size]).to(self.device)
            total += self.gradient(self._batch(rows)) * rows.shape[1]
            self.bank.step()
            for lane in self.lanes:
                lane.steps += 1
        return [t / events for t in total.tolist()]

    def gradient(self, batch: Batch) -> torch.Tensor:
        """Every member's gradient of its own batch (M, B, …) into the bank; the losses (M,)."""
        steps = torch.tensor([lane.steps for lane in self.lanes], dtype=torch.int32, device=self.device)
        losses = vmap(self._loss)(self.parameters, self.others, self.noise, steps, batch.inputs, batch.label, batch.weight)
        found = torch.autograd.grad(losses.sum(), list(self.parameters.values()), allow_unused=True)
        with torch.no_grad():
            for name, gradient in zip(self.parameters, found, strict=True):
                if gradient is not None:
                    self.gradients[name].copy_(gradient.view_as(self.gradients[name]))
        return losses.detach()

    def _loss(
        self,
        parameters: Tensors,
        others: Tensors,
        noise: torch.Tensor,
        step: torch.Tensor,
        inputs: Mapping[str, torch.Tensor],
        label: torch.Tensor,
        weight: torch.Tensor,
    ) -> torch.Tensor:
        """One member's loss; `vmap` makes it all members'."""
        with HashedDropout(noise, step):
            output = self._output({**self._shaped(parameters), **others}, inputs)
        with self._member_ops():
            return self.experiment.loss(output, Batch(inputs, label, weight), self.config)

    def _output(self, state: Tensors, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """One member's output."""
        with self._member_ops():
            return functional_call(self.forward, state, (inputs,))  # type: ignore[no-any-return]

    def _member_ops(self) -> AbstractContextManager[object]:
        return MemberOps() if self.device.type == "cpu" else nullcontext()

    def _shaped(self, parameters: Tensors) -> Tensors:
        return {s.name: parameters[s.name].view(s.shape) for s in self.slots}

    def _batch(self, rows: torch.Tensor) -> Batch:
        """The events ``rows`` (M, B) of every member, each augmented from its own stream."""
        inputs = {n: t[rows] for n, t in self.train.inputs.items()}
        if type(self.experiment).augment is not Experiment.augment:
            inputs = self._augmented(inputs)
        return Batch(inputs, self.train.label[rows], self.train.weight[rows])

    def _augmented(self, inputs: Tensors) -> Tensors:
        members = []
        for m in range(len(self.lanes)):
            torch.random.set_rng_state(self.generators[m])
            members.append(self.experiment.augment({n: t[m] for n, t in inputs.items()}, self.config))
            self.generators[m] = torch.random.get_rng_state()
        return {n: torch.stack([each[n] for each in members]) for n in members[0]}

    # -- scoring

    @torch.no_grad()
    def outputs_of(self, split: SplitName, numbers: Sequence[int]) -> list[torch.Tensor]:
        """The networks' outputs (N, …) of members ``numbers`` for every event of a split."""
        self.forward.eval()
        found: dict[int, torch.Tensor] = {}
        for events in {id(self.lanes[n].events): self.lanes[n].events for n in numbers}.values():
            members = [n for n in numbers if self.lanes[n].events is events]
            outputs = self.scored(members, events.split(split).inputs)
            found |= dict(zip(members, outputs, strict=True))
        return [found[n] for n in numbers]

    def scored(self, members: Sequence[int], inputs: Mapping[str, Column]) -> torch.Tensor:
        """Outputs (members, N, …) for events ``inputs``."""
        state = {**{s.name: self.parameters[s.name][list(members)].view(-1, *s.shape) for s in self.slots}}
        state |= {n: t[list(members)] for n, t in self.others.items()}
        parts = []
        for begin in range(0, len(next(iter(inputs.values()))), SCORED):
            chunk = {n: t[begin : begin + SCORED] for n, t in inputs.items()}
            parts.append(vmap(self._output, in_dims=(0, None))(state, chunk))
        return torch.cat(parts, 1) if parts else torch.zeros(len(members), 0, 1)


@dataclass(frozen=True)
class _Joined:
    """Training events of several folds behind one another."""

    inputs: Mapping[str, Column]
    label: torch.Tensor
    weight: torch.Tensor


def _joined_splits(folds: Sequence[FoldTensors]) -> _Joined:
    if len(folds) == 1:
        train = folds[0].train
        return _Joined(train.inputs, train.label, train.weight)
    inputs = {n: joined([f.train.inputs[n] for f in folds]) for n in folds[0].train.inputs}
    return _Joined(inputs, torch.cat([f.train.label for f in folds]), torch.cat([f.train.weight for f in folds]))


def _slots(module: nn.Module, names: Sequence[str]) -> list[_Slot]:
    slots, start, shapes = [], 0, {n: p.shape for n, p in module.named_parameters()}
    for name in names:
        slots.append(_Slot(name, start, shapes[name]))
        start += -(-shapes[name].numel() // 16) * 16  # every parameter starts on a cache line, as it would alone
    return slots
