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
    """Which epochs' scores and weights to keep; ``weights`` None: no weights. ``all_scores``: every epoch's, ``scores`` is moot."""

    scores: KeepRule | None = None
    weights: KeepRule | None = best_so_far
    all_scores: bool = True

    @property
    def name(self) -> str:
        """Which policy it is: what one has dropped another cannot keep."""
        rules = (getattr(rule, "__qualname__", type(rule).__name__) for rule in (self.scores, self.weights))
        return " ".join(["all" if self.all_scores else "some", *rules])

    def wanted_scores(self, epochs: Mapping[str, Sequence[float]]) -> frozenset[int] | None:
        """Epochs whose scores must be kept; None means all."""
        return None if self.all_scores else (self.scores or best_so_far)(epochs)

    def wanted_weights(self, epochs: Mapping[str, Sequence[float]]) -> frozenset[int]:
        """Epochs whose weights must be kept."""
        return self.weights(epochs) if self.weights else frozenset()
