"""A toy detector that simulates and trains in a second: two Gaussian blobs and something between them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from raresearch.experiment import Experiment, Schema, TensorField
from raresearch.types import Array, Config, Value

if TYPE_CHECKING:
    from torch import nn

_FRACTIONS = (0.45, 0.45, 0.1)  # signal, background, spectator


class Toy(Experiment):
    """Signal and background are round Gaussians of unit width in a plane, centred at x = ± separation / 2.

    The best possible ROC AUC is Φ(separation / √2), with Φ the normal distribution function: x alone decides. The
    spectator is centred between the two.
    """

    name = "toy"
    version = "1"
    defaults: ClassVar[Mapping[str, Value]] = {
        "data.events": 1000,
        "data.block": 500,
        "data.separation": 2.0,
        "model.hidden": (8,),
        "model.dropout": 0.0,
        "train.epochs": 5,
    }
    described: ClassVar[Mapping[str, str]] = {
        "data.separation": "distance between the centres of signal and background, in widths [A]",
        "model.hidden": "neurons of each hidden layer [A]",
        "model.dropout": "fraction of hidden neurons switched off in training [A]",
    }

    def schema(self) -> Schema:
        return Schema(
            tensors=(TensorField("point", (2,), columns=("x", "y")),),
            classes=("signal", "background", "spectator"),
            signal=("signal",),
            background=("background",),
            observers=("radius",),
        )

    def simulate(self, config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
        separation = config["data.separation"]
        if not isinstance(separation, (int, float)):
            raise TypeError("data.separation must be a number")
        species = rng.choice(3, size=n, p=_FRACTIONS)
        centre = np.array([0.5, -0.5, 0.0])[species] * separation
        point = rng.normal(size=(n, 2)) + np.stack([centre, np.zeros(n)], axis=1)
        return {"point": point.astype(np.float32), "class": species, "radius": np.hypot(point[:, 0], point[:, 1])}

    def model(self, config: Config) -> nn.Module:
        from torch import nn

        hidden, dropout = config["model.hidden"], config["model.dropout"]
        if not isinstance(hidden, tuple) or not isinstance(dropout, (int, float)):
            raise TypeError("model.hidden must be a list of integers and model.dropout a number")
        widths = [2, *(int(width) for width in hidden if isinstance(width, int))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 1))
