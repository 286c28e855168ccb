"""Which way a cell is trained: as a member of a pack of perceptrons, of a pack of any networks, or alone.

The choice depends on the config and the experiment's code only, never on how many cells wait beside it: so a cell trained
in a pack of one or of a hundred runs the same arithmetic, and the store's promise holds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from raresearch.errors import UserError
from raresearch.experiment import Batch, Experiment
from raresearch.training.lanes import Lane, SplitName
from raresearch.training.layers import read_layers
from raresearch.training.mixed import MIXED
from raresearch.training.mlp import MlpStack
from raresearch.training.noise import HashedDropout
from raresearch.training.pieces import in_pieces
from raresearch.training.vmapped import SCORED, VmappedStack
from raresearch.types import Array

#: Bytes that the backward pass keeps of one step, from which on a network with convolutions fills a processor's core by itself. Measured
#: (images of 12 to 75 pixels, one to three convolutions, batches of 20): with 1.9 MiB a pack of four took 0.78 of the time a member,
#: with 1.6 MiB 0.96, with 4.6 MiB 1.35, with 21 MiB 1.9; from 4.6 MiB on a pack of one 1.1 to 1.4 of the time alone.
FILLS_A_CORE = 4 * 2**20


class Stack(Protocol):
    """Networks that train together. Member numbers are places in ``lanes``."""

    lanes: list[Lane]

    def add(self, lanes: Sequence[Lane], models: Sequence[nn.Module]) -> None:
        """New members after the others, before their first step."""

    def keep(self, numbers: Sequence[int]) -> None:
        """Forget all members but ``numbers``, in that order."""

    def epoch(self) -> list[float]:
        """Train every member for one epoch; the mean training losses."""

    def outputs_of(self, split: SplitName, numbers: Sequence[int]) -> list[torch.Tensor]:
        """Outputs (N, …) of members ``numbers`` for every event of a split."""

    def snapshot(self, number: int) -> dict[str, Array]:
        """The parameters of one member as its own network would name them; a copy."""

    def state(self, number: int) -> dict[str, torch.Tensor]:
        """What the further epochs of one member depend on besides its lane; copies."""

    def restore(self, number: int, state: Mapping[str, torch.Tensor]) -> None:
        """Put back what `state` gave, for a member before its first step."""


@dataclass(frozen=True)
class Kernel:
    """``signature``: what cells must share to train together. ``make`` is None where the cell trains alone, ``why`` says why.
    ``member_bytes``: memory that one more member takes while it trains."""

    signature: tuple[Any, ...]
    make: Callable[[Sequence[Lane], Sequence[nn.Module]], Stack] | None
    member_bytes: int
    why: str = ""


def overrides(experiment: Experiment, *names: str) -> list[str]:
    """Those of the methods ``names`` that the experiment defines itself."""
    return [n for n in names if getattr(type(experiment), n) is not getattr(Experiment, n)]


def choose(experiment: Experiment, lane: Lane, model: nn.Module, study_seed: int, known: dict[Any, Kernel]) -> Kernel:
    """The kernel for ``lane``'s cell with its network; ``known`` remembers what was tried."""
    if experiment.optimizer(list(model.parameters()), lane.cell.config) is not None:
        return Kernel(("alone", lane.cell.key), None, 0, "the experiment brings its own optimiser")
    if in_pieces(lane.cell.config):
        return Kernel(
            ("alone", lane.cell.key), None, 0, "its batches are computed in pieces, or in bfloat16, channels-last or compiled"
        )
    common = (lane.batch_size, str(lane.events.dtype))
    layers = read_layers(model)
    flat = len(lane.events.train.inputs) == 1 and next(iter(lane.events.train.inputs.values())).ndim == 2
    if layers and flat and not overrides(experiment, "forward", "loss", "logit", "augment"):
        signature = ("perceptron", *common, *(layer.signature for layer in layers))
        return Kernel(signature, lambda lanes, models: MlpStack(layers, lanes, models), _perceptron_bytes(lane, model))
    shapes = tuple((n, tuple(t.shape)) for n, t in model.state_dict().items())
    config = tuple(sorted((n, v) for n, v in lane.cell.config.items() if n not in MIXED and not n.startswith("data.")))
    signature = ("network", *common, len(lane.events.train), repr(model), shapes, repr(config))
    if signature not in known:
        known[signature] = _tried(experiment, lane, model, study_seed, signature)
    return known[signature]


