"""An ensemble as one torch module, from events as they are stored to scores. Only for processes that have torch.

Legend: N events, *S a tensor's shape, M members.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from raresearch.data.transforms import Scaler
from raresearch.deploy.combining import calibrated, combined
from raresearch.deploy.frozen import Frozen, FrozenMember
from raresearch.errors import StoreError
from raresearch.experiment import Experiment
from raresearch.training.seeding import own_randomness
from raresearch.types import Config


class MemberModule(nn.Module):
    """One member: scaling in float64, its network in its own precision, logits (N,) float64 rounded to float32 as in the store."""

    def __init__(self, experiment: Experiment, config: Config, model: nn.Module, scaling: Mapping[str, Scaler]) -> None:
        super().__init__()
        self.experiment, self.config, self.model = experiment, config, model
        self.dtype = torch.float64 if config["train.precision"] == "float64" else torch.float32
        self.scaled = tuple(name for name, scaler in scaling.items() if scaler.kind != "none")
        for number, name in enumerate(self.scaled):
            self.register_buffer(f"shift_{number}", torch.tensor(scaling[name].shift, dtype=torch.float64))
            self.register_buffer(f"scale_{number}", torch.tensor(scaling[name].scale, dtype=torch.float64))

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        ready = {name: self._prepared(name, x) for name, x in inputs.items()}
        output = self.experiment.forward(self.model, ready, self.config)
        return self.experiment.logit(output, self.config).float().double()

    def _prepared(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if name in self.scaled:
            number = self.scaled.index(name)
            wide = (-1,) + (1,) * (x.ndim - 2)  # the first axis after the events is the one that was scaled
            shift, scale = (getattr(self, f"{kind}_{number}").reshape(wide) for kind in ("shift", "scale"))
            x = (x.double() - shift) / scale
        return x.float().to(self.dtype)


class EnsembleModule(nn.Module):
    """All members, their combination and calibration: ``forward`` takes name → (N, *S) and gives scores (N,) float64."""

    def __init__(self, frozen: Frozen) -> None:
        super().__init__()
        self.members = nn.ModuleList([_member(frozen.experiment, m) for m in frozen.members])
        self.combine, self.calibration = frozen.ensemble.combine, frozen.ensemble.calibration
        weights = np.asarray([m.member.weight for m in frozen.members], dtype=np.float64)
        self.register_buffer("weights", torch.tensor(weights / weights.sum()))
        self.n_references = 0
        for number, member in enumerate(frozen.members):
            if member.reference is not None:
                self.register_buffer(f"reference_{number}", torch.tensor(np.sort(member.reference).astype(np.float64)))
                self.n_references = number + 1
        self.eval()

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        logits_MN = torch.stack([member(inputs) for member in self.members])
        references = [getattr(self, f"reference_{number}") for number in range(self.n_references)]
        scores = combined(self.combine, logits_MN, self.weights, references)  # type: ignore[arg-type]
        return scores if self.calibration is None else calibrated(self.calibration, scores)


def _member(experiment: Experiment, member: FrozenMember) -> MemberModule:
    with own_randomness():  # building draws initial parameters, which are overwritten: the caller's generator must not notice
        model = experiment.model(member.config)
    state = {name: torch.tensor(array) for name, array in member.weights.items()}
    dtype = torch.float64 if member.config["train.precision"] == "float64" else torch.float32
    try:
        model.to(dtype=dtype).load_state_dict(state)
    except RuntimeError as error:
        rule = "its weights do not fit the network that the experiment builds now"
        remedy = "use the code that trained it; a changed network needs a new `version`"
        raise StoreError(f"cell {member.member.cell}", rule, remedy) from error
    return MemberModule(experiment, member.config, model.eval(), member.scaling)
