"""Turning the detector: KamNet's scores move as little as sorting hits into pixels again moves them, the CNN's far more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from raresearch.experiments.kamnet.detector import Detector, Physics
from raresearch.experiments.kamnet.events import throw
from raresearch.experiments.kamnet.experiment import KamNet
from raresearch.experiments.kamnet.hitmaps import cells, lists
from raresearch.experiments.kamnet.light import hits, proper_times
from raresearch.experiments.kamnet.model import network

EVENTS = 200
SMALL = {
    "model.temporal": "pointwise",
    "model.input": "hits",
    "model.hidden": (4,),
    "model.join_slices": 2,
    "model.features": (6, 8),
    "model.bandwidths": (4, 3),
    "model.oversampling": 2,
    "model.dense": (16,),
}
CNN = {"model.network": "cnn", "model.filters": (8, 16), "model.dense": (32,), "model.join_slices": 2}


@pytest.fixture(scope="module")
def turned():
    """rotation (3, 3) or None → the same 200 events as lists of cells."""
    detector, physics = Detector(), Physics()
    seen = throw("C10", False, detector, physics, np.random.default_rng(0), 3000)
    seen = seen.select(np.arange(len(seen)) < EVENTS)
    found = hits(seen, detector, np.random.default_rng(1))
    tau = proper_times(found, seen.vertex, detector)

    def made(rotation=None):
        number, charge = lists(*cells(found, tau, EVENTS, rotation), EVENTS, 640)
        return torch.tensor(number.astype(np.float32)), torch.tensor(charge.astype(np.float32))

    return made


def scored(settings, seed, batches):
    """A network whose normalisations have seen ``batches``; it maps a batch to scores in units of their spread."""
    torch.manual_seed(seed)
    model = network({**KamNet.defaults, **settings})
    with torch.no_grad():
        for _ in range(12):
            rows = torch.randperm(EVENTS)[:50]
            model(batches[0][rows], batches[1][rows])
        model.eval()
        spread = float(model(*batches)[:, 0].std())
    return lambda batch: model(*batch).detach()[:, 0].double().numpy() / spread


def change(score, start, others):
    return float(np.sqrt(np.mean([(score(other) - score(start)) ** 2 for other in others])))


def rotations(degrees):
    axes = np.random.default_rng(2).normal(size=(3, 3))
    angles = np.random.default_rng(3).uniform(60, 180, 3) if degrees is None else np.full(3, degrees)
    return [Rotation.from_rotvec(np.radians(a) * x / np.linalg.norm(x)).as_matrix() for a, x in zip(angles, axes, strict=True)]


def test_rotations_change_kamnet_by_its_resampling_error_and_the_cnn_ten_times_more(turned):
    start = turned()
    far = [turned(r) for r in rotations(None)]
    # A pixel is 4.7 degrees high: a turn by 7 sorts all hits anew and leaves every pattern almost where it was. What it
    # changes is the error of resampling, twice: of the map before and of the map after, as for any other rotation.
    near = [turned(r) for r in rotations(7.0)]
    kamnet, plain = [], []
    for seed in (0, 1):
        score = scored(SMALL, seed, start)
        kamnet.append(change(score, start, far))
        resampling = change(score, start, near)
        # 600 differences a side: 3 % on each, and 15 % for pixels that are smaller near the poles, so share fewer hits.
        assert kamnet[-1] < 1.25 * resampling
        plain.append(change(scored(CNN, seed, start), start, far))
    assert np.mean(plain) > 10 * np.mean(kamnet)


def test_the_published_planar_form_is_not_invariant_but_nearer_than_the_cnn(turned):
    start = turned()
    far = [turned(r) for r in rotations(None)[:1]]
    settings = {**SMALL, "model.temporal": "planar", "model.kernels": (3,), "model.join_slices": 7}
    planar = change(scored(settings, 0, start), start, far)
    assert 0.05 < planar < 0.5 * change(scored(CNN, 0, start), start, far)
