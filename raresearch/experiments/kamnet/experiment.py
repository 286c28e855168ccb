"""KamLAND-Zen: single-vertex against multi-vertex events by their hit maps on a sphere and in time.

After "KamNet: An Integrated Spatiotemporal Deep Neural Network for Rare Event Search in KamLAND-Zen" (Li et al.,
arXiv:2203.01870).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from raresearch.experiment import Experiment, Findings, ReadOut, Schema, TensorField
from raresearch.experiments import constants
from raresearch.experiments.kamnet import simulator
from raresearch.types import Array, Config, Value

if TYPE_CHECKING:
    import torch
    from torch import nn

_SCORED = 128  # events through the network at once where it only scores: the maps of a whole split would fill gigabytes


class KamNet(Experiment):
    """Neutrinoless double-beta decay against 10C: the benchmark of Sec. IV.C, with room for the brightest detectors."""

    name: ClassVar[str] = "kamnet"
    version: ClassVar[str] = "2"
    classes: ClassVar[tuple[str, ...]] = simulator.CLASSES
    signal: ClassVar[tuple[str, ...]] = ("0vbb",)
    background: ClassVar[tuple[str, ...]] = ("C10",)
    #: non-zero cells that an event may have; a schema cannot follow a config
    room: ClassVar[int] = 1536
    defaults: ClassVar[Mapping[str, Value]] = {
        "data.mix": ("0vbb:0.4", "C10:0.4", "electron:0.2"),
        **constants.defaults(*simulator.MODELS),
        "model.network": "kamnet",
        "model.input": "charge",
        "model.join_slices": 1,
        "model.join_pixels": 1,
        "model.temporal": "planar",
        "model.hidden": (12, 22),
        "model.kernels": (5, 3),
        "model.recompute": True,
        "model.features": (36, 63, 74, 124),
        "model.bandwidths": (14, 10, 6, 2),
        "model.oversampling": 1,
        "model.dense": (864, 432, 216, 54),
        "model.dropout_spherical": 0.406,
        "model.dropout_dense": 0.086,
        "model.filters": (32, 64, 128),
        "train.optimizer": "rmsprop",
        "train.beta1": 0.78,
        "train.learning_rate": 4.0e-5,
        "train.batch_size": 32,
        "train.epochs": 30,
    }
    described: ClassVar[Mapping[str, str]] = {
        "data.mix": "classes and their shares, as 0vbb:0.4; all have the same distribution of hits [A]",
        **constants.described(*simulator.MODELS),
        "model.network": "kamnet, or cnn: the conventional one [P]",
        "model.input": "charge of a cell [P], or hits: 1 for each tube [R] the released program's default",
        "model.join_slices": "time slices that are added before the network: 1 is the paper's [P]",
        "model.join_pixels": "pixels a side that are added before the network: 1 is the paper's [P]",
        "model.temporal": "planar, the paper's [P]; pointwise: each pixel's own history, invariant under rotations by construction [A]",
        "model.hidden": "channels of the ConvLSTM layers [R]; the last is the number of context images (22; the text has 32)",
        "model.kernels": "sides of their kernels, planar only [R]",
        "model.recompute": "planar: gates are computed again in the backward pass, for less memory [A]",
        "model.features": "features of the convolutions on the sphere and on rotations [R]",
        "model.bandwidths": "bandwidths after each of them [R] linspace(19, 2, 5) without its first, rounded down",
        "model.oversampling": "grids of rotations finer by this factor: less aliasing, 8 times the work for 2 [A]; 1 is the paper's",
        "model.dense": "sizes of the dense layers [R] 1080 times 0.8, 0.4, 0.2, 0.05; the CNN has the first only",
        "model.dropout_spherical": "dropout of features between spherical layers (fraction) [R]",
        "model.dropout_dense": "dropout after dense layers (fraction) [R]",
        "model.filters": "cnn: filters of its layers, each with pooling [A]",
    }
    paper: ClassVar[str] = "paper.csv"
    figures_of_merit: ClassVar[tuple[str, ...]] = ("rejection", "roc_auc")
    cites: ClassVar[tuple[str, ...]] = (
        "arXiv:2203.01870",  # the study
        "arXiv:1812.02906",  # the conventional CNN
        "arXiv:1801.10130",  # spherical CNNs
        "arXiv:1506.04214",  # ConvLSTM
        "arXiv:2207.09453",  # e3nn
    )

    def schema(self) -> Schema:
        """The non-zero cells of a hit map as two lists: numbers (40,432 where a list has ended) and charges (PE).

        A map is 28 x 38 x 38 cells of which some 350 are not zero; it is made on the device. Observers: N_hit, reconstructed
        energy (MeV) and radius (cm).
        """
        return Schema(
            tensors=(TensorField("cell", (self.room,), "uint16"), TensorField("charge", (self.room,), "float16")),
            classes=self.classes,
            signal=self.signal,
            background=self.background,
            observers=simulator.OBSERVERS,
        )

    def simulate(self, config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """See `raresearch.experiments.kamnet.simulator.simulate`."""
        usual = self.defaults["data.mix"]
        return simulator.simulate({**self.defaults, **config}, rng, n, self.classes, usual, self.room)  # type: ignore[arg-type]

    def model(self, config: Config) -> nn.Module:
        """See `raresearch.experiments.kamnet.model`."""
        from raresearch.experiments.kamnet.model import network

        return network({**self.defaults, **config})

    def forward(self, model: nn.Module, inputs: Mapping[str, torch.Tensor], config: Config) -> torch.Tensor:
        """Logits (B, 1)."""
        import torch

        cell, charge = inputs["cell"], inputs["charge"]
        if model.training:
            return model(cell, charge)  # type: ignore[no-any-return]
        pairs = zip(torch.split(cell, _SCORED), torch.split(charge, _SCORED), strict=True)
        return torch.cat([model(*pair) for pair in pairs])

    def read_out(self, findings: Findings) -> Sequence[ReadOut]:
        """Rejection class by class beside the single-electron control, attention, and what follows for the search."""
        from raresearch.experiments.kamnet.readouts import read_outs

        return read_outs(findings, self)


class KamNetBismuth(KamNet):
    """Trained on 214Bi, judged on every isotope: Sec. V."""

    name: ClassVar[str] = "kamnet_0vbb"
    background: ClassVar[tuple[str, ...]] = ("Bi214",)
    room: ClassVar[int] = 640
    defaults: ClassVar[Mapping[str, Value]] = {
        **KamNet.defaults,
        "data.mix": (
            *("0vbb:0.25", "Bi214:0.25", "Bi214_film:0.1", "electron:0.05", "C10:0.05"),
            *("Sb118:0.06", "I122:0.06", "I124:0.06", "I130:0.06", "I132:0.06"),
        ),
    }


class KamNetExcited(KamNet):
    """Double-beta decay to excited states of 136Ba against the one to the ground state: Sec. VI."""

    name: ClassVar[str] = "kamnet_excited"
    classes: ClassVar[tuple[str, ...]] = simulator.EXCITED_CLASSES
    signal: ClassVar[tuple[str, ...]] = ("2v_0+", "2v_2+", "2v_2+2")
    background: ClassVar[tuple[str, ...]] = ("2vbb",)
    room: ClassVar[int] = 640
    defaults: ClassVar[Mapping[str, Value]] = {
        **KamNet.defaults,
        "data.energy_low": 1.5,
        "data.energy_high": 2.3,
        "data.mix": ("2vbb:0.45", "2v_0+:0.15", "2v_2+:0.15", "2v_2+2:0.15", "electron:0.1"),
    }