def _tried(experiment: Experiment, lane: Lane, model: nn.Module, seed: int, signature: tuple[Any, ...]) -> Kernel:
    """Try one step in packs of several sizes: it must run, and leave no trace of the others in a member's last bit."""

    def make(lanes: Sequence[Lane], models: Sequence[nn.Module]) -> Stack:
        return VmappedStack(experiment, lanes, models, seed)

    size = 0
    try:
        if lane.events.device.type == "cpu" and _convolves(model) and (held := _held(experiment, lane, model)) >= FILLS_A_CORE:
            reason = f"one step of its convolutions keeps {held / 2**20:.1f} MiB and fills a core by itself"
            return Kernel(("alone", *signature), None, size, reason)
        others = [_other(model, n) for n in range(2)]
        several = [model, *others, model, others[1], model, others[0]]
        for events in {min(lane.batch_size, len(lane.events.train)), len(lane.events.train) % lane.batch_size} - {0}:
            one, held = _probe(experiment, [lane], [model], seed, events)
            size = max(size, held)
            for members in ([model, others[0]], [others[0], model], several[:3], several):
                found, _ = _probe(experiment, [lane] * len(members), members, seed, events)
                if any(not torch.equal(found[n], one[0]) for n, m in enumerate(members) if m is model):
                    reason = "a member's last bits would depend on the pack (its kernels choose by batch)"
                    return Kernel(("alone", *signature), None, size, reason)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the boundary to a user's network: whatever vmap cannot do with it, it trains alone
        return Kernel(("alone", *signature), None, 0, f"its network cannot be stacked: {type(error).__name__}: {error}"[:300])
    return Kernel(signature, make, size)


def _convolves(model: nn.Module) -> bool:
    return any(isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) for m in model.modules())


def _held(experiment: Experiment, lane: Lane, model: nn.Module) -> int:
    """Bytes that a step of a batch, alone, keeps for its backward pass. ``model`` stays as it is."""
    train, config = lane.events.train, lane.cell.config
    inputs = {n: t[: lane.batch_size] for n, t in train.inputs.items()}
    batch = Batch(inputs, train.label[: lane.batch_size], train.weight[: lane.batch_size])
    network = copy.deepcopy(model).train()
    with _kept() as sizes, HashedDropout(torch.tensor(lane.noise), 0):
        experiment.loss(experiment.forward(network, inputs, config), batch, config)
    return sum(sizes)


@contextmanager
def _kept() -> Iterator[list[int]]:
    """The bytes of each tensor that the block keeps for a backward pass."""
    sizes: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def _probe(
    experiment: Experiment, lanes: Sequence[Lane], models: Sequence[nn.Module], seed: int, events: int
) -> tuple[list[torch.Tensor], int]:
    """Each member's gradient of a batch of ``events`` and its outputs for one odd lot of validation events as one row; the
    bytes that one member's step holds."""
    stack = VmappedStack(experiment, lanes, models, seed)
    train, validation = lanes[0].events.train, lanes[0].events.validation
    wide = {n: t[:events].expand(len(lanes), *t[:events].shape).clone() for n, t in train.inputs.items()}
    batch = Batch(wide, *(t[:events].expand(len(lanes), -1).clone() for t in (train.label, train.weight)))
    stack.forward.train()
    with _kept() as sizes:
        stack.gradient(batch)
    stack.forward.eval()
    lot = len(validation) % SCORED or SCORED
    with torch.no_grad():
        outputs = stack.scored(range(len(lanes)), {n: t[:lot] for n, t in validation.inputs.items()})
    rows = [torch.cat([g, o.reshape(-1)]) for g, o in zip(stack.bank.gradients, outputs, strict=True)]
    row_bytes = stack.bank.parameters.shape[1] * stack.bank.parameters.element_size()
    return rows, sum(sizes) // len(lanes) + 6 * row_bytes


def _other(model: nn.Module, number: int) -> nn.Module:
    """A network of the same shape with other parameters."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.0 + 0.1 * (number + 1))
    return other


def _perceptron_bytes(lane: Lane, model: nn.Module) -> int:
    """Parameters with gradients and two memories; activations and their deltas; a share of the gathered events."""
    parameters = sum(p.numel() for p in model.parameters())
    width = sum(layer.shape[1] for layer in read_layers(model) or ())
    element = torch.empty(0, dtype=lane.events.dtype).element_size()
    return element * (5 * parameters + 3 * lane.batch_size * width)
