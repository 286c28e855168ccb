"""Optics and camera: closed forms, a slow twin, and what frames must not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raresearch.experiments.newsdm.emulsion import Microscope
from raresearch.experiments.newsdm.filaments import Filaments
from raresearch.experiments.newsdm.optics import PIXELS, digitised, expose, render
from raresearch.experiments.newsdm.plasmon import intensities, polariser_angles
from raresearch.experiments.newsdm.shift import above_background, barycentres, shifts
from raresearch.experiments.newsdm.simulator import FOG, OBSERVERS, simulate

MICROSCOPE = Microscope()
STILL = replace(MICROSCOPE, jitter_along=1e-9, jitter_across=1e-9)
QUIET = replace(STILL, read_noise=1e-6, electrons=1e12, background_sd=1e-9)


def some(n=6, seed=1):
    """Events with one to four filaments each."""
    rng = np.random.default_rng(seed)
    event = np.repeat(np.arange(n), rng.integers(1, 5, n))
    f = len(event)
    light = intensities(rng.uniform(0.3, 1.0, f), rng.uniform(0.1, 0.3, f), rng.uniform(0, np.pi, f), polariser_angles())
    return Filaments(event, rng.normal(0, 60, f), rng.normal(0, 60, f), light)


def auc(scores, label):
    """Area under the ROC curve by ranks, ties count half."""
    both = np.sort(scores)
    rank = 0.5 * (np.searchsorted(both, scores, "left") + np.searchsorted(both, scores, "right") + 1)
    n1 = label.sum()
    return (rank[label].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(label) - n1))


def test_rendering_is_the_slow_twin_s():
    filaments, n = some(), 6
    shift = np.random.default_rng(2).normal(0, 10, (n, 8, 2))
    pixel = (np.arange(PIXELS) - (PIXELS - 1) / 2) * MICROSCOPE.pixel
    expected = np.zeros((n, 8, PIXELS, PIXELS))
    for e in range(n):
        mine = filaments.event == e
        weight = filaments.light[mine].sum(axis=1)
        cx, cy = (np.sum(weight * p[mine]) / weight.sum() for p in (filaments.x, filaments.y))
        for k in range(8):
            for x, y, light in zip(filaments.x[mine], filaments.y[mine], filaments.light[mine, k], strict=True):
                r2 = (pixel[None, :] - (x - cx + shift[e, k, 0])) ** 2 + (pixel[:, None] - (y - cy + shift[e, k, 1])) ** 2
                expected[e, k] += MICROSCOPE.gain * light * np.exp(-r2 / (2 * MICROSCOPE.psf**2))
    np.testing.assert_allclose(render(filaments, n, MICROSCOPE, shift), expected, rtol=2e-4, atol=1e-4)


def test_the_point_spread_function_keeps_all_light():
    # sum over pixels = 2π psf²/pixel² times the peak of each filament
    filaments = some()
    frames = render(filaments, 6, MICROSCOPE, np.zeros((6, 8, 2)))
    expected = [filaments.light[filaments.event == e].sum(axis=0) for e in range(6)]
    area = 2 * np.pi * (MICROSCOPE.psf / MICROSCOPE.pixel) ** 2
    np.testing.assert_allclose(frames.sum(axis=(2, 3)), MICROSCOPE.gain * area * np.array(expected), rtol=1e-4)


def test_the_barycentres_of_pictures_are_those_of_the_filaments():
    filaments = some()
    frames = render(filaments, 6, MICROSCOPE, np.zeros((6, 8, 2)))
    pixel = (np.arange(PIXELS) - (PIXELS - 1) / 2) * MICROSCOPE.pixel
    x, y = filaments.barycentres(6)
    seen = (frames.sum(axis=2) @ pixel) / frames.sum(axis=(2, 3))
    np.testing.assert_allclose(seen - seen.mean(axis=1, keepdims=True), x - x.mean(axis=1, keepdims=True), atol=0.01)
    seen = (frames.sum(axis=3) @ pixel) / frames.sum(axis=(2, 3))
    np.testing.assert_allclose(seen - seen.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True), atol=0.01)


def exposed(filaments, n, microscope, seed=3):
    return expose(filaments, n, microscope, np.random.default_rng(seed))


def lone(n=40, light=1.0):
    angles = np.linspace(0, np.pi, n)
    return Filaments(
        np.arange(n), np.zeros(n), np.zeros(n), intensities(np.full(n, light), np.full(n, 0.6), angles, polariser_angles())
    )


def test_a_single_filament_has_no_barycentre_shift_without_vibration():
    # its frames differ by a factor only; whole counts and noise are left out, since they move barycentres by nanometres
    frames = render(lone(), 40, STILL, np.zeros((40, 8, 2)))
    assert shifts(frames, STILL.pixel).length.max() < 1e-3
    off_centre = np.random.default_rng(4).uniform(-14, 14, (40, 1, 2)) * np.ones((40, 8, 1))
    assert shifts(render(lone(), 40, STILL, off_centre), STILL.pixel).length.max() < 1e-3


def test_vibration_makes_a_shift_of_nothing_along_its_own_axis():
    shaken = replace(QUIET, jitter_along=0.5, jitter_across=12.0)
    found = shifts(exposed(lone(400), 400, shaken), shaken.pixel)
    assert np.median(found.length) > 15.0
    assert np.abs(found.direction - 90.0).max() < 20.0


def test_the_largest_shift_of_vibration_is_the_range_of_eight_normal_draws():
    # E[range of 8] = 2.847 standard deviations (Tippett 1925)
    shaken = replace(QUIET, jitter_across=12.0)
    assert shifts(exposed(lone(1500), 1500, shaken), shaken.pixel).length.mean() == pytest.approx(2.847 * 12.0, rel=0.03)


def test_two_crossed_filaments_shift_as_far_as_computed_by_hand():
    # see test_newsdm_emulsion; pixels below 35 % of the peak are cut, which shortens it little while d is small against the psf
    d, strong, weak = 60.0, 0.9, 0.45
    light = intensities(np.full(2, strong), np.full(2, weak), np.array([0.0, np.pi / 2]), polariser_angles())
    two = Filaments(np.zeros(2, dtype=int), np.array([d / 2, -d / 2]), np.zeros(2), light)
    found = shifts(exposed(two, 1, QUIET), QUIET.pixel)
    assert found.length[0] == pytest.approx(d * (strong - weak) / (strong + weak), rel=0.1)
    assert min(found.direction[0], 180 - found.direction[0]) < 5.0


def test_dim_frames_do_not_count():
    # along the filament 1, across it .2: frames below 35 % of the brightest are left out of the shift
    frames = np.full((1, 8, PIXELS, PIXELS), 20, dtype=np.uint8)
    frames[0, :, 20, 20] = 120
    frames[0, 3, 20, 20] = 20
    frames[0, 3, 25, 25] = 20 + 34
    assert shifts(frames, 28.0).length[0] == 0.0
    frames[0, 3, 25, 25] = 20 + 36
    assert shifts(frames, 28.0).length[0] == pytest.approx(28.0 * np.hypot(5, 5))
    assert shifts(frames, 28.0).direction[0] == pytest.approx(45.0)


def test_the_borders_of_a_frame_do_not_count():
    frames = np.full((1, 8, PIXELS, PIXELS), 20, dtype=np.uint8)
    frames[0, :, 20, 20] = 120
    frames[0, 4, 2, 2] = 255
    assert shifts(frames, 28.0).length[0] == 0.0
    assert barycentres(above_background(frames))[2].max() == 100.0


def test_noise_is_read_noise_and_shot_noise():
    level = np.full((1, 1, 1, 1), 20.0, dtype=np.float32)
    for light in (0.0, 100.0):
        flat = np.full((1, 8, 400, 400), light, dtype=np.float32)
        counts = digitised(flat.copy(), level, MICROSCOPE, np.random.default_rng(4)).astype(float)
        variance = MICROSCOPE.read_noise**2 + (light + 20.0) / MICROSCOPE.electrons + 1 / 12  # rounding to whole counts
        assert counts.mean() == pytest.approx(light + 20.0, abs=0.01)
        assert counts.var() == pytest.approx(variance, rel=0.01)


def test_the_camera_saturates():
    counts = digitised(
        np.full((1, 1, 2, 2), 900.0, np.float32), np.full((1, 1, 1, 1), 20.0), MICROSCOPE, np.random.default_rng(5)
    )
    assert counts.dtype == np.uint8
    assert counts.min() == 255


@pytest.fixture(scope="module", params=["default", "identical_grains"])
def sample(request):
    return simulate({"data.preset": request.param}, np.random.default_rng(6), 1500)


def test_border_pixels_tell_nothing(sample):
    # no class may be told by what lies around the event: AUC .5 within 3 sigma of 1500 events
    frames, signal = sample["frames"].astype(np.float32), sample["class"] != FOG
    border = np.ones((PIXELS, PIXELS), dtype=bool)
    border[2:-2, 2:-2] = False
    for values in (
        frames[:, :, border].mean(axis=(1, 2)),
        frames[:, :, border].std(axis=(1, 2)),
        frames[:, 0, border].max(axis=1),
    ):
        n0, n1 = (~signal).sum(), signal.sum()
        sigma = np.sqrt((n0 + n1 + 1) / (12 * n0 * n1))
        assert auc(values, signal) == pytest.approx(0.5, abs=3 * sigma)


def test_accepted_events_keep_the_cut_on_the_peak(sample):
    assert sample["brightness"].min() >= 12.0
    assert sample["brightness"].max() <= 225.0


def test_the_observers_are_those_of_the_frames(sample):
    again = shifts(sample["frames"], MICROSCOPE.pixel)
    np.testing.assert_array_equal(sample["barshift"], again.length)
    np.testing.assert_array_equal(sample["direction"], again.direction)
    assert set(OBSERVERS) <= set(sample)


def test_events_lie_in_the_middle_of_their_frames(sample):
    light = above_background(sample["frames"]).mean(axis=1)
    place = np.arange(PIXELS) - (PIXELS - 1) / 2
    weight = np.where(light > 3.0, light, 0.0)
    x = (weight.sum(axis=1) @ place) / weight.sum(axis=(1, 2))
    # half a pixel of aim, vibration of 10 nm / sqrt(8), and noise
    assert np.abs(x).mean() < 0.6


def test_the_beam_says_nothing_of_fog(sample):
    beam, number = sample["beam"][:, 0], sample["class"]
    assert np.array_equal(beam[number == 2], np.ones((number == 2).sum()))
    assert not beam[number == 1].any()
    fogs = (number == FOG).sum()
    assert beam[number == FOG].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(fogs))
    assert beam[number != FOG].mean() == pytest.approx(0.5, abs=0.01)
