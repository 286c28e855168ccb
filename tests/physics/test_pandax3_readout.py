"""Drift, pulses and images: closed forms, slow twins, and what a block of events must keep."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.experiments.pandax3.detector import FULL, Q_VALUE, SIDE, Gas, Tpc
from raresearch.experiments.pandax3.readout import build_readout, collect, digitise, drift, frame
from raresearch.experiments.pandax3.simulator import Settings, filled, simulate

READOUT = build_readout(Gas(), Tpc())
SILENT = READOUT._replace(noise=0.0)


@pytest.mark.parametrize("z", [30.0, 110.0])
def test_a_point_spreads_by_the_diffusion_coefficients(z):
    # the error of a standard deviation is sd / sqrt(2 n): .4 % of 15,000 packets a plane
    packets = np.empty((30_000, 3))
    point = np.array([[1.0, -2.0, z, 30_000.5]])
    made = drift(point, 1, READOUT, packets, np.random.default_rng(1))
    assert made == 30_000
    for plane, place in ((0, 1.0), (1, -2.0)):
        mine = packets[packets[:, 0] == plane]
        assert len(mine) == pytest.approx(15_000, abs=4 * np.sqrt(7_500))
        assert mine[:, 1].mean() == pytest.approx(place, abs=0.01)
        assert mine[:, 1].std() == pytest.approx(1.0e-2 * np.sqrt(z), rel=0.03)
    assert packets[:, 2].std() == pytest.approx(1.5e-2 * np.sqrt(z), rel=0.03)


def test_charge_after_the_window_is_not_in_the_energy():
    # 82.4 us at 1.87 mm/us: 15.41 cm
    packets = np.array([[0, 0.0, 10.0], [1, 0.0, 10.0 + 15.40], [1, 0.0, 10.0 + 15.42]])
    charge = np.zeros((2, 535, 52))
    energy, low, high = collect(packets, 3, READOUT, charge)
    assert energy == charge.sum() == 2.0
    assert low == high == int(80.0 / 0.3)


def test_the_pulse_is_the_published_kernel():
    # a prototype's kernel by pixel of 1.604 us
    known = [0.01, 0.27, 0.76, 1.0, 0.89, 0.62, 0.35, 0.16, 0.05]
    np.testing.assert_allclose(READOUT.pulse[:9], known, atol=0.02)


def charges(rng):
    charge = np.zeros((2, 535, 52))
    for _ in range(60):
        charge[rng.integers(2), rng.integers(200, 230), rng.integers(52)] += rng.uniform(0, 60)
    return charge


def test_digitising_is_the_slow_twin_s():
    charge = charges(np.random.default_rng(2))
    counts = np.full((2, 535, 64), np.nan)
    hits = digitise(charge, 195, 235, SILENT, counts, np.random.default_rng(3))
    for plane in range(2):
        for strip in range(195, 236):
            amplitude = np.convolve(charge[plane, strip], READOUT.pulse)[:64]
            amplitude = np.append(amplitude, np.zeros(64 - len(amplitude)))
            expected = np.floor(np.minimum(1.0, amplitude / READOUT.full_scale) * FULL + 0.5)
            np.testing.assert_array_equal(counts[plane, strip], np.where(amplitude >= READOUT.threshold, expected, 0))
    assert hits == (counts[:, 195:236] > 0).sum()


def test_noise_and_threshold_are_those_of_the_electronics():
    # 10 ADC counts of 4096 for 250 keV: .61 keV, 5 of them suppress
    assert READOUT.noise == pytest.approx(10 / 4096 * 250)
    assert READOUT.threshold == pytest.approx(5 * READOUT.noise)
    assert READOUT.smear * np.sqrt(8 * np.log(2)) / Q_VALUE == pytest.approx(0.03)


def test_each_plane_has_its_centre_of_charge_in_the_middle():
    counts = np.zeros((2, 535, 64))
    digitise(charges(np.random.default_rng(4)), 195, 235, SILENT, counts, np.random.default_rng(5))
    image = np.zeros((2, SIDE, SIDE), np.uint8)
    assert frame(counts, 195, 235, image) == 1.0
    place = np.arange(SIDE)
    for plane, whole in zip(image.astype(float), counts[:, 195:236], strict=True):
        assert plane.sum() == whole.sum()
        for axis in (0, 1):
            assert plane.sum(axis=1 - axis) @ place / plane.sum() == pytest.approx(SIDE / 2, abs=0.5)


@pytest.fixture(scope="module")
def sample():
    return simulate({}, np.random.default_rng(6), 600)


def test_accepted_events_lie_in_the_region_of_interest(sample):
    assert sample["energy"].min() >= 2395.0
    assert sample["energy"].max() <= 2520.0
    assert sample["contained"].min() >= 0.3
    assert np.bincount(sample["class"]).tolist() == [150, 150, 300]


def test_other_events_in_between_change_nothing(sample):
    simulate({}, np.random.default_rng(7), 30)
    again = simulate({}, np.random.default_rng(6), 600)
    for name, column in sample.items():
        np.testing.assert_array_equal(column, again[name])


def test_the_share_of_accepted_throws_is_a_prototype_s():
    # signal .637, 214Bi .032, 208Tl .0105 of forced interactions, from one prototype: 15 % and the error of the number
    for name, events, known in (("0vbb", 400, 0.637), ("Bi214", 200, 0.032), ("Tl208", 100, 0.0105)):
        throws = filled(name, Settings.of({}), np.random.default_rng(8), events)[2]
        assert events / throws == pytest.approx(known, rel=0.15 + 3 / np.sqrt(events) * (name != "0vbb"))


def test_charge_of_signal_and_background_is_alike(sample):
    # the energy must tell little: both are in the same window, and images are divided by their charge
    energy, signal = sample["energy"], sample["class"] == 2
    above = (energy[signal][:, None] > energy[~signal][None, :]).mean()
    assert 0.4 < above < 0.75
