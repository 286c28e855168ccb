"""Adam as the paper searches it: horizons for β1 and β2, and a learning rate that falls exponentially. Loads torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from raresearch.errors import SpaceError
from raresearch.types import Config


class FallingAdam(torch.optim.Adam):
    """Adam whose rate at step t (from 0) is ``lr`` · exp(-``decay`` · t / ``steps``)."""

    def __init__(self, parameters: Any, lr: float, betas: tuple[float, float], decay: float, steps: int, **more: Any) -> None:
        super().__init__(parameters, lr, betas, fused=True, **more)
        self.first, self.decay, self.taken = lr, decay / steps, 0

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step at the rate of its time."""
        for each in self.param_groups:
            each["lr"] = self.first * math.exp(-self.decay * self.taken)
        self.taken += 1
        loss: float | None = super().step(closure)
        return loss


def falling_adam(parameters: Any, config: Config) -> FallingAdam:
    """The optimiser of ``train.*``. Raises `SpaceError` for values out of range."""
    betas = (_beta("train.beta1_horizon", config), _beta("train.beta2_horizon", config))
    decay, steps = _positive("train.rate_decay", config, 0.0), int(_positive("train.decay_steps", config, 1.0))
    rate, penalty = _positive("train.learning_rate", config, 0.0), _positive("train.weight_decay", config, 0.0)
    return FallingAdam(parameters, rate, betas, decay, steps, weight_decay=penalty)


def _beta(name: str, config: Config) -> float:
    """β = 1 - 1/x: the average reaches back over x steps."""
    return 1.0 - 1.0 / _positive(name, config, 1.0)


def _positive(name: str, config: Config, least: float) -> float:
    value = config[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
        raise SpaceError(f"{name}: {value!r}", f"must be a number from {least:g} up")
    return float(value)
