"""Going on in the middle of a training: what decides a member's further epochs, kept in a checkpoint and put back.

That is the network's parameters and buffers, the optimiser's memories, where the random streams are, and what was recorded
so far. All of it is known at the end of an epoch only, so a training goes on from the end of one. What a network keeps
outside of its parameters and buffers is not seen.

A checkpoint is trusted only where `identity` fits: the cell, the trainer's code, torch, the device, the network.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from raresearch.errors import StoreError
from raresearch.store.checkpoints import Checkpoint
from raresearch.training.history import History
from raresearch.training.lanes import Lane
from raresearch.training.optimizers import OPTIMIZER
from raresearch.training.policy import Keep
from raresearch.types import Array, Cell, Value

Tensors = Mapping[str, torch.Tensor]
HELD = 1.0  # seconds between two copies in memory, of which the last is written when a training is interrupted
EVERY = 300.0  # seconds between two checkpoints, where nobody says otherwise


class Shelf(Protocol):
    """Where checkpoints lie; `raresearch.store.checkpoints.Checkpoints` is one."""

    def load(self, key: str) -> Checkpoint | None:
        """The checkpoint of the cell ``key``; None where there is none. Raises `StoreError` where it is damaged."""

    def save(self, key: str, checkpoint: Checkpoint) -> str:
        """Replace the checkpoint of the cell ``key``; why that could not be, "" where it could."""


class NoShelf:
    """Nothing is kept and nothing found."""

    def load(self, key: str) -> Checkpoint | None:
        return None

    def save(self, key: str, checkpoint: Checkpoint) -> str:
        return ""


@dataclass(frozen=True)
class Moment:
    """A cell under way at the end of an epoch. ``network``: its part of the stack that trains it, copied."""

    cell: Cell
    identity: Mapping[str, Value]
    epoch: int
    steps: int
    seconds: float
    order: Mapping[str, Any]
    history: History
    network: Tensors
    own: Mapping[str, Value] = field(default_factory=dict)  # numbers besides

    @classmethod
    def of(cls, lane: Lane, identity: Mapping[str, Value], network: Tensors, own: Mapping[str, Value]) -> Moment:
        """``lane`` as it is now."""
        order = dict(lane.order.bit_generator.state)
        held = {name: t.cpu() for name, t in network.items()}  # a GPU's memory is for training
        return cls(lane.cell, identity, lane.epoch, lane.steps, lane.seconds, order, lane.history.copy(), held, own)

    def checkpoint(self) -> Checkpoint:
        """As it is kept. Raises `TypeError` for a tensor that NumPy cannot hold."""
        about, arrays = self.history.to_parts()
        about |= {name: getattr(self, name) for name in ("epoch", "steps", "seconds", "order")}
        about |= {"identity": dict(self.identity), "own": dict(self.own)}
        return Checkpoint(about, {**arrays, **{f"network/{n}": t.numpy() for n, t in self.network.items()}})


class Member(Protocol):
    """A place in a stack, or a cell that trains alone."""

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Value]]:
        """Copies of all that its further epochs depend on besides the lane: tensors and plain numbers."""

    def restore(self, tensors: Tensors, own: Mapping[str, Value]) -> None:
        """Put back what `state` gave."""


@dataclass
class Resuming:
    """Writes the checkpoints of one worker every ``every`` seconds, and goes on from those that it finds.

    ``note`` hears of a checkpoint that is left aside or cannot be written, once for each reason.
    """

    shelf: Shelf = field(default_factory=NoShelf)
    every: float = EVERY
    note: Callable[[str], None] = lambda text: None
    _moments: Sequence[Moment] = ()
    _written: float = field(default_factory=time.monotonic)
    _held: float = field(default_factory=time.monotonic)
    _said: set[str] = field(default_factory=set)
    _resumed: list[int] = field(default_factory=list)

    @property
    def off(self) -> bool:
        return isinstance(self.shelf, NoShelf)

    def offer(self, moments: Callable[[], Sequence[Moment]]) -> None:
        """The end of an epoch; ``moments`` is called where it is time."""
        now = time.monotonic()
        if self.off or now - max(self._written, self._held) < min(HELD, self.every):
            return
        self._held = now
        try:
            self._moments = moments()
        except TypeError as error:
            self._say(f"no checkpoint of half-trained cells: {error}")
            self._moments = ()
        if now - self._written >= self.every:
            self.write(self._moments)
            self._written, self._moments = time.monotonic(), ()

    @contextmanager
    def kept(self, settled: Callable[[str], bool]) -> Iterator[None]:
        """When the block is left by an exception (a limit, SIGTERM, Ctrl-C), write what was last held of cells that are not
        ``settled``."""
        try:
            yield
        except BaseException:
            self.write([m for m in self._moments if not settled(m.cell.key)])
            raise
        finally:
            self._moments = ()
            if self._resumed:
                self.note(f"half-trained cells that went on after epoch {_span(self._resumed)}: {len(self._resumed)}")
                self._resumed = []

    def write(self, moments: Iterable[Moment]) -> None:
        """Keep ``moments`` as checkpoints of their cells."""
        for moment in moments:
            try:
                why = self.shelf.save(moment.cell.key, moment.checkpoint())
            except TypeError as error:
                why = f"it holds what no checkpoint can ({error})"
            if why:
                self._say(f"no checkpoint of half-trained cells: {why}")

    def resume(self, lane: Lane, member: Member, identity: Mapping[str, Value], shortest: float = float("inf")) -> bool:
        """Bring ``lane`` and ``member``, both before their first epoch, to where the lane's checkpoint is, if one fits.

        ``shortest``: the smallest budget that is still to be read off this training.
        """
        try:
            found = self.shelf.load(lane.cell.key)
            if found is None:
                return False
            _check(found, lane, member, identity, shortest)
            _put_back(found, lane, member)
        except (StoreError, KeyError, TypeError, ValueError, IndexError) as error:
            why = error.rule if isinstance(error, StoreError) else f"ill-formed ({type(error).__name__}: {error})"
            self._say(f"a checkpoint is left aside, its cell is trained from the start: {' '.join(why.split())[:200]}")
            return False
        self._resumed.append(lane.epoch)
        return True

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.note(text)


def identity(lane: Lane, model: nn.Module, keep: Keep, loop: str) -> dict[str, Value]:
    """What a checkpoint must share with a training to be its beginning, bit for bit. ``loop``: which one trains it."""
    shapes = [f"{n} {tuple(t.shape)} {t.dtype}" for n, t in model.state_dict().items()]
    network = hashlib.sha256("\n".join([repr(model), *shapes]).encode()).hexdigest()[:16]
    return {
        "cell": lane.cell.key,
        **machine(lane.events.device),
        "network": network,
        "loop": loop,
        "keep": keep.name,
    }


def machine(device: torch.device) -> dict[str, Value]:
    """What the last bits of any training depend on besides its cell."""
    return {"code": _code(), "torch": torch.__version__, "device": _device(device)}


@functools.cache
def _code() -> str:
    """Digest of the trainer's own code: another order of sums would give other last bits. The experiment's code is named by
    its version, which is in the cell's key."""
    seen = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        seen.update(path.read_bytes())
    return seen.hexdigest()[:16]


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


