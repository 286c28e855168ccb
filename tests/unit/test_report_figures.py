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
from raresearch.metrics.foms import RocAuc, Xi
from raresearch.report.build import draw as draw_all
from raresearch.report.curves import mean_curve
from raresearch.report.figures import by_config, classes, cut, learning, repeats
from raresearch.report.figures.scale import ScoreAxis
from raresearch.report.figures.style import BACKGROUND, SIGNAL, encode, style
from raresearch.types import EpochTable

sys.path.append(str(Path(__file__).parent))

from test_report_store import HIDDEN, OBJECTIVE, read, synthetic_store

ALL = (by_config.draw, cut.draw, repeats.draw, learning.draw, classes.spectra, classes.efficiencies)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    store, labels = synthetic_store(tmp_path_factory.mktemp("study"), failed=[("4C", 0, 1)])
    return read(store, labels)


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
    assert {p.drawing.name for p in pictures} == {"objective", "repeats", "learning", "spectra"}
    assert len(absent) == 2


def test_without_observers_there_is_no_efficiency_figure(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=200, observers=False)
    assert made(classes.efficiencies, read(store, labels)) is None


def test_where_the_background_ran_out_the_objective_is_dotted_as_a_limit(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=80, sharp=3.0)
    figure = made(cut.draw, read(store, labels, objective=Xi(min_background=0))).figure
    assert any("lower limit" in str(line.get_label()) for line in figure.axes[1].lines)


def test_efficiencies_are_fractions_above_the_cut(results):
    cell = results.best_cell
    sample, threshold = results.sample(cell), cell.estimates["significance"].threshold
    axes = made(classes.efficiencies, results).figure.axes[0]
    name, bars = next((c.get_label(), c) for c in axes.containers if c.get_label() == "NR")
    assert name == "NR"
    values = np.asarray(sample.observers["qS1c"])
    edges = np.linspace(*np.quantile(values, [0.005, 0.995]), classes.SLICES + 1)
    inside = (values >= edges[0]) & (values <= edges[1]) & (sample.label == 1)
    assert bars.lines[0].get_ydata()[0] == pytest.approx((sample.scores[inside] >= threshold).mean())


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
            encode(draw(results).figure, "svg")


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
