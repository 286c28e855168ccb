"""KamNet (Fig. 2), and the conventional CNN that it is compared with. Loads torch; imported by workers only.

Legend: B events, K cells of a list, T time slices, H rings, W sectors, C channels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from raresearch.errors import SpaceError
from raresearch.experiments.kamnet import wigner
from raresearch.experiments.kamnet.hitmaps import CELLS, RINGS, SECTORS, TIMES
from raresearch.experiments.kamnet.spherical import SphericalNet
from raresearch.experiments.kamnet.temporal import PlanarAttention, PointAttention
from raresearch.types import Config, Value


class HitMap(nn.Module):
    """Lists of cells (B, K) → maps (B, T, H, W), summed over ``slices`` times and ``pixels`` x ``pixels`` angles."""

    def __init__(self, slices: int, pixels: int, charges: bool) -> None:
        super().__init__()
        self.shape, self.charges = (TIMES // slices, RINGS // pixels, SECTORS // pixels), charges
        cell = torch.arange(CELLS)
        time, ring, sector = cell // (RINGS * SECTORS) // slices, cell // SECTORS % RINGS // pixels, cell % SECTORS // pixels
        number = (time * self.shape[1] + ring) * self.shape[2] + sector
        self.cells = self.shape[0] * self.shape[1] * self.shape[2]
        # The number of no cell leads behind the map.
        self.register_buffer("number", torch.cat([number, torch.tensor([self.cells])]), persistent=False)

    def forward(self, cell: torch.Tensor, charge: torch.Tensor) -> torch.Tensor:
        # Numbers come as floats, as all inputs do; up to 40,432 they are exact.
        place = self.number[cell.long().clamp(0, CELLS)]  # type: ignore[index]
        value = charge if self.charges else torch.ones_like(charge)
        flat = charge.new_zeros(len(cell), self.cells + 1).scatter_add(1, place, value)
        return flat[:, : self.cells].reshape(-1, *self.shape)


class Scale(nn.Module):
    """Harmonics (B, C, L²) of images on the scale of their means over the sphere, as a batch normalisation sets it.

    Only the mean over the sphere is centred: shifting other harmonics would single out directions. A batch of one event
    has no scale of its own and is taken as in evaluation.
    """

    KEPT, LEAST = 0.9, 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, harmonics: torch.Tensor) -> torch.Tensor:
        mean, variance = self.get_buffer("mean"), self.get_buffer("variance")
        first = harmonics[..., 0]
        if self.training and len(first) > 1:
            own_mean, own_variance = first.mean(0), first.var(0)
            with torch.no_grad():
                mean.lerp_(own_mean, 1 - self.KEPT)
                variance.lerp_(own_variance, 1 - self.KEPT)
            mean, variance = own_mean, own_variance
        centred = torch.cat([(first - mean)[..., None], harmonics[..., 1:]], -1)
        return centred / torch.sqrt(variance + self.LEAST)[:, None]


class KamNet(nn.Module):
    """Hit map → attention ConvLSTM → spherical CNN → dense layers → logit (B, 1)."""

    def __init__(
        self,
        maps: HitMap,
        temporal: PlanarAttention | PointAttention,
        features: tuple[int, ...],
        bandwidths: tuple[int, ...],
        dense: tuple[int, ...],
        rates: tuple[float, float],
        finer: int = 1,
    ) -> None:
        super().__init__()
        self.maps, self.temporal = maps, temporal
        degrees = bandwidths[0]
        harmonics = wigner.sphere_table(degrees, *maps.shape[1:])
        if isinstance(temporal, PlanarAttention):  # an image: integrate; else a measure: add
            weight = wigner.polar_weights(maps.shape[1]).float().repeat_interleave(maps.shape[2]) / maps.shape[2]
            harmonics = harmonics * weight
        self.register_buffer("harmonics", harmonics, persistent=False)
        self.scale = Scale(temporal.channels)
        self.spherical = SphericalNet(temporal.channels, features, bandwidths, rates[0], finer)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise((features[-1], *dense)))
        self.out = nn.Linear(dense[-1], 1)
        self.rate = rates[1]

    def coefficients(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, C, L²): harmonics of the context images of ``maps``, each channel on the scale of the training events."""
        return self.scale(self.temporal(maps).flatten(2) @ self.harmonics.T)  # type: ignore[no-any-return]

    def forward(self, cell: torch.Tensor, charge: torch.Tensor) -> torch.Tensor:
        x = self.spherical(self.coefficients(self.maps(cell, charge)))
        for layer in self.dense:
            x = functional.dropout(torch.relu(layer(x)), self.rate, self.training)
        return self.out(x)  # type: ignore[no-any-return]