def _check(found: Checkpoint, lane: Lane, member: Member, mine: Mapping[str, Value], shortest: float) -> None:
    """Raise `StoreError` with the reason why ``found`` is no beginning of this training."""
    theirs = found.about["identity"]
    if differs := [name for name in mine if theirs[name] != mine[name]]:
        raise StoreError("checkpoint", f"of another {' and '.join(differs)}")
    epoch = int(found.about["epoch"])
    if not 0 < epoch < lane.cell.epochs or any(len(v) != epoch for v in found.about["epochs"].values()):
        raise StoreError("checkpoint", "its epochs do not fit the cell")
    if shortest <= epoch:
        raise StoreError("checkpoint", "a smaller budget is to be read off an earlier epoch")
    there = {n.removeprefix("network/"): a for n, a in found.arrays.items() if n.startswith("network/")}
    tensors, own = member.state()
    expected = {n: (tuple(t.shape), str(t.numpy(force=True).dtype)) for n, t in tensors.items()}
    # An optimiser of torch's has no memories before its first step; it looks at what it is given itself.
    present = {n: (a.shape, str(a.dtype)) for n, a in there.items() if not n.startswith(OPTIMIZER)}
    if present != expected or own.keys() != found.about["own"].keys():
        raise StoreError("checkpoint", "of another network")


def _put_back(found: Checkpoint, lane: Lane, member: Member) -> None:
    about = found.about
    history = History.from_parts(about, found.arrays)
    order = np.random.Generator(np.random.PCG64())
    order.bit_generator.state = about["order"]
    steps, seconds = int(about["steps"]), float(about["seconds"])
    arrays: dict[str, Array] = {n.removeprefix("network/"): a for n, a in found.arrays.items() if n.startswith("network/")}
    member.restore({n: torch.from_numpy(a.copy()) for n, a in arrays.items()}, about["own"])
    lane.history, lane.order, lane.epoch, lane.steps, lane.seconds = history, order, int(about["epoch"]), steps, seconds


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
