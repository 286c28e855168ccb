"""Accidental coincidences: their number, and that their two signals know nothing of each other."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.errors import SpaceError
from raresearch.experiments.pandax2.accidental import MIXTURES, expected_accidentals, mixture
from raresearch.experiments.pandax2.detector import Detector
from raresearch.experiments.pandax2.events import detectable, respond, throw
from raresearch.experiments.pandax2.simulator import Settings

DETECTOR = Detector()
S1_FEATURES = ("qS1", "wS1", "S1TBA", "S1NPeaks", "S1LargestBCQ")
S2_FEATURES = ("qS2", "wS2", "wtenS2", "S2TBA", "S2SY1", "S2SY2")


def test_number_of_accidentals_is_that_of_pairing_two_poisson_streams():
    rng = np.random.default_rng(41)
    r1, r2, window, live_time = 20.0, 5.0, 300e-6, 2.0e5
    s1 = np.sort(rng.uniform(0.0, live_time, rng.poisson(r1 * live_time)))
    s2 = rng.uniform(0.0, live_time, rng.poisson(r2 * live_time))
    pairs = np.searchsorted(s1, s2) - np.searchsorted(s1, s2 - window)
    kept = rng.random(int(pairs.sum())) < 0.8
    expected = expected_accidentals(r1, r2, window, live_time, efficiency=0.8)
    print(f"pairs {kept.sum()}, expected {expected:.0f}")
    assert abs(kept.sum() - expected) < 4.0 * np.sqrt(expected)


def test_half_the_efficiency_or_half_the_window_is_half_the_accidentals():
    full = expected_accidentals(2.0, 0.01, 3e-4, 1e7, 0.9)
    assert expected_accidentals(2.0, 0.01, 3e-4, 1e7, 0.45) == pytest.approx(full / 2)
    assert expected_accidentals(2.0, 0.01, 1.5e-4, 1e7, 0.9) == pytest.approx(full / 2)
    assert expected_accidentals(0.0, 0.01, 3e-4, 1e7) == 0.0


def _uncut(candidates, rng):
    return respond(candidates.select(detectable(candidates, DETECTOR)), DETECTOR, rng)


@pytest.mark.parametrize("name", ["I", "II"])
def test_s1_and_s2_of_an_accidental_pair_are_uncorrelated(name):
    rng = np.random.default_rng(42)
    source = Settings.of({"data.accidental_mixture": name}).sources()[0]
    parts = [_uncut(source.candidates(10_000, rng), rng) for _ in range(5)]
    s1 = np.stack([np.concatenate([events.column(f) for events in parts]) for f in S1_FEATURES])
    s2 = np.stack([np.concatenate([events.column(f) for events in parts]) for f in S2_FEATURES])
    correlation = np.corrcoef(s1, s2)[: len(S1_FEATURES), len(S1_FEATURES) :]
    print(f"mixture {name}: largest |corr(S1, S2)| {np.abs(correlation).max():.4f}")
    assert np.abs(correlation).max() < 0.02


def test_width_of_s2_knows_the_apparent_drift_time_in_physical_events_only():
    rng = np.random.default_rng(43)
    accidental, nuclear, electron = (throw(source, 8_000, DETECTOR, rng) for source in Settings.of({}).sources())
    found = {name: _width_correlation(e) for name, e in (("ACC", [accidental]), ("NR", [nuclear]), ("ER", [electron]))}
    found["NR and ER"] = _width_correlation([nuclear, electron])
    print("corr(wS2, ln qS2c/qS2):", {k: round(v, 3) for k, v in found.items()})
    assert found["NR and ER"] > 0.5
    assert found["NR"] > 0.45  # few electrons measure a width badly
    assert abs(found["ACC"]) < 0.05


def _width_correlation(samples):
    width = np.concatenate([e.column("wS2") for e in samples])
    correction = np.concatenate([np.log(e.column("qS2c") / e.column("qS2")) for e in samples])
    return float(np.corrcoef(width, correction)[0, 1])


def test_apparent_drift_times_of_accidentals_fill_the_fiducial_window_uniformly():
    drift_time = Settings.of({}).sources()[0].candidates(20_000, np.random.default_rng(44)).drift_time
    counts, _ = np.histogram(drift_time, bins=10, range=(50.0, 350.0))
    assert counts.sum() == 20_000
    assert ((counts - 2_000) ** 2 / 2_000).sum() < 9 + 5 * np.sqrt(18)


def test_shares_of_a_mixture_sum_to_one_and_dark_pile_up_has_three_hits():
    for shares in MIXTURES.values():
        assert sum(shares.s1) == pytest.approx(1.0)
        assert sum(shares.s2) == pytest.approx(1.0)
    candidates = Settings.of({}).sources()[0].candidates(3_000, np.random.default_rng(45))
    # 45 % are dark pile-up with at least three hits, of 2 + Geometric(0.55): mean 3.82
    assert (candidates.hits.count >= 3).mean() > 0.75


def test_an_unknown_mixture_is_named_with_those_that_exist():
    with pytest.raises(SpaceError, match=r"data.accidental_mixture: 'III'.*II"):
        mixture("III")
