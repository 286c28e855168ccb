"""PandaX-III: neutrinoless double beta decay against gammas, by the picture of a track in xenon gas.

After "Optimization of convolutional neural networks for background suppression in the PandaX-III experiment" (Xia, Huang, Xu,
Li, Chen, Han, Wang; 2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from raresearch.experiment import Experiment, Findings, ReadOut, Schema, TensorField
from raresearch.experiments import constants
from raresearch.experiments.pandax3.detector import SIDE, Gas, Tpc
from raresearch.experiments.pandax3.vocabulary import CLASSES, OBSERVERS, SIGNAL
from raresearch.types import Array, Config, Value

if TYPE_CHECKING:
    import torch
    from torch import nn

_SCORED = 256  # events through the network at once where it only scores


class PandaX3(Experiment):
    """Two projections of a track, networks from timm, top-3 rule."""

    name: ClassVar[str] = "pandax3"
    version: ClassVar[str] = "1"
    defaults: ClassVar[Mapping[str, Value]] = {
        **constants.defaults(Gas, Tpc),
        "data.fraction_signal": 0.5,
        "data.fraction_thallium": 0.5,
        "model.network": "EfficientNetB4",
        "model.top_channels": 1792,
        "model.pixels": 128,
        "train.batch_size": 256,
        "train.learning_rate": 1e-3,
        "train.pack": "off",
    }
    described: ClassVar[Mapping[str, str]] = {
        **constants.described(Gas, Tpc),
        "data.fraction_signal": "share of 0vbb events (fraction) [P] 320,000 of 640,000",
        "data.fraction_thallium": "share of 208Tl among the background events (fraction) [A] halves",
        "model.network": "EfficientNetB4, EfficientNetB0, ResNet50, DenseNet169, InceptionV3 or tiny [P] Table 1; v3 for v2 [A]",
        "model.top_channels": "channels n of the last convolution; 0: the network's own [P] Sec. 4.3: 2 to 10 and 1792",
        "model.pixels": "pixels a side of the network's input, by nearest neighbour [P] Table 3: 64, 128, 256",
    }
    paper: ClassVar[str] = "paper.csv"
    figures_of_merit: ClassVar[tuple[str, ...]] = ("xi", "roc_auc", "accuracy")
    cites: ClassVar[tuple[str, ...]] = (
        "Xia et al., Optimization of convolutional neural networks for background suppression in PandaX-III (2023)",
        "arXiv:1905.11946",  # EfficientNet
    )

    def schema(self) -> Schema:
        """``image``: XZ and YZ, strip by z, pixels of 3 mm, whole counts (250: the electronics are full).

        Observers: smeared energy (keV), pixels above threshold, least share of a plane's charge in its frame. The energy is
        no input of the network.
        """
        return Schema(
            tensors=(TensorField("image", (2, SIDE, SIDE), "uint8"),),
            classes=CLASSES,
            signal=(SIGNAL,),
            background=("Tl208", "Bi214"),
            observers=OBSERVERS,
        )

    def simulate(self, config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """See `raresearch.experiments.pandax3.simulator.simulate`."""
        from raresearch.experiments.pandax3.simulator import simulate

        return simulate(config, rng, n)

    def model(self, config: Config) -> nn.Module:
        """See `raresearch.experiments.pandax3.model.TrackNet`."""
        from raresearch.experiments.pandax3.model import track_net

        return track_net({**self.defaults, **config})

    def forward(self, model: nn.Module, inputs: Mapping[str, torch.Tensor], config: Config) -> torch.Tensor:
        """Logits (B, 1); in slices where no gradient is wanted, since feature maps are large."""
        import torch

        image = inputs["image"]
        if model.training:
            return model(image)  # type: ignore[no-any-return]
        return torch.cat([model(some) for some in torch.split(image, _SCORED)])

    def augment(self, inputs: Mapping[str, torch.Tensor], config: Config) -> Mapping[str, torch.Tensor]:
        """Random mirrors in x and in y."""
        from raresearch.experiments.pandax3.model import flipped

        return {**inputs, "image": flipped(inputs["image"])}

    def read_out(self, findings: Findings) -> Sequence[ReadOut]:
        """Figs. 6 to 10 and 3 as tables: feature maps by stage, groups of filters, last weights, example events."""
        from raresearch.experiments.pandax3.readouts import read_outs

        return read_outs(findings)
