"""Named random streams of a cell, and torch's generator seeded from them and given back as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch

from raresearch.types import Cell


def order_generator(cell: Cell, study_seed: int) -> np.random.Generator:
    """The stream that shuffles the training events of ``cell``."""
    return np.random.Generator(np.random.PCG64(cell.stream(study_seed, "order")))


def torch_seed(cell: Cell, study_seed: int, purpose: str) -> int:
    """A 63-bit seed for torch: ``purpose`` is "initialisation" or "noise" (augmentation, a network's own draws)."""
    return int(cell.stream(study_seed, purpose).generate_state(1, np.uint64)[0] >> np.uint64(1))


def noise_key(cell: Cell, study_seed: int) -> int:
    """A signed 32-bit key for hashed dropout (see `raresearch.training.noise`)."""
    return int(cell.stream(study_seed, "dropout").generate_state(1, np.uint32).view(np.int32)[0])


def generators(device: torch.device) -> dict[str, torch.Tensor]:
    """Where torch's global generators are: the CPU's, and that of ``device`` where it is a GPU."""
    states = {"generator/cpu": torch.random.get_rng_state()}
    return {**states, "generator/cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def restore_generators(states: Mapping[str, torch.Tensor]) -> None:
    """Put back what `generators` gave."""
    torch.random.set_rng_state(states["generator/cpu"])
    if "generator/cuda" in states:
        torch.cuda.set_rng_state(states["generator/cuda"])


@contextmanager
def own_randomness() -> Iterator[None]:
    """Leave torch's global generator and thread count as they were found.

    One thread: two workers of two threads fight over two cores, and sums in another order change the last bit.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
