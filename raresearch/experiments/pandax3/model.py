"""Networks from timm with a last convolution of n channels, global max pooling and one logit. Loads torch; for workers only.

Legend: B events, C channels, P pixels a side.
"""

from __future__ import annotations

from collections.abc import Mapping

import timm
import torch
from torch import nn
from torch.nn import functional

from raresearch.errors import SpaceError, nearest
from raresearch.experiments.pandax3.detector import SIDE
from raresearch.types import Config

PLANES = 2
#: ours → timm's. The paper's InceptionV2 is not in timm; v3 has the same modules (Szegedy et al. 2016 introduce both) and 22
#: million weights, as much as ResNet50. `tiny` is timm's EfficientNet for tests, 0.1 million weights: what a laptop trains.
NETWORKS: Mapping[str, str] = {
    "EfficientNetB4": "efficientnet_b4",
    "EfficientNetB0": "efficientnet_b0",
    "ResNet50": "resnet50",
    "DenseNet169": "densenet169",
    "InceptionV3": "inception_v3",
    "tiny": "test_efficientnet",
}
_LEAST_PIXELS = {"InceptionV3": 128}  # its convolutions without padding leave nothing of 64


class TrackNet(nn.Module):
    """Planes (B, 2, 64, 64) of charge → logit (B, 1).

    ``top`` is the paper's Stage 9, a 1 × 1 convolution to n channels; an EfficientNet's own is replaced by it, the others have
    it after their last block where n > 0. n = 0 keeps what timm builds.
    """

    def __init__(self, name: str, channels: int, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels
        self.backbone = timm.create_model(NETWORKS[name], pretrained=False, in_chans=PLANES, num_classes=0, global_pool="")
        features = self.backbone.num_features
        if channels and hasattr(self.backbone, "conv_head"):
            features = self.backbone.conv_head.in_channels
            self.backbone.conv_head, self.backbone.bn2 = nn.Identity(), nn.Identity()
        self.top = top_convolution(features, channels) if channels else nn.Identity()
        self.dense = nn.Linear(channels or features, 1)

    def forward(self, charge: torch.Tensor) -> torch.Tensor:
        features = self.top(self.backbone(resized(normalised(charge), self.pixels)))
        return self.dense(functional.adaptive_max_pool2d(features, 1).flatten(1))  # type: ignore[no-any-return]


def top_convolution(inputs: int, channels: int) -> nn.Sequential:
    """1 × 1 convolution, batch normalisation, SiLU: as at the end of every EfficientNet."""
    convolution = nn.Conv2d(inputs, channels, 1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.SiLU())


def normalised(charge: torch.Tensor) -> torch.Tensor:
    """Both planes of an event divided by their common charge, times the number of pixels, so that a pixel is 1 on average.

    The factor keeps batch normalisation's ε small beside the variance of what it divides.
    """
    total = charge.flatten(1).sum(1).clamp(min=1.0)
    return charge * (charge[0].numel() / total)[:, None, None, None]


def resized(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """Nearest neighbour to ``pixels`` a side: the paper's resizing, which blurs nothing."""
    return images if images.shape[-1] == pixels else functional.interpolate(images, size=pixels, mode="nearest")


def flipped(charge: torch.Tensor) -> torch.Tensor:
    """Each plane of each event mirrored along its strips or not, from torch's generator.

    The detector is symmetric in x and in y; along z it is not: pulses rise faster than they fall.
    """
    mirror = torch.rand(charge.shape[:2], device=charge.device) < 0.5
    return torch.where(mirror[..., None, None], charge.flip(2), charge)


def track_net(config: Config) -> TrackNet:
    """The network of ``model.*``. Raises `SpaceError` for what cannot be."""
    name, channels, pixels = config["model.network"], config["model.top_channels"], config["model.pixels"]
    if not isinstance(name, str) or name not in NETWORKS:
        raise SpaceError(f"model.network: {name!r}", f"must be one of {', '.join(NETWORKS)}", nearest(str(name), NETWORKS))
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 0:
        raise SpaceError(f"model.top_channels: {channels!r}", "must be a whole number from 0 up", "0 keeps the network's own")
    least = _LEAST_PIXELS.get(name, SIDE)
    if isinstance(pixels, bool) or not isinstance(pixels, int) or pixels % SIDE or pixels < least:
        raise SpaceError(f"model.pixels: {pixels!r}", f"must be a multiple of {SIDE} from {least} up", "the paper has 128")
    return TrackNet(name, channels, pixels)
