"""What a trained network sees: feature maps by stage and how alike the last block's filters are. Loads torch.

Legend: N events, C filters, H, W pixels of a feature map.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.cluster import DBSCAN
from torch import nn

from raresearch.experiments.pandax3.model import TrackNet
from raresearch.types import Array

REACH = 0.1  #: DBSCAN: filters whose maps' correlation is above 1 - REACH are neighbours [A]; the paper prints no setting
LEAST = 2  #: DBSCAN: filters, itself included, that make a core [A]


def stages(network: TrackNet) -> dict[str, nn.Module]:
    """Name → module of each block of the backbone, in order; an EfficientNet's are the paper's Stages 1 to 8."""
    body = network.backbone
    if hasattr(body, "blocks"):
        return {"Stage 1": body.bn1, **{f"Stage {number + 2}": block for number, block in enumerate(body.blocks)}}
    if hasattr(body, "features"):
        return {name: child for name, child in body.features.named_children() if "dense" in name}
    return {name: child for name, child in body.named_children() if name.startswith(("layer", "Mixed"))}


@torch.no_grad()
def feature_maps(network: TrackNet, images: Array) -> dict[str, Array]:
    """Stage → (N, C, H, W) of ``images`` (N, 2, 64, 64)."""
    seen: dict[str, Array] = {}

    def keep(name: str, output: torch.Tensor) -> None:
        seen[name] = output.float().cpu().numpy()

    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: keep(name, output))
        for name, module in stages(network).items()
    ]
    network.eval()
    network(torch.tensor(images, dtype=torch.float32))
    for handle in handles:
        handle.remove()
    return seen


def load_state(network: TrackNet, weights: Mapping[str, Array]) -> TrackNet:
    """``network`` with the weights of the store."""
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return network


def filter_groups(maps: Array) -> Array:
    """(C,) group of each filter by DBSCAN on 1 - correlation of ``maps`` (N, C, H, W); -1: like no other, or constant."""
    rows = np.moveaxis(maps, 1, 0).reshape(maps.shape[1], -1).astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(rows, axis=1)
    alive = norm > 1e-9 * max(1.0, float(norm.max()))
    groups = np.full(len(rows), -1)
    if alive.sum() >= LEAST:
        unit = rows[alive] / norm[alive, None]
        distance = np.clip(1.0 - unit @ unit.T, 0.0, 2.0)
        groups[alive] = DBSCAN(eps=REACH, min_samples=LEAST, metric="precomputed").fit_predict(distance)
    return groups
