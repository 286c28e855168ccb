"""Retention: which scores and weights of a cell outlive its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: (columns of the cell's epochs so far) → epoch numbers that a later choice may still need
KeepRule = Callable[[Mapping[str, Sequence[float]]], frozenset[int]]


def best_so_far(epochs: Mapping[str, Sequence[float]]) -> frozenset[int]:
    """The epoch of the lowest validation loss; the first where several tie."""
    losses = epochs["val_loss"]
    return frozenset({min(range(len(losses)), key=lambda i: losses[i]) + 1}) if losses else frozenset()


@dataclass(frozen=True)
class Keep:
    """``all_scores``: every epoch's scores, or only those of ``epochs``. ``weights``: keep parameters of ``epochs`` at all."""

    all_scores: bool = True
    weights: bool = True
    epochs: KeepRule = best_so_far