class PlaneNet(nn.Module):
    """The conventional CNN: time slices as channels, square kernels on the plane of angles, dense layers; logit (B, 1).

    Its sizes in the paper's reference (arXiv:1812.02906) are not in the text: a field of the config, assumed.
    """

    def __init__(self, maps: HitMap, filters: tuple[int, ...], dense: int, rate: float) -> None:
        super().__init__()
        self.maps, self.rate = maps, rate
        channels = (maps.shape[0], *filters)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in filters)
        height, width = (size // 2 ** len(filters) for size in maps.shape[1:])
        self.dense = nn.Linear(filters[-1] * height * width, dense)
        # Without it a few neurons after a thousand inputs die in the first steps (in a third of trainings at the demo's rate),
        # and a dead competitor proves nothing. Over neurons, not events: the last batch of an epoch may hold one.
        self.norm = nn.LayerNorm(dense)
        self.out = nn.Linear(dense, 1)

    def forward(self, cell: torch.Tensor, charge: torch.Tensor) -> torch.Tensor:
        x = self.maps(cell, charge)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = functional.max_pool2d(torch.relu(norm(convolution(x))), 2)
        x = functional.dropout(torch.relu(self.norm(self.dense(x.flatten(1)))), self.rate, self.training)
        return self.out(x)  # type: ignore[no-any-return]


def network(config: Config) -> nn.Module:
    """The network of ``model.*``. Raises `SpaceError` for what cannot be."""
    maps = HitMap(
        _divisor("model.join_slices", config, TIMES),
        _divisor("model.join_pixels", config, RINGS),
        config["model.input"] == "charge",
    )
    if config["model.input"] not in ("charge", "hits"):
        raise SpaceError(f"model.input: {config['model.input']!r}", "must be charge or hits")
    if config["model.network"] == "cnn":
        filters = _whole_numbers("model.filters", config)
        if min(maps.shape[1:]) < 2 ** len(filters):
            raise SpaceError(
                "model.filters", f"{len(filters)} halvings leave nothing of {maps.shape[1]} pixels", "fewer layers"
            )
        return PlaneNet(maps, filters, _whole_numbers("model.dense", config)[0], _rate("model.dropout_dense", config))
    if config["model.network"] != "kamnet":
        raise SpaceError(f"model.network: {config['model.network']!r}", "must be kamnet or cnn")
    features, bandwidths = _whole_numbers("model.features", config), _whole_numbers("model.bandwidths", config)
    if len(features) != len(bandwidths) or list(bandwidths) != sorted(bandwidths, reverse=True):
        raise SpaceError(f"model.bandwidths: {bandwidths}", "must be one for each of model.features, none above the one before")
    if bandwidths[0] > maps.shape[1] // 2:
        raise SpaceError(f"model.bandwidths: {bandwidths}", f"must not exceed {maps.shape[1] // 2}, half of the rings")
    rates = _rate("model.dropout_spherical", config), _rate("model.dropout_dense", config)
    dense, finer = _whole_numbers("model.dense", config), _whole("model.oversampling", config["model.oversampling"])
    return KamNet(maps, _temporal(config, maps), features, bandwidths, dense, rates, finer)


def _temporal(config: Config, maps: HitMap) -> PlanarAttention | PointAttention:
    hidden = _whole_numbers("model.hidden", config)
    if config["model.temporal"] == "pointwise":
        return PointAttention(maps.shape[0], hidden, counts=not maps.charges)
    if config["model.temporal"] != "planar":
        raise SpaceError(f"model.temporal: {config['model.temporal']!r}", "must be planar or pointwise")
    kernels = _whole_numbers("model.kernels", config)
    if len(kernels) != len(hidden) or any(k % 2 == 0 for k in kernels):
        raise SpaceError(f"model.kernels: {kernels}", "must be odd, one for each of model.hidden", "the published are [5, 3]")
    if maps.shape[2] % 2:
        raise SpaceError("model.join_pixels", "leaves an odd number of sectors, which no padding crosses a pole with", "1")
    return PlanarAttention(maps.shape[0], maps.shape[1:], hidden, kernels, config["model.recompute"] is True)


def _whole_numbers(name: str, config: Config) -> tuple[int, ...]:
    value = config[name]
    if not isinstance(value, tuple) or not value or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in value):
        raise SpaceError(f"{name}: {value!r}", "must be a list of whole numbers from 1 up")
    return tuple(int(n) for n in value)  # type: ignore[arg-type]


def _whole(name: str, value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpaceError(f"{name}: {value!r}", "must be a whole number from 1 up")
    return value


def _divisor(name: str, config: Config, of: int) -> int:
    value = _whole(name, config[name])
    if of % value:
        raise SpaceError(f"{name}: {value!r}", f"must divide {of}")
    return value


def _rate(name: str, config: Config) -> float:
    value = config[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < 1.0:
        raise SpaceError(f"{name}: {value!r}", "must lie in [0, 1)")
    return float(value)
