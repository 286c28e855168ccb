"""The pictures: slow twins of the drawing, range and layout, what they show and what they must not tell."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.errors import SpaceError
from raresearch.experiments.xenon1t import discs
from raresearch.experiments.xenon1t.experiment import Xenon1T, Xenon1TWide
from raresearch.experiments.xenon1t.lines import covered, draw_peak, strip_ranges
from raresearch.experiments.xenon1t.panels import LAYOUTS, Panel
from raresearch.experiments.xenon1t.pmts import OFF, bottom_positions
from raresearch.experiments.xenon1t.simulator import OBSERVERS, simulate
from raresearch.experiments.xenon1t.waveforms import Waveforms

WIDE = LAYOUTS["hitpeak100"].pixels


def events(image, n=600, seed=1, **data):
    config = {"data.image": image, **{f"data.{k}": v for k, v in data.items()}}
    return simulate(config, np.random.default_rng(seed), n, WIDE)


def pictures(found, image):
    layout = LAYOUTS[image]
    return found["image"][:, :, : layout.pixels].reshape(-1, 3, *layout.shape)


def auc(scores, label):
    """Area under the ROC curve by ranks, ties count half."""
    both = np.sort(scores)
    low, high = np.searchsorted(both, scores, "left"), np.searchsorted(both, scores, "right")
    rank = 0.5 * (low + high + 1)
    n1 = label.sum()
    return (rank[label].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(label) - n1))


@pytest.fixture(scope="module", params=["hit", "peak", "hitpeak"])
def sample(request):
    found = events(request.param)
    return request.param, found, pictures(found, request.param)


def test_pictures_are_eight_bits_on_white_with_the_paper_s_shapes(sample):
    name, found, image = sample
    assert image.dtype == np.uint8
    assert image.shape[2:] == {"hit": (50, 100), "peak": (50, 100), "hitpeak": (75, 75)}[name]
    assert image.max() == 255
    assert image.min() < 200
    assert np.median(image) == 255
    assert (found["image"][:, :, LAYOUTS[name].pixels :] == 0).all()


def test_border_pixels_tell_nothing_of_the_class(sample):
    _, found, image = sample
    edge = np.ones(image.shape[2:], dtype=bool)
    edge[1:-1, 1:-1] = False
    border = image[..., edge].reshape(len(image), -1).astype(float)
    changing = np.flatnonzero(border.std(axis=0) > 0.0)
    assert auc(border.sum(axis=1), found["class"] == 1) == 0.5
    assert len(changing) == 0


def test_no_single_pixel_decides(sample):
    _, found, image = sample
    flat = image.reshape(len(image), -1)
    areas = [auc(flat[:, p], found["class"] == 1) for p in np.flatnonzero(flat.std(axis=0) > 0.0)]
    print(f"single pixels: AUC {min(areas):.3f} … {max(areas):.3f}")
    # An image that carries its label in one pixel would reach 1; heights of pulses do tell something.
    assert max(max(areas), 1 - min(areas)) < 0.9


def test_both_classes_are_there_in_their_shares(sample):
    assert np.bincount(sample[1]["class"]).tolist() == [300, 300]
    assert np.bincount(events("hit", 100, fraction_wimp=0.1)["class"]).tolist() == [90, 10]


def test_every_kind_of_picture_shows_the_same_events(sample):
    _, found, _ = sample
    other = events("hitpeak100", 600)
    for name in ("class", *OBSERVERS):
        np.testing.assert_array_equal(found[name], other[name])
    hit, both = pictures(events("hit", 60), "hit"), pictures(events("hitpeak100", 60), "hitpeak100")
    np.testing.assert_array_equal(hit, both[:, :, :50])
    np.testing.assert_array_equal(pictures(events("peak", 60), "peak"), both[:, :, 50:])


def test_the_same_stream_draws_the_same_pictures_whatever_chunk_they_fall_into():
    first, again = events("hitpeak", 300, seed=7), events("hitpeak", 300, seed=7)
    for name, column in first.items():
        np.testing.assert_array_equal(column, again[name])
    assert not np.array_equal(first["image"], events("hitpeak", 300, seed=8)["image"])


def test_observers_are_finite_and_lie_in_the_detector(sample):
    _, found, _ = sample
    assert all(np.isfinite(found[name]).all() and found[name].shape == (600,) for name in OBSERVERS)
    assert found["r"].max() < 39.85
    assert -83.45 <= found["z"].min() <= found["z"].max() <= -13.45
    er = found["class"] == 0
    # Electron recoils keep their energy in quanta: the combined scale reaches the spectrum's 15 keV and little more.
    assert 13.0 < np.quantile(found["energy"][er], 0.98) < 17.0


def test_a_picture_without_events_is_no_mistake():
    assert events("hitpeak", 0)["image"].shape == (0, 3, WIDE)


def test_wrong_settings_are_refused_by_name():
    with pytest.raises(SpaceError, match=r"data\.image: 'hitpaek'"):
        events("hitpaek", 5)
    with pytest.raises(SpaceError, match="xenon1t_wide"):
        Xenon1T().simulate({"data.image": "hitpeak100"}, np.random.default_rng(0), 5)
    with pytest.raises(SpaceError, match=r"data\.fraction_wimp"):
        events("hit", 5, fraction_wimp=1.5)
    with pytest.raises(SpaceError, match=r"data\.fiducial_bottom"):
        events("hit", 5, fiducial_bottom=10.0)
    with pytest.raises(SpaceError, match=r"data\.halo_escape"):
        events("hit", 5, halo_escape=200.0)
    assert Xenon1TWide().schema().tensors[0].shape == (3, 10_000)


def slow_bar(upper, lower, rows):
    return [max(0.0, min(lower, r + 1) - max(upper, r)) for r in range(rows)]


def test_the_ink_of_bars_is_what_each_row_overlaps():
    rng = np.random.default_rng(3)
    upper = rng.uniform(0.0, 9.0, (5, 12))
    upper[0, :3], length = (0.0, 4.0, 8.5), rng.uniform(0.0, 5.0, (5, 12))
    lower = np.minimum(upper + length, 9.0)
    column, weight = np.repeat(np.arange(3), 4), np.tile([0.25, 0.25, 0.2, 0.3], 3)
    ink = covered(upper, lower, column, weight, rows=9)
    for event in range(5):
        for q in range(3):
            bars = [weight[s] * np.array(slow_bar(upper[event, s], lower[event, s], 9)) for s in range(4 * q, 4 * q + 4)]
            np.testing.assert_allclose(ink[event, :, q], np.sum(bars, axis=0), atol=1e-12)


def test_a_strip_spans_every_sample_that_the_line_passes_in_it():
    rng = np.random.default_rng(4)
    samples = rng.random((3, 40))
    samples[:, [0, -1]] = 0.0
    left, right = np.array([-3, 5, 10]), np.array([45, 30, 12])
    edges = np.linspace(0.0, 1.0, 17)
    lowest, highest = strip_ranges(samples, left, right, edges)
    for event in range(3):
        for s in range(16):
            ends = [np.ceil(left[event] + e * (right[event] - left[event])) for e in edges[s : s + 2]]
            passed = [samples[event, min(max(int(i), 0), 39)] for i in np.arange(ends[0], ends[1] + 1)]
            assert (lowest[event, s], highest[event, s]) == (min(passed), max(passed))


def test_a_square_pulse_is_drawn_where_the_axes_say():
    # 9 PE a sample: log10((9 + 1) / 0.9) of log10(100 / 0.9) above the lower edge
    samples = np.zeros((1, 200))
    samples[0, 80:120] = 9.0
    image = np.ones((1, 3, 50, 50), dtype=np.float32)
    pulse = Waveforms(samples, np.array([80]), np.array([119]))
    draw_peak(image, pulse, np.array([60]), np.array([140]), Panel(0.0, 0.0, 50.0))
    ink = 1.0 - image[0, 0]
    row = 49.0 - 48.0 * np.log(10 / 0.9) / np.log(100 / 0.9)
    assert ink[:, 25].argmax() == int(row)
    baseline = 49.0 - 48.0 * np.log(1 / 0.9) / np.log(100 / 0.9)
    assert ink[:, 3].argmax() == int(baseline)
    # The line is as thick as it should be wherever it is level.
    assert ink[:, 25].sum() == pytest.approx(0.0052 * 50, abs=1e-5)
    assert ink[:, 3].sum() == pytest.approx(0.0052 * 50, abs=1e-5)


def test_pulses_beyond_the_axis_are_cut_at_its_edge():
    samples = np.zeros((1, 200))
    samples[0, 80:120] = 1e4
    image = np.ones((1, 3, 50, 50), dtype=np.float32)
    draw_peak(
        image, Waveforms(samples, np.array([80]), np.array([119])), np.array([60]), np.array([140]), Panel(0.0, 0.0, 50.0)
    )
    assert (image[0, :, 0] == 1.0).all()
    assert (image[0, :, :, 25] == 1.0).all()


def test_a_disc_has_its_area_and_its_charge_s_colour():
    panel = LAYOUTS["hit"].hits[0]
    image = np.ones((1, 3, 50, 100), dtype=np.float32)
    charges = np.zeros((1, 121))
    charges[0, 60] = 100.0
    discs.draw_hits(image, (charges, np.zeros((1, 127))), LAYOUTS["hit"].hits)
    left, right, top, bottom = panel.axes
    scale = (right - left) / (2 * discs.HALF_WIDTH)
    lost = 1.0 - image[0]
    # 100 PE lie 0.6 up the scale from 0.1 to 10,000: the colour map's 153rd of 256, RGB 34, 168, 132
    ink = discs.OPACITY * (1.0 - np.array([34, 168, 132]) / 255)
    np.testing.assert_allclose(lost.sum(axis=(1, 2)), ink * np.pi * (3.0 * scale) ** 2, rtol=0.05)
    assert (lost.max(axis=(1, 2)) <= ink * 1.03).all()
    rows, columns = np.nonzero(lost[0])
    x, y = bottom_positions()[60]
    assert columns.mean() + 0.5 == pytest.approx(0.5 * (left + right) + x * scale, abs=0.3)
    assert rows.mean() + 0.5 == pytest.approx(0.5 * (top + bottom) - y * scale, abs=0.3)


def test_the_colour_map_is_matplotlib_s_viridis():
    matplotlib = pytest.importorskip("matplotlib")
    table = matplotlib.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]
    ours = 1.0 - discs._ink_table()[:256] / discs.OPACITY
    assert np.abs(ours - table).max() < 0.025  # with an opacity of 0.4 two and a half of 255 levels


def test_discs_do_not_overlap_in_any_pixel():
    for name in ("hit", "hitpeak"):
        layout = LAYOUTS[name]
        for array, panel in zip(("bottom", "top"), layout.hits, strict=True):
            _, cover = discs._discs(array, panel, layout.shape)
            assert cover.sum(axis=0).max() <= 1.0 + 1e-6


def test_tubes_that_are_off_stay_white():
    image = pictures(events("hit", 300), "hit")
    off = [t - 127 for t in OFF if t >= 127]
    pixels, cover = discs._discs("bottom", LAYOUTS["hit"].hits[0], (50, 100))
    only_off = pixels[(cover[off].max(axis=0) > 0.9)]
    assert len(only_off)
    assert (image.reshape(300, 3, -1)[..., only_off] == 255).all()
