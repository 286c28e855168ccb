"""Eq. 1 of the paper: cross-entropy of three classes plus μ times that of signal and background. Loads torch.

Legend: B events; logits are of (fog, C30keV, C100keV).
"""

from __future__ import annotations

import torch
from torch.nn import functional

from raresearch.experiments.newsdm.simulator import C30, FOG


def signal_logit(output: torch.Tensor) -> torch.Tensor:
    """(B,): the logit of p(C30keV) + p(C100keV), from ``output`` (B, 3)."""
    return torch.logsumexp(output[..., C30:], dim=-1) - output[..., FOG]


def species(label: torch.Tensor, beam: torch.Tensor) -> torch.Tensor:
    """(B,) class numbers from ``label`` (B,) 0/1 and ``beam`` (B, 1); of a fog event the beam says nothing and is not used."""
    return torch.where(label > 0.5, C30 + (beam[..., 0] > 0.5).long(), torch.full_like(label, FOG).long())


def mixed_loss(output: torch.Tensor, label: torch.Tensor, beam: torch.Tensor, weight: torch.Tensor, mu: float) -> torch.Tensor:
    """L_multi + μ L_binary, weighted means over the batch (Eq. 2 lacks a minus sign in print)."""
    multi = functional.cross_entropy(output, species(label, beam), reduction="none")
    binary = functional.binary_cross_entropy_with_logits(signal_logit(output), label, reduction="none")
    return ((multi + mu * binary) * weight).sum() / weight.sum()
