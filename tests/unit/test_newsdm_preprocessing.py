"""Preprocessing of Sec. 3.2.1: what the network is given, and what rotation leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from raresearch.experiments.newsdm.experiment import NEWSdm
from raresearch.experiments.newsdm.preprocessing import median, prepare, random_angles, rotate

NEWSDM = NEWSdm()


def frames(n=3, seed=1):
    return NEWSDM.simulate({}, np.random.default_rng(seed), n)["frames"]


def tensor(counts):
    return torch.tensor(counts, dtype=torch.float32)


def test_the_ninth_frame_is_the_first():
    prepared = prepare(tensor(frames()))
    assert prepared.shape == (3, 9, 40, 40)
    assert torch.equal(prepared[:, 8], prepared[:, 0])
    turned = prepare(tensor(frames()), torch.tensor([[0.3], [1.0], [2.0]]))
    assert torch.equal(turned[:, 8], turned[:, 0])


def test_frames_are_scaled_by_the_camera_and_lie_around_their_own_medians():
    counts = frames().astype(float)
    prepared = prepare(tensor(counts)).numpy()
    for event in range(3):
        for k in range(8):
            expected = (counts[event, k] - np.sort(counts[event, k].ravel())[799]) / 255.0
            np.testing.assert_allclose(prepared[event, k], expected, atol=1e-6)


def test_a_brighter_background_changes_nothing():
    counts = tensor(frames())
    offsets = torch.arange(24.0).reshape(3, 8, 1, 1)
    torch.testing.assert_close(prepare(counts + offsets), prepare(counts), atol=1e-6, rtol=0)


def test_the_median_of_an_even_number_is_the_lower_of_two():
    assert median(torch.tensor([[[[4.0, 1.0], [3.0, 2.0]]]])).item() == 2.0


def test_rotation_by_nothing_and_by_right_angles_moves_pixels_exactly():
    image = tensor(frames())
    torch.testing.assert_close(rotate(image, torch.zeros(3, 1)), image, atol=1e-3, rtol=0)
    turned = rotate(image, torch.full((3, 1), math.pi / 2))
    quarter = [torch.rot90(image, k, (-2, -1)) for k in (1, 3)]
    assert any(torch.allclose(turned, q, atol=2e-3) for q in quarter)


def test_rotation_is_the_slow_twin_s_inside_and_reflects_at_the_border():
    # scipy's "reflect" repeats the border's pixel half a pixel outside, as grid_sample without aligned corners does
    image = ndimage.gaussian_filter(np.random.default_rng(3).random((40, 40)), 1.0) * 100
    angle = 0.4
    turned = rotate(tensor(image)[None, None], torch.tensor([[angle]]))[0, 0].numpy()
    centre = 19.5
    y, x = np.mgrid[:40, :40] - centre
    source = [math.sin(angle) * x + math.cos(angle) * y + centre, math.cos(angle) * x - math.sin(angle) * y + centre]
    expected = ndimage.map_coordinates(image, source, order=1, mode="reflect")
    np.testing.assert_allclose(turned, expected, atol=1e-2)


def test_all_frames_of_an_event_turn_alike_and_events_turn_each_by_its_own_angle():
    image = tensor(frames(2))
    same = image[:, :1].expand(2, 8, 40, 40)
    turned = rotate(same, torch.tensor([[0.5], [1.5]]))
    assert torch.equal(turned[:, 0], turned[:, 7])
    assert not torch.allclose(rotate(same, torch.tensor([[0.5], [0.5]]))[1], turned[1])


def test_only_augmented_events_are_turned_and_angles_are_even():
    inputs = {"frames": tensor(frames(2)), "beam": torch.ones(2, 1)}
    assert set(NEWSDM.augment(inputs, {})) == {"frames", "beam", "angle"}
    angles = random_angles(20_000, torch.zeros(1))
    assert angles.shape == (20_000, 1)
    assert float(torch.cos(angles).mean()) == pytest.approx(0.0, abs=0.02)
    assert float(angles.max()) <= 2 * math.pi


def test_a_training_pass_turns_and_a_scoring_pass_does_not():
    config = {
        **NEWSDM.defaults,
        "model.stem": (2, 2),
        "model.filters_first": 2,
        "model.filters_second": 2,
        "model.shortcuts": 0,
    }
    torch.manual_seed(1)
    net = NEWSDM.model(config).eval()
    inputs = {"frames": tensor(frames(4)), "beam": torch.ones(4, 1)}
    with torch.no_grad():
        plain = NEWSDM.forward(net, inputs, config)
        assert torch.equal(NEWSDM.forward(net, {**inputs, "angle": torch.ones(4, 1)}, config), plain)
        net.train()
        first = NEWSDM.forward(net, {**inputs, "angle": torch.ones(4, 1)}, config)
        assert not torch.allclose(first, NEWSDM.forward(net, {**inputs, "angle": torch.zeros(4, 1)}, config))


def test_the_network_is_not_told_the_beam():
    config = {
        **NEWSDM.defaults,
        "model.stem": (2, 2),
        "model.filters_first": 2,
        "model.filters_second": 2,
        "model.shortcuts": 0,
    }
    net = NEWSDM.model(config).eval()
    inputs = {"frames": tensor(frames(4)), "beam": torch.ones(4, 1)}
    other = {**inputs, "beam": torch.zeros(4, 1)}
    with torch.no_grad():
        assert torch.equal(NEWSDM.forward(net, inputs, config), NEWSDM.forward(net, other, config))
