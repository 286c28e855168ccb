"""Events on the device, and what a network's outputs for them are worth. Legend: N events of a split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from raresearch.data.transforms import Scaler
from raresearch.experiment import Batch, Experiment
from raresearch.training.arrays import Sample
from raresearch.training.columns import Column, Whole, column
from raresearch.types import Array, Config

CHUNK = 8192  # events scored at once: bounds memory, large enough that Python's share is small
CHUNK_BYTES = 1 << 30  # of their inputs as float32
LEAST = 256


@dataclass(frozen=True)
class Split:
    """A split for the device. ``label`` and ``weight`` are empty where the split is sealed."""

    inputs: Mapping[str, Column]
    label: torch.Tensor
    weight: torch.Tensor
    sealed: bool

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @cached_property
    def counted(self) -> torch.Tensor:
        """(N,) bool: the events with a label, which losses and accuracies count."""
        return self.label >= 0

    @cached_property
    def labelled(self) -> Batch:
        """The counted events; an input is read when the loss asks for it."""
        return Batch(Whole(self.inputs, self.counted), self.label[self.counted], self.weight[self.counted])


@dataclass(frozen=True)
class Scored:
    """Logits (N,) float32; mean loss and accuracy over labelled events, NaN where the split is sealed."""

    logits: Array
    loss: float
    accuracy: float


def split_tensors(sample: Sample, scalers: Mapping[str, Scaler], dtype: torch.dtype, device: torch.device) -> Split:
    """``sample`` as columns that give scaled rows; labels and weights as tensors."""

    def tensor(column: Array | None) -> torch.Tensor:
        return torch.zeros(0) if column is None else torch.tensor(np.asarray(column, dtype=np.float64), dtype=dtype)

    inputs = {name: column(a, scalers.get(name), dtype, device) for name, a in sample.inputs.items()}
    return Split(inputs, tensor(sample.label).to(device), tensor(sample.weight).to(device), sealed=sample.label is None)


@torch.no_grad()
def outputs_of(model: nn.Module, experiment: Experiment, split: Split, config: Config) -> torch.Tensor:
    """The network's outputs (N, …) for every event of ``split``, spectators too."""
    model.eval()
    lot = _lot(split)
    parts = [
        experiment.forward(model, {n: t[start : start + lot] for n, t in split.inputs.items()}, config)
        for start in range(0, len(split), lot)
    ]
    return torch.cat(parts) if parts else torch.zeros((0, 1))


def _lot(split: Split) -> int:
    """Events scored at once: `CHUNK`, fewer where these would be too large. Where the events lie does not matter to it, since
    a product's last bits may depend on its number of rows."""
    row = 4 * sum(t.shape[1:].numel() for t in split.inputs.values())
    lot = CHUNK
    while lot > LEAST and lot * row > CHUNK_BYTES:
        lot //= 2
    return lot


def logits_of(experiment: Experiment, output: torch.Tensor, config: Config) -> Array:
    """Scores (N,) float32 on the logit scale."""
    # A copy: a view of one member would keep all members' scores in memory.
    logits: Array = experiment.logit(output, config).float().cpu().numpy().copy()
    return logits


@torch.no_grad()
def judged(experiment: Experiment, output: torch.Tensor, split: Split, config: Config) -> Scored:
    """What outputs (N, …) are worth; loss and accuracy count labelled events by their weights."""
    logits = logits_of(experiment, output, config)
    if split.sealed or not len(split.labelled.label):
        return Scored(logits, math.nan, math.nan)
    batch, mine = split.labelled, output[split.counted]
    loss = float(experiment.loss(mine, batch, config))
    right = (experiment.logit(mine, config) > 0) == (batch.label > 0.5)
    return Scored(logits, loss, float((batch.weight * right).sum() / batch.weight.sum()))
