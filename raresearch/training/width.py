"""How many members train at a time. Changes no result: a member's arithmetic does not depend on its neighbours."""

from __future__ import annotations

import os

import torch

from raresearch.training.lanes import Lane

#: Working set beyond which more members at a time cost more a member, on a CPU: about half of a last-level cache. Measured
#: (one core, B = 32, products only): 128-128-64-32 takes 77 µs a member and step at M = 8, 111 at 32, 220 at 100.
CACHE = 16 << 20
MOST = 64  # beyond, nothing is gained on a CPU (13-32-16-8-8-1: 11 µs a member and step from M = 32 on)
MOST_ON_GPU = 4096
LIKELY_EPOCHS = 200  # epochs whose scores are planned for where early stopping may end a training sooner


def best_width(member_bytes: int, lane: Lane, memory: int, device: torch.device, asked: int | None) -> int:
    """Members at a time: what fits the caches and the memory, at least 1; ``asked`` is an upper limit of the user's."""
    scores = 4 * (len(lane.events.validation) + len(lane.events.test)) * _epochs(lane)
    fits = max(1, memory // max(1, member_bytes + scores))
    useful = min(MOST, max(1, CACHE // max(1, member_bytes))) if device.type == "cpu" else MOST_ON_GPU
    return max(1, min(fits, useful, asked or useful))


def _epochs(lane: Lane) -> int:
    patient = int(lane.cell.config["train.patience"])  # type: ignore[arg-type]
    return min(lane.cell.epochs, LIKELY_EPOCHS) if patient else lane.cell.epochs


def free_memory() -> int:
    """Bytes of memory that are free on this machine now."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
