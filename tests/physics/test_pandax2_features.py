"""The thirteen features: slow, obvious twins, limits, and one implementation for every class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raresearch.experiments.pandax2 import events as chain
from raresearch.experiments.pandax2.detector import Detector
from raresearch.experiments.pandax2.features import COLUMN, FEATURES, central_width, features, full_width, s1_waveform, smear
from raresearch.experiments.pandax2.s1 import Hits
from raresearch.experiments.pandax2.s2 import N_BINS, Pulses
from raresearch.experiments.pandax2.simulator import Settings

DETECTOR = Detector()
TABLE_1 = ["qS1", "qS2", "qS1c", "qS2c", "wS1", "wS2", "wtenS2", "S1TBA", "S2TBA", "S2SY1", "S2SY2"]
TABLE_1 += ["S1NPeaks", "S1LargestBCQ"]


def test_columns_are_those_of_table_1_in_its_order():
    assert list(FEATURES) == TABLE_1


def _slow_s1(times, charges, channels):
    """wS1, S1TBA, S1NPeaks, S1LargestBCQ of one signal, bin by bin."""
    wave = [0.0] * 128
    for t, q in zip(times, charges, strict=True):
        k = min(max(int((t + 60.0) // 10.0), 1), 126)
        for offset, share in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            wave[k + offset] += share * q
    total = sum(wave)

    def crossing(level):
        passed = 0.0
        for k, q in enumerate(wave):
            if passed + q >= level * total:
                return k + (level * total - passed) / q
            passed += q
        raise AssertionError("never crossed")

    peaks = sum(wave[k] > wave[k - 1] and wave[k] >= wave[k + 1] and wave[k] > 0.1 for k in range(1, 127))
    top = sum(q for q, c in zip(charges, channels, strict=True) if c >= 55)
    tubes = {c: 0.0 for c in channels if c < 55}
    for q, c in zip(charges, channels, strict=True):
        if c < 55:
            tubes[c] += q
    return 10.0 * (crossing(0.9) - crossing(0.1)), (2 * top - total) / total, peaks, max(tubes.values(), default=0.0) / total


def _slow_width(wave, fraction):
    level = fraction * max(wave)
    above = [k for k, v in enumerate(wave) if v >= level]
    first, last = above[0], above[-1]
    left = (wave[first] - level) / (wave[first] - wave[first - 1]) if first > 0 else 0.0
    right = (wave[last] - level) / (wave[last] - wave[last + 1]) if last < len(wave) - 1 else 0.0
    return last - first + left + right


def _hits(n, rng):
    counts = rng.integers(2, 30, n)
    signal = np.repeat(np.arange(n), counts)
    m = len(signal)
    return Hits(n, signal, rng.exponential(80.0, m), rng.uniform(0.1, 2.5, m), rng.integers(0, 110, m))


def test_s1_features_equal_their_slow_twins():
    rng = np.random.default_rng(31)
    hits = _hits(200, rng)
    got = features(hits, Pulses(np.ones((200, N_BINS)), np.ones(200)), np.full(200, 100.0), DETECTOR)
    for k in range(200):
        own = hits.signal == k
        slow = _slow_s1(hits.time[own].tolist(), hits.charge[own].tolist(), hits.channel[own].tolist())
        fast = [got[k, COLUMN[name]] for name in ("wS1", "S1TBA", "S1NPeaks", "S1LargestBCQ")]
        np.testing.assert_allclose(fast, slow, atol=1e-9)


def test_s2_features_equal_their_slow_twins():
    rng = np.random.default_rng(32)
    waves = rng.poisson(3.0 * np.exp(-0.5 * ((np.arange(N_BINS) - 90) / rng.uniform(5, 25, (100, 1))) ** 2)).astype(float)
    waves[:, 90] += 1.0
    got = features(_hits(100, rng), Pulses(waves, 0.6 * waves.sum(axis=1)), np.full(100, 100.0), DETECTOR)
    for k, wave in enumerate(waves):
        smooth = (np.convolve(np.convolve(wave, np.ones(5), "same"), np.ones(5), "same") / 25.0).tolist()
        slow = [
            0.05 * _slow_width(smooth, 0.5),
            0.05 * _slow_width(smooth, 0.1),
            0.2,
            sum(wave[: int(np.argmax(wave))]) / sum(wave),
            sum(smooth[: int(np.argmax(smooth))]) / sum(smooth),
        ]
        fast = [got[k, COLUMN[name]] for name in ("wS2", "wtenS2", "S2TBA", "S2SY1", "S2SY2")]
        np.testing.assert_allclose(fast, slow, atol=1e-6)


def test_widths_of_a_gaussian_have_their_closed_forms():
    sigma = 12.0
    wave = np.exp(-0.5 * ((np.arange(N_BINS) - 96.3) / sigma) ** 2)[None, :]
    assert full_width(wave, 0.5)[0] == pytest.approx(2.0 * np.sqrt(2.0 * np.log(2.0)) * sigma, rel=0.005)
    assert full_width(wave, 0.1)[0] == pytest.approx(2.0 * np.sqrt(2.0 * np.log(10.0)) * sigma, rel=0.005)
    assert central_width(wave, 0.1, 0.9)[0] == pytest.approx(2.0 * 1.2815516 * sigma, rel=0.005)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 50.0))
def test_shapes_do_not_depend_on_the_scale_of_charge(seed, scale):
    rng = np.random.default_rng(seed)
    wave = rng.random((3, 128)) ** 4
    np.testing.assert_allclose(full_width(scale * wave, 0.5), full_width(wave, 0.5), rtol=1e-9)
    np.testing.assert_allclose(central_width(scale * wave, 0.1, 0.9), central_width(wave, 0.1, 0.9), rtol=1e-9)


def test_waveform_and_smearing_keep_charge():
    rng = np.random.default_rng(33)
    hits = _hits(50, rng)
    np.testing.assert_allclose(s1_waveform(hits).sum(axis=1), hits.total)
    wave = np.zeros((1, N_BINS))
    wave[0, 60:80] = 7.0
    assert smear(wave).sum() == pytest.approx(140.0)


def test_a_signal_without_charge_gives_zeros_and_no_nan():
    empty = Hits(2, np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0, int))
    got = features(empty, Pulses(np.zeros((2, N_BINS)), np.zeros(2)), np.array([60.0, 300.0]), DETECTOR)
    np.testing.assert_array_equal(got, 0.0)


@pytest.mark.parametrize("source", [0, 1, 2], ids=["ACC", "NR", "ER"])
def test_every_class_gets_its_features_from_the_one_function(source, monkeypatch):
    monkeypatch.setattr(chain, "features", lambda hits, pulses, drift_time, detector: np.full((hits.n, 13), 321.0))
    events = chain.throw(Settings.of({}).sources()[source], 200, DETECTOR, np.random.default_rng(34))
    assert len(events.drift_time) > 0
    assert (events.features == 321.0).all()
