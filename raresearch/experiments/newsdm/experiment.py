"""NEWSdm: carbon recoils against fog in nuclear emulsion, by eight pictures in polarised light.

After "Deep Learning for direct Dark Matter search with nuclear emulsions" (Golovatiuk, Ustyuzhanin, Alexandrov, De Lellis;
Comput. Phys. Commun. 275 (2022), arXiv:2106.11995).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from raresearch.experiment import Batch, Experiment, Findings, ReadOut, Schema, TensorField
from raresearch.experiments import constants
from raresearch.experiments.newsdm import simulator
from raresearch.experiments.newsdm.optics import PIXELS
from raresearch.experiments.newsdm.plasmon import FRAMES
from raresearch.types import Array, Config, Value

if TYPE_CHECKING:
    import torch
    from torch import nn

_SCORED = 64  # events through the network at once where it only scores: the feature maps of 64 fill some caches, not memory


class NEWSdm(Experiment):
    """Frames at eight polarisations, NEWSnet, and its mixed loss of three classes and two."""

    name: ClassVar[str] = "newsdm"
    version: ClassVar[str] = "1"
    defaults: ClassVar[Mapping[str, Value]] = {
        "data.preset": "default",
        "data.fraction_fog": 0.4,
        "data.fraction_c100": 0.5,
        "data.orientations": (0.0, 45.0, 90.0, 0.0),
        **constants.defaults(*simulator.MODELS),
        "model.binning": 1,
        "model.stem": (32, 64),
        "model.filters_first": 64,
        "model.filters_second": 128,
        "model.shortcuts": 3,
        "model.dropout_before": 0.4,
        "model.dropout_middle": 0.3,
        "model.dropout_after": 0.0,
        "train.mu_loss": 0.53,
        "train.beta1_horizon": 10,
        "train.beta2_horizon": 100,
        "train.rate_decay": 0.1,
        "train.decay_steps": 506,
        "train.learning_rate": 6.5e-4,
        "train.batch_size": 256,
        "train.epochs": 60,
    }
    described: ClassVar[Mapping[str, str]] = {
        "data.preset": "default; or identical_grains, the null: carbon's grains are drawn as fog's, only their places differ [A]",
        "data.fraction_fog": "share of fog events (fraction) [P] Table 4: 51,300 of 129,300",
        "data.fraction_c100": "share of 100 keV among the carbon events (fraction) [P] Table 4",
        "data.orientations": "angles of the emulsion under the microscope, one drawn for each event (degrees) [P] Sec. 2.1",
        **constants.described(*simulator.MODELS),
        "model.binning": "pixels a side that are averaged before the network: 1 is the paper's [P]; 2 costs a quarter [A]",
        "model.stem": "filters of the two first convolutions [P] Table 3",
        "model.filters_first": "filters N of the residual blocks before the second dropout [P] searched in 32 to 64",
        "model.filters_second": "filters N of the residual blocks after it [P] searched in 64 to 128",
        "model.shortcuts": "identity blocks after each convolution block [P] searched in 0 to 3",
        "model.dropout_before": "dropout before the residual blocks (fraction) [P] searched in 0.1 to 0.4",
        "model.dropout_middle": "dropout in the middle (fraction) [P] searched in 0.3 to 0.8",
        "model.dropout_after": "dropout before the dense layer (fraction) [P] searched in 0 to 0.4",
        "train.mu_loss": "weight of the binary part of the loss, Eq. 1 [P] searched in 0.01 to 2",
        "train.beta1_horizon": "x of Adam's beta1 = 1 - 1/x; replaces train.beta1 [P] searched in 10 to 100, reading as 1 - 1/x [A]",
        "train.beta2_horizon": "x of Adam's beta2 = 1 - 1/x; replaces train.beta2 [P] searched in 100 to 1500, reading as 1 - 1/x [A]",
        "train.rate_decay": "d of the learning rate's factor exp(-d · epoch) [P] searched in 1e-4 to 0.1; that d counts epochs [A]",
        "train.decay_steps": "steps of the optimiser that make an epoch of the line above [P] 129,300 events in batches of 256",
    }
    paper: ClassVar[str] = "paper.csv"
    figures_of_merit: ClassVar[tuple[str, ...]] = ("roc_auc", "rejection")
    cites: ClassVar[tuple[str, ...]] = (
        "arXiv:2106.11995",  # the study
        "10.1038/s41598-020-75883-z",  # barycentre shift, Alexandrov et al. 2020
        "arXiv:1812.09528",  # ranges in NIT
        "arXiv:1512.03385",  # residual networks
    )

    def schema(self) -> Schema:
        """Eight frames as camera counts; ``beam``, which energy a carbon event has (1: 100 keV), random for fog.

        A loss is told signal and background only, so the two beams reach it as a tensor; the network does not see it, and
        it cannot tell fog. Observers: barycentre shift (nm), its direction and the track's true angle in the picture (degrees,
        modulo 180), brightness (counts of the highest peak), orientation of the emulsion (degrees).
        """
        return Schema(
            tensors=(TensorField("frames", (FRAMES, PIXELS, PIXELS), "uint8"), TensorField("beam", (1,), "uint8")),
            classes=simulator.CLASSES,
            signal=("C30keV", "C100keV"),
            background=("fog",),
            observers=simulator.OBSERVERS,
        )

    def simulate(self, config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """See `raresearch.experiments.newsdm.simulator.simulate`."""
        return simulator.simulate(config, rng, n)

    def model(self, config: Config) -> nn.Module:
        """See `raresearch.experiments.newsdm.model.NewsNet`."""
        from raresearch.experiments.newsdm.model import news_net

        return news_net({**self.defaults, **config})

    def augment(self, inputs: Mapping[str, torch.Tensor], config: Config) -> Mapping[str, torch.Tensor]:
        """Draws an angle for each event; `forward` turns its frames by it, after the medians are taken."""
        from raresearch.experiments.newsdm.preprocessing import random_angles

        return {**inputs, "angle": random_angles(len(inputs["frames"]), inputs["frames"])}

    def forward(self, model: nn.Module, inputs: Mapping[str, torch.Tensor], config: Config) -> torch.Tensor:
        """Logits (B, 3) of fog, C30keV and C100keV. Only training turns the frames."""
        import torch

        from raresearch.experiments.newsdm.preprocessing import prepare

        frames = inputs["frames"]
        if model.training:
            return model(prepare(frames, inputs.get("angle")))  # type: ignore[no-any-return]
        return torch.cat([model(prepare(some)) for some in torch.split(frames, _SCORED)])

    def logit(self, output: torch.Tensor, config: Config) -> torch.Tensor:
        """Of the sum of both carbon probabilities, (B,)."""
        from raresearch.experiments.newsdm.loss import signal_logit

        return signal_logit(output)

    def loss(self, output: torch.Tensor, batch: Batch, config: Config) -> torch.Tensor:
        """Eq. 1."""
        from raresearch.experiments.newsdm.loss import mixed_loss

        mu = float({**self.defaults, **config}["train.mu_loss"])  # type: ignore[arg-type]
        return mixed_loss(output, batch.label, batch.inputs["beam"], batch.weight, mu)

    def read_out(self, findings: Findings) -> Sequence[ReadOut]:
        """Table 1 (barycentre shift, boosted trees, NEWSnet) and how often what is kept points along the beam."""
        from raresearch.experiments.newsdm.readouts import read_outs

        return read_outs(findings)

    def optimizer(self, parameters: Any, config: Config) -> torch.optim.Optimizer:
        """Adam with the horizons and the falling rate that the paper searches; a network of this kind trains alone."""
        from raresearch.experiments.newsdm.optimizer import falling_adam

        return falling_adam(parameters, config)
