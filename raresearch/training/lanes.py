"""A cell under way, and the events it trains on. Legend: N events of a split, F features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from raresearch.training.arrays import FoldData
from raresearch.training.batches import epoch_order
from raresearch.training.history import History
from raresearch.training.memory import Peak, unknown
from raresearch.training.optimizers import Settings
from raresearch.training.scaling import fit_scalers
from raresearch.training.scoring import Split, split_tensors
from raresearch.training.seeding import noise_key, order_generator
from raresearch.types import Array, Cell, Config, canonical


def window_of(config: Config) -> int:
    """Events of a window of the shuffle; 0: all."""
    return int(config.get("train.window", 0))  # type: ignore[arg-type]


SplitName = Literal["train", "validation", "test"]


@dataclass(eq=False)
class FoldTensors:
    """One fold's events for the device, scaled. Shared by all cells of the fold."""

    data: FoldData
    train: Split
    validation: Split
    test: Split
    scaling: str
    dtype: torch.dtype
    device: torch.device
    _flat: dict[tuple[SplitName, int, int], torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, data: FoldData, config: Config, device: torch.device) -> FoldTensors:
        """``data`` with the scaling and the precision of ``config``."""
        scalers = fit_scalers(str(config["train.scaling"]), data.train)
        dtype = torch.float64 if config["train.precision"] == "float64" else torch.float32
        train, validation, test = (split_tensors(s, scalers, dtype, device) for s in (data.train, data.validation, data.test))
        return cls(data, train, validation, test, canonical({n: s.to_json() for n, s in scalers.items()}), dtype, device)

    def split(self, name: SplitName) -> Split:
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    def flat(self, name: SplitName, width: int, multiple: int = 1) -> torch.Tensor:
        """The one flat tensor (N, F) of a split, with zeros behind its features up to ``width`` and behind its events up
        to a ``multiple``."""
        slot = (name, width, multiple)
        if slot not in self._flat:
            (column,) = self.split(name).inputs.values()
            x = column[:]
            self._flat[slot] = functional.pad(x, (0, width - x.shape[1], 0, -len(x) % multiple))
        return self._flat[slot]


@dataclass(eq=False)
class Lane:
    """One cell under way. ``steps`` counts optimiser steps, ``seconds`` its share of the worker's time, ``peak`` gives the memory
    that it took (bytes), where it had the worker to itself."""

    cell: Cell
    events: FoldTensors
    order: np.random.Generator
    noise: int
    settings: Settings
    history: History = field(default_factory=History)
    epoch: int = 0
    steps: int = 0
    seconds: float = 0.0
    peak: Peak = unknown

    @classmethod
    def of(cls, cell: Cell, events: FoldTensors, study_seed: int) -> Lane:
        """``cell`` before its first epoch, its random streams at their start."""
        order, noise = order_generator(cell, study_seed), noise_key(cell, study_seed)
        return cls(cell, events, order, noise, Settings.of(cell.config))

    def next_order(self) -> Array:
        """The order (N,) of the training events in the epoch that begins."""
        return epoch_order(self.order, len(self.events.train), window_of(self.cell.config), self.batch_size)

    @property
    def batch_size(self) -> int:
        return int(self.cell.config["train.batch_size"])  # type: ignore[arg-type]

    @property
    def finished(self) -> bool:
        """True where the budget is spent or the patience is at its end."""
        return self.epoch >= self.cell.epochs or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        """True where the validation loss has not been at a new lowest for as many epochs as the config waits."""
        patience = int(self.cell.config["train.patience"])  # type: ignore[arg-type]
        return 0 < patience <= self.history.waited(self.epoch)
