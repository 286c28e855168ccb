"""Tracks, grains and plasmons against published ranges, closed forms and slow twins. Sources stand beside each number."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.experiments.newsdm.emulsion import Crystals, Grains, Ions, Silver
from raresearch.experiments.newsdm.filaments import Filaments, grow, summed
from raresearch.experiments.newsdm.plasmon import depolarisation, intensities, polarisability, polariser_angles, response
from raresearch.experiments.newsdm.tracks import Tracks, carbon, ends, fog, rotated

SILVER = Silver()


# -- ions


@pytest.mark.parametrize(
    # SRIM-type ranges of C in NIT: 93-96 nm (sd 42, lateral 45) and 298-303 nm (sd 99, lateral 115)
    ("energy", "between", "sd", "lateral"),
    [(30.0, (93.0, 96.0), 42.0, 45.0), (100.0, (298.0, 303.0), 99.0, 115.0)],
)
def test_carbon_ends_where_its_range_says(energy, between, sd, lateral):
    end = ends(np.full(200_000, energy), Ions(), np.random.default_rng(1))
    assert between[0] < end[:, 0].mean() < between[1]
    assert end[:, 0].std() == pytest.approx(sd, rel=0.01)
    assert end[:, 1].mean() == pytest.approx(0.0, abs=1.0)
    assert end[:, 1].std() == pytest.approx(lateral, rel=0.01)
    assert end[:, 2].std() == pytest.approx(lateral, rel=0.01)


def test_straight_tracks_hit_a_crystal_every_88_nm():
    # a track of length l from a random phase meets l / spacing crystals on average; all develop at sensitivity 1
    ions = Ions(range_100=300.0, range_100_sd=1e-9, lateral_100=1e-9)
    tracks = carbon(np.full(20_000, 100.0), ions, Crystals(sensitivity=1.0), np.random.default_rng(2))
    assert len(tracks.event) / 20_000 == pytest.approx(300.0 / 88.0, rel=0.005)


def test_a_track_s_grains_lie_between_its_ends_and_within_a_crystal_s_radius_of_it():
    ions = Ions(range_100=300.0, range_100_sd=1e-9, lateral_100=1e-9)
    tracks = carbon(np.full(2_000, 100.0), ions, Crystals(), np.random.default_rng(3))
    assert tracks.place[:, 0].min() >= 0.0
    assert tracks.place[:, 0].max() <= 300.0
    beside = np.hypot(tracks.place[:, 1], tracks.place[:, 2])
    assert beside.max() <= 37.5
    assert np.mean(beside**2) == pytest.approx(37.5**2 / 2, rel=0.05)  # evenly over the disc


def test_every_track_that_is_seen_has_a_grain():
    tracks = carbon(np.full(3_000, 30.0), Ions(), Crystals(), np.random.default_rng(4))
    assert np.array_equal(np.unique(tracks.event), np.arange(3_000))
    assert np.all(np.diff(tracks.event) >= 0)


def test_longer_tracks_have_more_grains():
    def grains(energy):
        return len(carbon(np.full(3_000, energy), Ions(), Crystals(), np.random.default_rng(5)).event) / 3_000

    assert 1.0 <= grains(30.0) < grains(100.0)


def test_fog_is_single_but_for_chance_pairs_within_their_distance():
    tracks = fog(40_000, Crystals(), np.random.default_rng(6))
    count = np.bincount(tracks.event)
    assert set(count.tolist()) == {1, 2}
    assert (count == 2).mean() == pytest.approx(0.42, abs=0.01)
    second = np.hypot(*tracks.place[:, :2].T)
    second = second[second > 0]
    assert second.max() <= 260.0
    assert np.mean(second**2) == pytest.approx(260.0**2 / 2, rel=0.03)


def test_turning_the_emulsion_turns_places_and_angles():
    start = Tracks(np.array([0, 1]), np.array([[100.0, 0.0, 5.0], [0.0, 50.0, 7.0]]), np.array([0.0, np.pi / 2]))
    turned = rotated(start, np.array([np.pi / 2, np.pi]))
    np.testing.assert_allclose(turned.place, [[0.0, 100.0, 5.0], [0.0, -50.0, 7.0]], atol=1e-9)
    np.testing.assert_allclose(turned.angle, [np.pi / 2, 3 * np.pi / 2])


# -- plasmons


def test_depolarisation_factors_add_up_to_one():
    along, across = depolarisation(np.linspace(1.0, 12.0, 400))
    np.testing.assert_allclose(along + 2 * across, 1.0, rtol=1e-12)
    assert np.all(np.diff(along) < 0)  # the longer, the less it depolarises


def test_depolarisation_of_an_aspect_of_2_2_and_of_a_sphere():
    assert depolarisation(np.array(2.2))[0] == pytest.approx(0.156, abs=5e-4)
    assert depolarisation(np.array(1.0))[0] == pytest.approx(1 / 3, abs=1e-12)


def test_depolarisation_is_the_integral_that_defines_it():
    # L = (a b²/2) ∫ ds / ((s + a²) sqrt((s + a²)(s + b²)²)), Bohren and Huffman Eq. 5.32, b = 1, s = tan²-like substitution
    for aspect in (1.0002, 1.01, 1.3, 1.65, 3.0):
        u = (np.arange(200_000) + 0.5) / 200_000
        s = u / (1 - u)
        integrand = 1.0 / ((s + aspect**2) ** 1.5 * (s + 1.0)) / (1 - u) ** 2
        assert depolarisation(np.array(aspect))[0] == pytest.approx(aspect / 2 * integrand.mean(), rel=2e-5)


def test_a_sphere_s_polarisability_is_clausius_and_mossotti_s():
    volume = 4 / 3 * np.pi * 30.0**3
    expected = 4 * np.pi * 30.0**3 * SILVER.contrast / (SILVER.contrast + 3 * SILVER.medium)
    assert polarisability(np.array(volume), np.array(1 / 3), SILVER) == pytest.approx(expected, rel=1e-12)


def test_the_resonance_lies_near_an_aspect_of_2_2():
    # ε_m + L Re(ε - ε_m) = 0 at L = .1535: the prototype's L(2.2) = .156 sits on it
    aspects = np.linspace(1.0, 4.0, 3001)
    along, _ = response(np.full(3001, 1e5), aspects, np.ones(3001), SILVER)
    assert aspects[along.argmax()] == pytest.approx(2.2, abs=0.05)


def test_one_filament_follows_the_cosine_squared():
    rng = np.random.default_rng(7)
    along, across, phi = rng.uniform(1, 9, 20), rng.uniform(0, 1, 20), rng.uniform(-np.pi, np.pi, 20)
    light = intensities(along, across, phi, polariser_angles())
    mean, half = (along + across) / 2, (along - across) / 2
    expected = mean[:, None] + half[:, None] * np.cos(2 * (polariser_angles() - phi[:, None]))
    np.testing.assert_allclose(light, expected, rtol=1e-12)


def test_brightness_is_the_slow_vector_twin_s():
    # α·E for a tilted spheroid as a 3 x 3 tensor; what is seen from above is |p_x|² + |p_y|²
    rng = np.random.default_rng(8)
    sphere = abs(polarisability(np.array(np.pi / 6 * 60.0**3), np.array(1 / 3), SILVER)) ** 2
    for _ in range(20):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        volume, aspect = rng.uniform(1e4, 1e5), rng.uniform(1.05, 3.0)
        a, b = (polarisability(np.array(volume), factor, SILVER) for factor in depolarisation(np.array(aspect)))
        tensor = b * np.eye(3) + (a - b) * np.outer(axis, axis)
        light = [np.sum(np.abs((tensor @ [np.cos(t), np.sin(t), 0.0])[:2]) ** 2) / sphere for t in polariser_angles()]
        along, across = response(np.array([volume]), np.array([aspect]), np.array([np.hypot(*axis[:2])]), SILVER)
        fast = intensities(along, across, np.array([np.arctan2(axis[1], axis[0])]), polariser_angles())
        np.testing.assert_allclose(fast[0], light, rtol=1e-10)


# -- filaments


def grown(n=4_000, is_carbon=False, grains=None, seed=9):
    event = np.arange(n)
    carbons = np.full(n, is_carbon)
    return grow(event, np.zeros((n, 3)), carbons, grains or Grains(), SILVER, np.random.default_rng(seed))


def test_grains_have_one_to_three_filaments_in_fog_and_four_to_six_on_tracks():
    for is_carbon, numbers in ((False, {1, 2, 3}), (True, {4, 5, 6})):
        count = np.bincount(grown(is_carbon=is_carbon).event)
        assert set(count.tolist()) == numbers
        assert all(abs((count == n).mean() - 1 / 3) < 0.03 for n in numbers)


def test_filaments_stay_inside_their_grain_s_sphere():
    filaments = grown(grains=Grains(fog_diameter=48.0, fog_diameter_sd=1e-9))
    assert np.hypot(filaments.x, filaments.y).max() <= 24.0 + 1e-6
    # evenly in a ball: <x²> = r²/5
    assert np.mean(filaments.x**2) == pytest.approx(24.0**2 / 5, rel=0.05)


def test_in_the_null_preset_carbon_s_grains_are_fog_s():
    null = Grains().identical()
    fogs, carbons = grown(is_carbon=False, grains=null), grown(is_carbon=True, grains=null)
    np.testing.assert_array_equal(fogs.light, carbons.light)
    assert not np.array_equal(fogs.light.shape, grown(is_carbon=True).light.shape)


def test_the_barycentre_of_one_filament_never_moves():
    one = Filaments(
        np.arange(3), np.array([0.0, 10.0, -4.0]), np.array([1.0, 2.0, 3.0]), np.random.default_rng(1).random((3, 8))
    )
    x, y = one.barycentres(3)
    np.testing.assert_allclose(np.ptp(x, axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.ptp(y, axis=1), 0.0, atol=1e-12)


def test_the_barycentre_of_two_crossed_filaments_swings_as_computed_by_hand():
    # equal filaments at ±d/2 along x, axes at 0 and 90°: x(a) = d/2 · (I1 - I2)/(I1 + I2) = d/2 · q cos 2a,
    # q = (I∥ - I⊥)/(I∥ + I⊥); its largest swing over the eight positions is d q
    d, strong, weak = 120.0, 5.0, 1.0
    light = intensities(np.full(2, strong), np.full(2, weak), np.array([0.0, np.pi / 2]), polariser_angles())
    two = Filaments(np.zeros(2, dtype=int), np.array([d / 2, -d / 2]), np.zeros(2), light)
    x, y = two.barycentres(1)
    q = (strong - weak) / (strong + weak)
    np.testing.assert_allclose(x[0], d / 2 * q * np.cos(2 * polariser_angles()), atol=1e-9)
    assert np.ptp(x[0]) == pytest.approx(d * q)
    assert np.ptp(y[0]) == 0.0


def test_aligned_filaments_do_not_move_the_barycentre():
    # "close to zero when they are aligned" (Sec. 1.2)
    light = intensities(np.array([5.0, 2.5]), np.array([1.0, 0.5]), np.zeros(2), polariser_angles())
    x, _ = Filaments(np.zeros(2, dtype=int), np.array([60.0, -60.0]), np.zeros(2), light).barycentres(1)
    assert np.ptp(x[0]) == pytest.approx(0.0, abs=1e-9)


def test_sums_over_events_are_the_loop_s():
    rng = np.random.default_rng(10)
    event = np.sort(np.r_[np.arange(7), rng.integers(0, 7, 30)])
    values = rng.random((37, 8))
    np.testing.assert_allclose(summed(values, event, 7), [values[event == k].sum(axis=0) for k in range(7)])
