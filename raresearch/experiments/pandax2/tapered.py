"""PandaX-II with a network that a search can vary by numbers: layers, width and taper in place of a list of widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from raresearch.errors import SpaceError
from raresearch.experiments.pandax2.experiment import PandaX2
from raresearch.experiments.pandax2.features import FEATURES
from raresearch.types import Config, Value

if TYPE_CHECKING:
    from torch import nn

_SHAPE: Mapping[str, Value] = {"model.layers": 4, "model.width": 32, "model.taper": 0.6}


class PandaX2Tapered(PandaX2):
    """`PandaX2` whose hidden layers are width, width·taper, width·taper² …: a Bayesian search needs axes that have an order."""

    name: ClassVar[str] = "pandax2_tapered"
    defaults: ClassVar[Mapping[str, Value]] = {k: v for k, v in PandaX2.defaults.items() if k != "model.hidden"} | dict(_SHAPE)
    described: ClassVar[Mapping[str, str]] = {k: v for k, v in PandaX2.described.items() if k != "model.hidden"} | {
        "model.layers": "number of hidden layers",
        "model.width": "width of the first hidden layer",
        "model.taper": "each layer's width over that of the one before (fraction); never below 2 neurons",
    }
    paper: ClassVar[str] = ""

    def model(self, config: Config) -> nn.Module:
        """See `raresearch.experiments.pandax2.model.mlp`. Raises `SpaceError` for a shape that cannot be."""
        from raresearch.experiments.pandax2.model import mlp

        return mlp(len(FEATURES), widths(config), config.get("model.dropout", self.defaults["model.dropout"]))


def widths(config: Config) -> tuple[int, ...]:
    """The widths of the hidden layers.

    >>> widths({"model.layers": 3, "model.width": 32, "model.taper": 0.5})
    (32, 16, 8)
    """
    layers, width = (_whole(config, name) for name in ("model.layers", "model.width"))
    taper = config.get("model.taper", _SHAPE["model.taper"])
    if isinstance(taper, bool) or not isinstance(taper, (int, float)) or not 0.0 < taper <= 1.0:
        raise SpaceError(f"model.taper: {taper!r}", "must lie in (0, 1]", "1 keeps the width")
    return tuple(max(2, round(width * taper**n)) for n in range(layers))


def _whole(config: Config, name: str) -> int:
    value = config.get(name, _SHAPE[name])
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpaceError(f"{name}: {value!r}", "must be a whole number of at least 1", f"the default is {_SHAPE[name]}")
    return value
