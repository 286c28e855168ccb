"""The trainer's own optimisers, by name."""

from __future__ import annotations

import torch
from torch import nn

from raresearch.errors import SpecError, nearest
from raresearch.experiment import Experiment
from raresearch.types import Config

NAMES = ("adam", "adamw", "rmsprop", "sgd")


def build_optimizer(experiment: Experiment, model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """The experiment's own optimiser, or the one that `train.optimizer` names; `SpecError` for an unknown name."""
    parameters = list(model.parameters())
    own = experiment.optimizer(parameters, config)
    if own is not None:
        return own
    rate, decay = float(config["train.learning_rate"]), float(config["train.weight_decay"])  # type: ignore[arg-type]
    beta1, beta2 = float(config["train.beta1"]), float(config["train.beta2"])  # type: ignore[arg-type]
    name = config["train.optimizer"]
    # fused: one kernel for all parameters; measured 1.6x on the whole step of a 13-32-16-8-8-1 network on one core
    if name == "adam":
        return torch.optim.Adam(parameters, rate, (beta1, beta2), weight_decay=decay, fused=True)
    if name == "adamw":
        return torch.optim.AdamW(parameters, rate, (beta1, beta2), weight_decay=decay, fused=True)
    if name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=beta1, weight_decay=decay)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, momentum=beta1, weight_decay=decay)
    raise SpecError("train.optimizer", f"{name!r} is not an optimiser", nearest(str(name), NAMES))
