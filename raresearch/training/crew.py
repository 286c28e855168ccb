"""Workers that train one cell together, as the loop in `raresearch.training.pieces` sees them. Knows torch, not Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import distributed

from raresearch.errors import StoreError, UserError
from raresearch.store.checkpoints import Checkpoint
from raresearch.training.resume import Shelf


class Lost(BaseException):
    """Another worker of the crew is gone. No `Exception`: a boundary to a user's code must not take it for a cell's result."""


class Crew(Protocol):
    """``size`` workers, a power of two, of which this is number ``rank``. All call the same methods in the same order."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Everybody's ``tensor`` (of one shape and type) in the order of ranks. Raises `Lost`."""


@dataclass(frozen=True)
class Solo:
    """One worker."""

    rank: int = 0
    size: int = 1

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        return [tensor]


@dataclass(frozen=True)
class Joined:
    """The workers of a torch.distributed ``group``, which somebody else has started."""

    rank: int
    size: int
    group: Any

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        try:
            distributed.all_gather(parts, tensor.contiguous(), group=self.group)
        except RuntimeError as error:
            raise Lost(str(error).splitlines()[0]) from error
        return parts


def join(most: int) -> Crew | None:
    """The largest power of two of the workers that torch.distributed has, ``most`` at most; None where this one is left over.

    One alone (Ray Train then starts no group) is a crew too.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return Solo()
    size = 1 << (min(most, distributed.get_world_size()).bit_length() - 1)
    group = distributed.new_group(list(range(size)))
    rank = distributed.get_rank()
    return Joined(rank, size, group) if rank < size else None


def from_first(crew: Crew, content: bytes, device: torch.device) -> bytes:
    """What worker 0 has, for everybody."""
    sizes = crew.gather(torch.tensor([len(content)], device=device))
    padded = torch.zeros(int(sizes[0]), dtype=torch.uint8, device=device)
    if crew.rank == 0:
        padded.copy_(torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy()))
    return bytes(crew.gather(padded)[0].cpu().numpy().tobytes())


def agree(crew: Crew, what: str, device: torch.device) -> None:
    """Raise `UserError` where ``what`` is not the same on all workers: their sums would not be, either."""
    mine = what.encode()
    if crew.size > 1:
        first = from_first(crew, mine, device)
        same = crew.gather(torch.tensor([int(first == mine)], device=device))
        if not all(bool(each) for each in same):
            rule = f"the workers of one cell differ in device, torch or code ({what} here, {first.decode()} on the first)"
            raise UserError("execution.cell_workers", rule, "use machines of one kind, or cell_workers: 1")


@dataclass(frozen=True)
class FirstsShelf:
    """Worker 0 reads and writes checkpoints; all go on from what it has found."""

    shelf: Shelf
    crew: Crew
    device: torch.device

    def load(self, key: str) -> Checkpoint | None:
        content = from_first(self.crew, self._found(key) if self.crew.rank == 0 else b"", self.device)
        return Checkpoint.from_bytes(content) if content else None

    def _found(self, key: str) -> bytes:
        """What worker 0 finds. A damaged one is passed on as such: all must hear of it, or some would wait for the others."""
        try:
            found = self.shelf.load(key)
        except StoreError:
            return b"damaged"
        return found.to_bytes() if found else b""

    def save(self, key: str, checkpoint: Checkpoint) -> str:
        return self.shelf.save(key, checkpoint) if self.crew.rank == 0 else ""
