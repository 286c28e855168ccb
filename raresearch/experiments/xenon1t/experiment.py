"""XENON1T: pictures of WIMPs against pictures of electron recoils.

After "Convolutional neural networks for direct detection of dark matter" (Khosa, Mars, Richards, Sanz; arXiv:1911.09210).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from raresearch.experiment import Batch, Experiment, Schema, TensorField
from raresearch.experiments import constants
from raresearch.experiments.xenon1t import simulator
from raresearch.experiments.xenon1t.detector import Detector
from raresearch.experiments.xenon1t.halo import Wimp
from raresearch.experiments.xenon1t.panels import LAYOUTS
from raresearch.experiments.xenon1t.recoils import Electrons
from raresearch.types import Array, Config, Value

if TYPE_CHECKING:
    import torch
    from torch import nn

_MODELS = (Wimp, Electrons, Detector)
_SCORED = 64  # events through the network at once where it only scores: its largest maps, 20 MiB, are then memory used again


class Xenon1T(Experiment):
    """Hit patterns and waveforms as pictures, a convolutional network with one to three layers."""

    name: ClassVar[str] = "xenon1t"
    version: ClassVar[str] = "1"
    #: pixels that an event holds. A schema cannot follow a config, so the smaller pictures leave some of them empty.
    canvas: ClassVar[int] = LAYOUTS["hitpeak"].pixels
    defaults: ClassVar[Mapping[str, Value]] = {
        "data.image": "hitpeak",
        "data.fraction_wimp": 0.5,
        **constants.defaults(*_MODELS),
        "model.layers": 1,
        "model.leak": 0.05,
        "model.pool_stride": 2,
        "model.dropout_conv": 0.25,
        "model.dropout_dense": 0.5,
        "model.l2_conv": 0.005,
        "model.l2_dense": 0.001,
    }
    described: ClassVar[Mapping[str, str]] = {
        "data.image": "hit, peak (100 x 50) or hitpeak (75 x 75) [P]; hitpeak100 in xenon1t_wide: both halves as fine as alone",
        "data.fraction_wimp": "share of WIMPs (fraction) [P] 10,000 of 20,000",
        **constants.described(*_MODELS),
        "model.layers": "convolution layers, each with pooling, 1 to 3 [P]",
        "model.leak": "slope of the leaky ReLU below 0 [P] 0.05",
        "model.pool_stride": "stride of the 2 x 2 pooling: 2 halves the picture as in the text [P]; 1 is the released program's [R]",
        "model.dropout_conv": "dropout after the last pooling (fraction) [P]",
        "model.dropout_dense": "dropout before the output (fraction) [P]",
        "model.l2_conv": "penalty on the squares of the convolutions' kernels [P]",
        "model.l2_dense": "penalty on the squares of the dense layer's weights and bias [P]",
    }
    paper: ClassVar[str] = "paper.csv"  # Table IV and the text: the objective of the final study
    figures_of_merit: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "recall",
        "precision",
        "roc_auc",
        "average_precision",
        "rejection",
    )
    cites: ClassVar[tuple[str, ...]] = (
        "arXiv:1911.09210",  # the study
        "arXiv:1705.06655",  # first results of XENON1T
        "arXiv:1412.4417",  # nuclear-recoil yields, Lenardo et al. 2015
        "10.1016/S0927-6505(96)00047-3",  # Lewin and Smith: halo, form factor
    )

    def schema(self) -> Schema:
        """One picture, colours first, pixels row by row. Observers: corrected charges (PE), the combined energy that follows
        from them (keV_ee), the position (cm, z below the gate is negative). The recoil's own energy is not among them: above
        15 keV it would tell the class."""
        return Schema(
            tensors=(TensorField("image", (3, self.canvas), "uint8"),),
            classes=simulator.CLASSES,
            signal=("WIMP",),
            background=("ER",),
            observers=simulator.OBSERVERS,
        )

    def simulate(self, config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """See `raresearch.experiments.xenon1t.simulator.simulate`."""
        return simulator.simulate(config, rng, n, self.canvas)

    def model(self, config: Config) -> nn.Module:
        """See `raresearch.experiments.xenon1t.model.PictureNet`."""
        from raresearch.experiments.xenon1t.model import picture_net

        return picture_net({**self.defaults, **config}, simulator.layout_of(config).shape)

    def forward(self, model: nn.Module, inputs: Mapping[str, torch.Tensor], config: Config) -> torch.Tensor:
        """(B, 2): logit and penalty, from the part of the canvas that holds the picture."""
        layout = simulator.layout_of(config)
        import torch

        image = inputs["image"][..., : layout.pixels]
        image = image.view(*image.shape[:-1], *layout.shape)
        if model.training:
            return model(image)  # type: ignore[no-any-return]
        # Scoring takes thousands of events at once; their feature maps would fill gigabytes.
        return torch.cat([model(some) for some in torch.split(image, _SCORED)])

    def logit(self, output: torch.Tensor, config: Config) -> torch.Tensor:
        """The first of the network's two outputs, (B,)."""
        return output[..., 0]

    def loss(self, output: torch.Tensor, batch: Batch, config: Config) -> torch.Tensor:
        """Binary cross-entropy plus the penalty of the weights."""
        return super().loss(output, batch, config) + output[..., 1].mean()


class Xenon1TWide(Xenon1T):
    """The same with room for `hitpeak100`, at 1.8 times the memory."""

    name: ClassVar[str] = "xenon1t_wide"
    canvas: ClassVar[int] = LAYOUTS["hitpeak100"].pixels
    defaults: ClassVar[Mapping[str, Value]] = {**Xenon1T.defaults, "data.image": "hitpeak100"}
