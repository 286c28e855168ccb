"""Light and charge: closed forms, flatness of the corrected charges, diffusion, and slow twins of the fast kernels."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.experiments.pandax2.detector import Detector, pmt_positions
from raresearch.experiments.pandax2.events import Events, detectable, recoils, respond
from raresearch.experiments.pandax2.s1 import Vertices, bottom_pattern, light
from raresearch.experiments.pandax2.s2 import BIN, N_BINS, Clouds, electroluminescence, gas_light

DETECTOR = Detector()


@pytest.fixture(scope="module")
def lines():
    """Electron recoils of 20 keV (950 photons, 538 electrons), uniform in the fiducial volume, no cuts."""
    rng = np.random.default_rng(21)
    parts = [respond(recoils("ER", np.full(8_000, 20.0), DETECTOR, rng), DETECTOR, rng) for _ in range(3)]
    return Events(np.concatenate([p.features for p in parts]), np.concatenate([p.drift_time for p in parts]))


def _profile(x, y, bins=6):
    groups = np.array_split(np.argsort(x), bins)
    return np.array([x[g].mean() for g in groups]), np.array([y[g].mean() for g in groups])


def test_corrected_s2_charge_is_flat_in_drift_time_within_one_per_cent(lines):
    _, mean = _profile(lines.drift_time, lines.column("qS2c"))
    print("qS2c / mean:", np.round(mean / mean.mean(), 4))
    np.testing.assert_allclose(mean / mean.mean(), 1.0, atol=0.01)
    _, raw = _profile(lines.drift_time, lines.column("qS2"))
    assert raw[-1] / raw[0] == pytest.approx(np.exp(-250.0 / 800.0), rel=0.02)  # 250 µs between first and last slice


def test_corrected_s1_charge_is_flat_in_depth_within_one_per_cent(lines):
    _, mean = _profile(lines.drift_time, lines.column("qS1c"))
    print("qS1c / mean:", np.round(mean / mean.mean(), 4))
    np.testing.assert_allclose(mean / mean.mean(), 1.0, atol=0.01)


def test_mean_charges_are_yields_times_efficiencies(lines):
    # <qS1c> = PDE N_photons; <qS2c> = EEE SEG N_electrons, at the published yields of 20 keV and 317 V/cm
    print(f"<qS1c> {lines.column('qS1c').mean():.2f}, <qS2c> {lines.column('qS2c').mean():.1f}")
    assert lines.column("qS1c").mean() == pytest.approx(0.120 * 950.0, rel=0.01)
    assert lines.column("qS2c").mean() == pytest.approx(0.475 * 23.5 * 538.0, rel=0.01)


def test_light_moves_from_the_top_to_the_bottom_array_with_depth(lines):
    drift_time, asymmetry = _profile(lines.drift_time, lines.column("S1TBA"))
    share = 0.42 - 0.32 * drift_time * 1.67 / 600.0
    np.testing.assert_allclose(asymmetry, 2.0 * share - 1.0, atol=0.01)


def test_squared_width_of_s2_grows_linearly_with_drift_time_as_diffusion_says():
    rng = np.random.default_rng(22)
    drift_time = np.linspace(50.0, 350.0, 7)
    clouds = Clouds(np.full(4_200, 300), DETECTOR.spread(np.repeat(drift_time, 600)), np.zeros(4_200))
    candidates = recoils("ER", np.full(4_200, 5.0), DETECTOR, rng)
    events = respond(type(candidates)(candidates.hits, clouds, candidates.drift_time), DETECTOR, rng)
    squared = (events.column("wS2") ** 2).reshape(7, 600).mean(axis=1)
    slope, offset = np.polyfit(drift_time, squared, 1)
    residual = squared - (slope * drift_time + offset)
    # Of a Gaussian, FWHM² = 8 ln 2 σ² and σ² = 2 D t / v²; the box of the gas gap bends this by a few per cent.
    expected = 8.0 * np.log(2.0) * 2.0 * 18e-4 / 1.67**2
    linearity = 1.0 - residual.var() / squared.var()
    print(f"wS2²: slope {slope:.5f}, diffusion alone {expected:.5f} µs, R² {linearity:.5f}")
    assert linearity > 0.995
    assert slope == pytest.approx(expected, rel=0.15)


def test_single_electrons_have_the_gain_and_the_width_of_the_detector():
    n = 20_000
    pulses = electroluminescence(Clouds(np.ones(n, int), np.full(n, 0.4), np.zeros(n)), DETECTOR, np.random.default_rng(23))
    charge = pulses.waveform.sum(axis=1)
    print(f"single electron: {charge.mean():.2f} ± {charge.std():.2f} PE")
    assert charge.mean() == pytest.approx(23.5, rel=0.01)
    assert charge.std() == pytest.approx(6.5, rel=0.03)


def test_light_in_the_gas_is_the_explicit_convolution_with_a_box_and_a_tail():
    rng = np.random.default_rng(24)
    entering = rng.poisson(0.3, (5, N_BINS)).astype(float)
    box = np.ones(15) / 15.0  # 0.75 µs in bins of 50 ns
    keep = np.exp(-BIN / 0.100)
    tail = (1.0 - keep) * keep ** np.arange(N_BINS)
    slow = np.array([np.convolve(np.convolve(row, box), tail)[:N_BINS] for row in entering])
    np.testing.assert_allclose(gas_light(entering, DETECTOR), slow, atol=1e-10)


def test_bottom_hits_follow_the_solid_angle_pattern_of_their_own_vertex():
    vertices = Vertices(np.array([0.0, 200.0]), np.array([0.0, -50.0]), np.array([400.0, 80.0]))
    n = 60_000
    hits = light("NR", np.array([n, n]), np.zeros(2), vertices, DETECTOR, np.random.default_rng(25))
    pattern = bottom_pattern(vertices, DETECTOR)
    np.testing.assert_allclose(pattern.sum(axis=1), 1.0, atol=1e-12)
    for k in range(2):
        seen = np.bincount(hits.channel[hits.signal == k], minlength=55)
        chi2 = float(((seen - n * pattern[k]) ** 2 / (n * pattern[k])).sum())
        assert chi2 < 54 + 5 * np.sqrt(2 * 54)
    nearest = np.argmin(((pmt_positions(80.0) - [200.0, -50.0]) ** 2).sum(axis=1))
    assert pattern[1].argmax() == nearest


def test_tubes_form_a_hexagonal_array_of_full_shells():
    tubes = pmt_positions(80.0)
    assert tubes.shape == (55, 2)
    np.testing.assert_allclose(tubes.mean(axis=0), 0.0, atol=1e-9)
    distance = np.linalg.norm(tubes[:, None] - tubes[None], axis=2)
    assert distance[distance > 0].min() == pytest.approx(80.0)
    turn = np.array([[0.5, -np.sqrt(0.75)], [np.sqrt(0.75), 0.5]])
    assert {tuple(p) for p in np.round(tubes @ turn.T, 6) + 0.0} == {tuple(p) for p in np.round(tubes, 6) + 0.0}


def test_photon_times_have_the_mean_of_their_singlet_and_triplet():
    rng = np.random.default_rng(26)
    vertices = Vertices(np.zeros(1), np.zeros(1), np.full(1, 300.0))
    for species, mean in (("NR", 0.5 * 4.0 + 0.5 * 26.0), ("ER", 0.15 * 4.0 + 0.85 * 34.0)):
        hits = light(species, np.array([80_000]), np.full(1, 0.3), vertices, DETECTOR, rng)
        assert hits.time.mean() == pytest.approx(mean, rel=0.02)
        assert hits.charge.mean() == pytest.approx(1.21, rel=0.01)


def test_an_s1_without_coincidence_or_an_s2_without_electrons_is_not_detectable():
    rng = np.random.default_rng(27)
    candidates = recoils("NR", np.full(2_000, 1.5), DETECTOR, rng)
    seen = detectable(candidates, DETECTOR)
    assert 0 < seen.sum() < 2_000
    kept = candidates.select(seen)
    assert kept.hits.count.min() >= 2
    assert kept.clouds.electrons.min() >= 1
    np.testing.assert_allclose(kept.hits.total, candidates.hits.total[seen])
