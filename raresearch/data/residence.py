"""Where a dataset's tensors are while networks train on them: in memory, mapped from disk, or streamed from it.

It changes no result: which event comes when is the study's (`train.window`), and a batch holds the same numbers wherever they
came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from raresearch.data.splits import SPLITS
from raresearch.experiment import Schema

Kind: TypeAlias = Literal["resident", "mapped", "streamed"]
GIB = 2**30
_GROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Residence:
    """``asked``: a kind, or `auto`. ``memory``: bytes of memory that a node gives to events; None: half of what it has.

    `auto` keeps events in memory up to half of that, which leaves room for the copies that folds make; maps them up to all of
    it, so that the system can hold their pages; streams what is larger.
    """

    asked: Kind | Literal["auto"] = "auto"
    memory: int | None = None

    @property
    def limit(self) -> int:
        return node_memory() // 2 if self.memory is None else self.memory

    def of(self, size: int) -> Kind:
        """The kind for tensors of ``size`` bytes."""
        if self.asked != "auto":
            return self.asked
        if 2 * size <= self.limit:
            return "resident"
        return "mapped" if size <= self.limit else "streamed"


def node_memory() -> int:
    """Bytes of memory of this machine, or of the control group that this process is held in."""
    all_of_it = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        text = _GROUP.read_text().strip()
    except OSError:
        return all_of_it
    return min(all_of_it, int(text)) if text.isdigit() else all_of_it


def event_bytes(schema: Schema) -> int:
    """Bytes of an event's tensors as they are stored."""
    return sum(t.size * np.dtype(t.dtype).itemsize for t in schema.tensors)


def tensor_bytes(schema: Schema, counts: Mapping[str, Mapping[str, int]]) -> int:
    """Bytes of all splits' tensors; ``counts`` as in `Dataset.counts`."""
    return event_bytes(schema) * sum(sum(counts[split].values()) for split in SPLITS)
