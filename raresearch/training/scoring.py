"""Events on the device, and a network's scores of them. Legend: N events of a split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from raresearch.data.transforms import Scaler
from raresearch.experiment import Batch, Experiment
from raresearch.training.arrays import Sample
from raresearch.training.scaling import scale
from raresearch.types import Array, Config

CHUNK = 8192  # events scored at once: bounds memory, large enough that Python's share is small


@dataclass(frozen=True)
class Split:
    """A split on the device. ``label`` and ``weight`` are empty where the split is sealed."""

    inputs: Mapping[str, torch.Tensor]
    label: torch.Tensor
    weight: torch.Tensor
    sealed: bool

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class Scored:
    """Logits (N,) float32; mean loss and accuracy over labelled events, NaN where the split is sealed."""

    logits: Array
    loss: float
    accuracy: float


def split_tensors(sample: Sample, scalers: Mapping[str, Scaler]) -> Split:
    """``sample`` scaled and as tensors. torch.tensor copies: Ray's shared arrays are read-only, which torch warns about."""

    def tensor(column: Array | None) -> torch.Tensor:
        return torch.zeros(0) if column is None else torch.tensor(np.asarray(column, dtype=np.float32))

    inputs = {name: torch.tensor(scale(a, scalers.get(name))) for name, a in sample.inputs.items()}
    return Split(inputs, tensor(sample.label), tensor(sample.weight), sealed=sample.label is None)


@torch.no_grad()
def score(model: nn.Module, experiment: Experiment, split: Split, config: Config) -> Scored:
    """Score every event of ``split``, spectators too; loss and accuracy count labelled events by their weights."""
    model.eval()
    logits: list[torch.Tensor] = []
    loss = right = weight = 0.0
    for start in range(0, len(split), CHUNK):
        rows = slice(start, start + CHUNK)
        inputs = {n: t[rows] for n, t in split.inputs.items()}
        output = experiment.forward(model, inputs, config)
        logit = experiment.logit(output, config)
        logits.append(logit)
        if not split.sealed:
            counted = split.label[rows] >= 0
            batch = Batch({n: t[counted] for n, t in inputs.items()}, split.label[rows][counted], split.weight[rows][counted])
            share = float(batch.weight.sum())
            if share > 0:
                loss += float(experiment.loss(output[counted], batch, config)) * share
                right += float((batch.weight * ((logit[counted] > 0) == (batch.label > 0.5))).sum())
                weight += share
    scores = torch.cat(logits).float().numpy() if logits else np.zeros(0, dtype=np.float32)
    return Scored(scores, loss / weight if weight else math.nan, right / weight if weight else math.nan)
