"""The figures: what they show, and that drawing leaves no trace."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from raresearch.ensembles.rules import LastK
from raresearch.metrics.foms import Recall, RocAuc, Xi
from raresearch.report.build import draw as begin_all
from raresearch.report.build import finished
from raresearch.report.curves import mean_curve
from raresearch.report.encoders import Encoders
from raresearch.report.figures import by_config, classes, confusion, cut, efficiency, learning, members, repeats, roc, seeds
from raresearch.report.figures.dark import DARK, for_the_dark
from raresearch.report.figures.scale import ScoreAxis
from raresearch.report.figures.style import BACKGROUND, SIGNAL, encode, robust_ends, style
from raresearch.types import EpochTable

sys.path.append(str(Path(__file__).parent))

from test_report_store import HIDDEN, OBJECTIVE, read, synthetic_store

ALL = (
    by_config.draw,
    cut.draw,
    confusion.draw,
    repeats.draw,
    learning.draw,
    classes.spectra,
    efficiency.efficiencies,
    roc.roc,
    roc.precision_recall,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    store, labels = synthetic_store(tmp_path_factory.mktemp("study"), failed=[("4C", 0, 1)])
    return read(store, labels)


def draw_all(results):
    with Encoders(0) as encoders:
        drawn, absent = begin_all(results, encoders)
        return finished(drawn, encoders), absent


def made(draw, results):
    with style():
        return draw(results)


def texts(figure):
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text)]


@pytest.mark.parametrize("draw", ALL)
def test_a_figure_of_simulated_events_says_who_simulated_them(draw, results):
    assert "simulated by pandax2 v1" in texts(made(draw, results).figure)


@pytest.mark.parametrize("draw", ALL)
def test_a_figure_of_measured_events_claims_no_simulation(draw, tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=200, simulated=False)
    drawing = made(draw, read(store, labels))
    assert not any("simulated" in text for text in texts(drawing.figure))
    assert "simulated" not in drawing.caption


def test_drawing_changes_no_setting_and_the_same_results_give_the_same_bytes(results):
    before = dict(matplotlib.rcParams)
    pictures, absent = draw_all(results)
    assert dict(matplotlib.rcParams) == before
    assert absent == []
    again, _ = draw_all(results)
    assert [(p.png, p.svg) for p in pictures] == [(p.png, p.svg) for p in again]


def test_the_cut_figure_marks_the_threshold_of_the_best_training_and_follows_the_objective(results):
    cell = results.best_cell
    values = [c.estimates["significance"].value for c in results.cells if c.label == cell.label]
    assert cell.estimates["significance"].value == max(values)
    chosen = cell.estimates["significance"]
    figure = made(cut.draw, results).figure
    right = figure.axes[1]
    curve = next(line for line in right.lines if line.get_label() == "significance S")
    x, y = curve.get_data()
    assert y.max() == pytest.approx(chosen.value)
    assert x[np.argmax(y)] == pytest.approx(chosen.threshold)
    sample = results.sample(cell)
    at = 150
    assert y[at] == pytest.approx(OBJECTIVE(sample.scores, sample.label, sample.weight, threshold=x[at]).value)


def test_the_cut_histograms_hold_every_event_of_the_two_classes(results):
    sample = results.sample(results.best_cell)
    left = made(cut.draw, results).figure.axes[0]
    stairs = {p.get_label(): p.get_data().values for p in left.patches if p.get_label() in ("signal", "background")}
    assert stairs["signal"].sum() == (sample.label == 1).sum()
    assert stairs["background"].sum() == (sample.label == 0).sum()


def test_an_objective_without_a_cut_has_no_cut_figure_and_the_page_is_told(results):
    import dataclasses

    plain = dataclasses.replace(results, objective=RocAuc(), others={})
    pictures, absent = draw_all(plain)
    assert {p.drawing.name for p in pictures} == {"objective", "repeats", "learning", "spectra", "roc", "precision"}
    assert [section for section, _ in absent] == ["selection", "selection", "efficiencies"]


def test_a_cut_that_is_fixed_in_advance_is_not_said_to_be_chosen_on_the_events(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=200)
    caption = made(cut.draw, read(store, labels, objective=Recall(), others=())).caption
    assert "fixed in advance" in caption
    assert "optimistic" not in caption
    assert "too few background" not in caption
    assert "optimistic" in made(cut.draw, read(store, labels)).caption


def test_without_observers_there_is_no_efficiency_figure(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=200, observers=False)
    assert made(efficiency.efficiencies, read(store, labels)) is None


def test_where_the_background_ran_out_the_objective_is_dotted_as_a_limit(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=80, sharp=3.0)
    figure = made(cut.draw, read(store, labels, objective=Xi(min_background=0))).figure
    assert any("lower limit" in str(line.get_label()) for line in figure.axes[1].lines)


def test_efficiencies_are_fractions_above_the_cut_slice_by_slice(results):
    cell = results.best_cell
    sample, threshold = results.sample(cell), cell.estimates["significance"].threshold
    drawing = made(efficiency.efficiencies, results)
    values = np.asarray(sample.observers["qS1c"])
    rows = [r for r in drawing.rows if r["observer"] == "qS1c" and r["class"] == "NR"]
    assert len(rows) == efficiency.SLICES
    for row in rows[:-1]:
        inside = (values >= row["from"]) & (values < row["to"]) & (sample.label == 1)
        assert row["value"] == pytest.approx((sample.scores[inside] >= threshold).mean())
        assert row["low"] <= row["value"] <= row["high"]
    assert {r["observer"] for r in drawing.rows} == {"qS1c", "qS2c"}


def test_an_objective_without_a_cut_lends_that_of_another_figure_and_says_so(results):
    import dataclasses

    names = {"rejection": results.others["rejection"]}
    plain = dataclasses.replace(results, objective=RocAuc(), others=names)
    for draw in (efficiency.efficiencies, confusion.draw):
        assert "rejection" in made(draw, plain).caption + " ".join(texts(made(draw, plain).figure))


def test_the_confusion_matrix_counts_every_event_of_every_class(results):
    sample, cell = results.sample(results.best_cell), results.best_cell
    rows = {r["name"]: r for r in made(confusion.draw, results).rows}
    assert {n: r["kept"] + r["rejected"] for n, r in rows.items()} == {
        "NR": (sample.label == 1).sum(),
        "accidental": (sample.label == 0).sum(),
        "ER (spectator)": (sample.label < 0).sum(),
    }
    kept = (sample.scores >= cell.estimates["significance"].threshold) & (sample.label == 0)
    assert rows["accidental"]["kept"] == kept.sum()
    assert rows["accidental"]["fraction"] == pytest.approx(kept.sum() / (sample.label == 0).sum())


def test_with_folds_the_confusion_matrix_holds_each_event_once_at_the_cut_of_its_fold(tmp_path):
    results = read(*synthetic_store(tmp_path, labels=("4A",), repeats=2, folds=3, n=200))
    cells = [c for c in results.cells if c.seed == results.best_cell.seed]
    rows = {r["name"]: r for r in made(confusion.draw, results).rows}
    samples = [(results.sample(c), c.estimates["significance"].threshold) for c in cells]
    assert len(samples) == 3
    assert rows["NR"]["kept"] == sum(((s.label == 1) & (s.scores >= t)).sum() for s, t in samples)
    assert rows["NR"]["kept"] + rows["NR"]["rejected"] == sum((s.label == 1).sum() for s, _ in samples)


def test_the_roc_is_the_mean_over_repeats_with_their_spread_and_the_events_interval(results):
    drawing = made(roc.roc, results)
    best = results.labels[results.ranked()[0]]
    own = [r for r in drawing.rows if r["config"] == best]
    assert [r["acceptance"] for r in own] == pytest.approx(list(roc.GRID))
    samples = [results.sample(c) for c in results.cells if c.label == best]
    row = next(r for r in own if r["acceptance"] == pytest.approx(0.8))
    passed = []
    for sample in samples:
        signal = np.sort(sample.scores[sample.label == 1])[::-1]
        threshold = signal[int(np.ceil(0.8 * len(signal) - 1e-9)) - 1]
        passed.append((sample.scores[sample.label == 0] >= threshold).mean())
    assert row["passed_mean"] == pytest.approx(np.mean(passed))
    assert row["passed_std"] == pytest.approx(np.std(passed, ddof=1))
    assert row["passed_events_low"] < row["passed_mean"] < row["passed_events_high"]
    assert row["trainings"] == len(samples)
    assert drawing.figure.axes[1].get_yscale() == "log"


def test_spectra_are_weighted_normalised_and_carry_the_error_of_each_bin(results):
    import dataclasses

    weight = np.random.default_rng(1).uniform(0.1, 2.0, len(results.sample(results.best_cell).scores))
    heavy = dataclasses.replace(results.sample(results.best_cell), weight=weight)

    class Weighted:
        def __getattr__(self, name):
            return getattr(results, name)

        def sample(self, cell):
            return heavy

    rows = [r for r in made(classes.spectra, Weighted()).rows if r["class"] == "NR"]
    assert sum(r["fraction"] for r in rows) == pytest.approx(1.0)
    signal = heavy.label == 1
    first = rows[3]
    inside = signal & (heavy.scores >= first["from"]) & (heavy.scores < first["to"])
    assert first["fraction"] == pytest.approx(weight[inside].sum() / weight[signal].sum())
    assert first["error"] == pytest.approx(np.sqrt((weight[inside] ** 2).sum()) / weight[signal].sum())


def test_seeds_are_histograms_only_of_configs_with_five_repeats(tmp_path):
    failed = [("4B", 0, 0), ("4B", 0, 1)]
    results = read(*synthetic_store(tmp_path, labels=("4A", "4B"), repeats=6, n=150, epochs=5, failed=failed))
    drawing = made(seeds.draw, results)
    assert {r["config"] for r in drawing.rows} == {"4A"}
    assert len(drawing.rows) == 6
    assert made(seeds.draw, read(*synthetic_store(tmp_path / "few", repeats=4, n=150, epochs=5))) is None


def test_members_have_bars_only_where_their_weights_differ(results):
    import dataclasses

    from raresearch.types import Member

    assert made(members.draw, results) is None
    cell = results.best_cell
    heavy = tuple(Member(cell.key, epoch, weight) for epoch, weight in ((1, 1.0), (2, 3.0)))
    weighted = dataclasses.replace(cell.ensemble, members=heavy)
    cells = tuple(dataclasses.replace(c, ensemble=weighted) if c is cell else c for c in results.cells)
    drawing = made(members.draw, dataclasses.replace(results, cells=cells))
    assert [(r["epoch"], r["weight"]) for r in drawing.rows] == [(2, 0.75), (1, 0.25)]
    assert "75.0%" in texts(drawing.figure)


@pytest.mark.parametrize("draw", ALL)
def test_every_figure_brings_its_numbers_in_rows_of_the_same_columns(draw, results):
    rows = made(draw, results).rows
    assert rows
    assert {tuple(row) for row in rows} == {tuple(rows[0])}


def test_in_the_dark_a_figure_changes_its_colours_by_a_style_sheet_and_nothing_else(results):
    with style():
        _, svg = encode(cut.draw(results).figure)
    dark = for_the_dark(svg).decode()
    begin, end = dark.index("<style>@media (prefers-color-scheme: dark)"), dark.index("}}</style>") + len("}}</style>")
    assert dark[:begin] + dark[end:] == svg.decode()
    drawn = {c for c in DARK if f": {c}" in svg.decode()}
    assert {"#ffffff", "#1f2430", SIGNAL.lower(), BACKGROUND.lower()} <= drawn


def test_text_and_lines_can_be_read_on_both_grounds():
    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    def contrast(one, two):
        high, low = sorted((luminance(one), luminance(two)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    ground = DARK["#ffffff"]
    for drawn, shown in DARK.items():
        if drawn not in ("#ffffff", "#e3e6eb"):
            assert contrast(shown, ground) >= 4.5, shown
    assert contrast(DARK["#1f2430"], ground) >= 7


def test_an_axis_leaves_out_only_what_lies_far_beyond_the_middle_half():
    values = np.array([0.90, 0.91, 0.92, 0.93, 0.2])
    low, high = robust_ends(values, np.zeros(5))
    assert 0.2 < low < 0.90
    assert high > 0.93
    assert robust_ends(values[:4], np.zeros(4)) is None


def test_signal_and_background_keep_their_colours_and_spectators_are_dashed(results):
    axes = made(classes.spectra, results).figure.axes[0]
    found = {p.get_label().split(":")[0]: p for p in axes.patches}
    assert list(found) == ["NR", "accidental", "ER (spectator)"]
    colours = [matplotlib.colors.to_hex(p.get_edgecolor()).upper() for p in found.values()]
    assert colours[:2] == [SIGNAL, BACKGROUND]
    assert len(set(colours)) == 3
    assert [p.get_linestyle() for p in found.values()] == ["-", "-", "--"]


def test_the_paper_is_drawn_with_open_markers_named_paper(results):
    upper = made(by_config.draw, results).figure.axes[0]
    (paper,) = [c for c in upper.containers if c.get_label() == "paper"]
    assert paper.lines[0].get_markerfacecolor() == "white"
    assert list(paper.lines[0].get_ydata()) == [26.85, 26.71]


def test_failed_repeats_are_counted_in_the_figure_of_repeats(results):
    assert "1×" in texts(made(repeats.draw, results).figure)


def test_many_repeats_are_points_before_one_typical_interval(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=13, n=100, epochs=4)
    axes = made(repeats.draw, read(store, labels)).figure.axes[0]
    assert any(line.get_label() == "one training" and len(line.get_xdata()) == 13 for line in axes.lines)
    assert not axes.containers


def test_more_than_24_configs_give_24_panels_of_the_best(tmp_path):
    many = {f"c{i}": (i + 1,) for i in range(26)}
    HIDDEN.update(many)
    try:
        store, labels = synthetic_store(tmp_path, labels=tuple(many), repeats=1, n=60, epochs=4)
    finally:
        for name in many:
            del HIDDEN[name]
    results = read(store, labels)
    drawing = made(learning.draw, results)
    titles = {axes.get_title() for axes in drawing.figure.axes}
    assert titles == {results.labels[c] for c in results.ranked()[:24]}
    assert "24 best of 26" in drawing.caption


def test_many_epochs_a_cell_and_folds_still_draw(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A", "4B"), repeats=2, folds=2, n=150, epochs=6)
    results = read(store, labels, rule=LastK(k=3), others=())
    with style():
        for draw in ALL:
            png, svg = encode(draw(results).figure)
            assert png.startswith(b"\x89PNG")
            assert b"<svg" in svg


def test_an_empty_study_has_nothing_to_draw(tmp_path):
    store, labels = synthetic_store(tmp_path, repeats=0)
    assert draw_all(read(store, labels)) == ([], [])


def slow_mean_curve(epochs, values):
    """The obvious twin of `mean_curve`."""
    found = []
    for epoch in sorted(set(epochs)):
        here = [v for e, v in zip(epochs, values, strict=True) if e == epoch and np.isfinite(v)]
        if here:
            found.append((epoch, np.mean(here), np.std(here, ddof=1) if len(here) > 1 else np.nan, len(here)))
    return found


@given(st.lists(st.tuples(st.integers(1, 6), st.floats(-5, 5) | st.just(float("nan"))), min_size=1, max_size=40))
def test_a_mean_curve_is_the_mean_epoch_by_epoch(points):
    epochs, values = zip(*points, strict=True)
    curve = mean_curve(EpochTable({"epoch": np.array(epochs), "val_loss": np.array(values)}), "val_loss")
    twin = slow_mean_curve(epochs, values)
    assert list(curve.epoch) == [t[0] for t in twin]
    assert np.allclose(curve.mean, [t[1] for t in twin])
    assert np.allclose(curve.std, [t[2] for t in twin], equal_nan=True, atol=1e-9)
    assert list(curve.count) == [t[3] for t in twin]


def test_a_curve_ends_where_fewer_than_half_of_the_cells_are_left():
    epoch = np.array([1, 2, 3, 1, 2, 1, 1])
    curve = mean_curve(EpochTable({"epoch": epoch, "x": np.ones(7)}), "x").where_most()
    assert list(curve.epoch) == [1, 2]


def test_the_score_axis_is_linear_where_the_cut_can_be_seen_and_logit_where_it_cannot():
    scores = np.linspace(0.001, 0.999, 100)
    assert not ScoreAxis.of(scores, 0.4).is_logit
    assert not ScoreAxis.of(scores, None).is_logit
    axis = ScoreAxis.of(scores, 0.9999)
    assert axis.is_logit
    assert axis.low < logit(0.9999) < axis.high
    assert axis.place(np.array([0.5])) == pytest.approx(0.0)
    assert axis.thresholds(5)[0] == pytest.approx(expit(axis.low))


def test_scores_of_exactly_zero_and_one_have_a_place_on_the_logit_axis():
    axis = ScoreAxis.of(np.array([0.0, 0.5, 1.0]), 0.999)
    assert np.isfinite(axis.place(np.array([0.0, 1.0]))).all()
