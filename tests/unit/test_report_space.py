"""The section of the space: axes, grids, heat maps, and what a search shows."""

from __future__ import annotations

import os
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from raresearch.report.axes import StudyAxis, is_grid, study_axes
from raresearch.report.figures import difference, grid, hyperparameters, search
from raresearch.report.figures.style import encode, style

sys.path.append(str(Path(__file__).parent))

from test_report_store import read, synthetic_store

GRID_AXES = {"model.layers": (1, 2), "train.epochs": (10, 20, 30), "train.batch_size": (20, 40, 400)}
SEARCH = ({"name": "train.learning_rate", "float": [1e-4, 0.1], "log": True},
          {"name": "model.dropout", "float": [0.0, 0.5]},
          {"name": "train.optimizer", "choice": ["sgd", "adam"], "labels": ["SGD", "Adam"]},
          {"name": "model.momentum", "float": [0.0, 1.0], "when": {"train.optimizer": ["sgd"]}})  # fmt: skip


def made(draw, results):
    with style():
        drawing = draw(results)
        if drawing is not None:
            encode(drawing.figure)
        return drawing


@pytest.fixture(scope="module")
def gridded(tmp_path_factory):
    points = [dict(zip(GRID_AXES, values, strict=True)) for values in product(*GRID_AXES.values())]
    configs = {f"g{i}": {"data.events": 100, **p} for i, p in enumerate(points)}
    axes = [{"name": n, "choice": list(v)} for n, v in GRID_AXES.items()]
    spec = {"searcher": "grid", "space": {"axes": axes}}
    root = tmp_path_factory.mktemp("grid")
    return read(*synthetic_store(root, configs=configs, repeats=2, n=120, epochs=4, spec=spec))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    rng = np.random.default_rng(5)
    configs = {}
    for i in range(12):
        config = {"train.learning_rate": float(10 ** rng.uniform(-4, -1)), "model.dropout": float(rng.uniform(0, 0.5))}
        config["train.optimizer"] = ("adam", "sgd")[i % 2]
        if config["train.optimizer"] == "sgd":
            config["model.momentum"] = float(rng.uniform())
        configs[f"s{i}"] = config
    spec = {"searcher": {"skopt": {"configs": 12}}, "space": {"axes": list(SEARCH)}}
    root = tmp_path_factory.mktemp("search")
    return read(*synthetic_store(root, configs=configs, repeats=1, folds=2, n=120, epochs=4, spec=spec))


def test_axes_are_those_of_the_space_in_its_order_with_rising_levels(gridded):
    axes = study_axes(gridded)
    assert [a.name for a in axes] == list(GRID_AXES)
    assert [a.levels for a in axes] == list(GRID_AXES.values())
    assert [a.log for a in axes] == [False, False, True]
    assert is_grid(gridded)


def test_an_axis_that_a_config_lacks_has_no_place_there(searched):
    axes = {a.name: a for a in study_axes(searched)}
    assert axes["train.optimizer"].texts == ("SGD", "Adam")
    assert axes["train.learning_rate"].log
    assert not axes["model.dropout"].log  # a range that is not searched so is not drawn so, however small its values are
    assert np.isnan(axes["model.momentum"].place({"train.optimizer": "adam"}))
    assert axes["train.optimizer"].place({"train.optimizer": "adam"}) == 1.0
    assert not is_grid(searched)


def test_epochs_run_along_the_grid_with_a_line_for_each_batch_size_and_a_panel_for_each_depth(gridded):
    plan = grid.line_plan(study_axes(gridded))
    assert (plan.x.name, plan.second.name, [a.name for a in plan.others]) == (
        "train.epochs", "train.batch_size", ["model.layers"],
    )  # fmt: skip
    drawing = made(grid.draw, gridded)
    panels = [axes for axes in drawing.figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["layers 1", "layers 2"]
    assert [len(axes.containers) for axes in panels] == [3, 3]
    config = next(
        c for c, v in gridded.configs.items() if (v["model.layers"], v["train.epochs"], v["train.batch_size"]) == (1, 20, 40)
    )
    values = [c.estimates["significance"].value for c in gridded.cells if c.config == config]
    line = panels[0].containers[1].lines[0]
    assert line.get_ydata()[1] == pytest.approx(np.mean(values))
    row = next(r for r in drawing.rows if r["config"] == gridded.labels[config])
    assert (row["mean"], row["std"], row["trainings"]) == pytest.approx((np.mean(values), np.std(values, ddof=1), 2))


def test_a_heat_map_has_the_mean_of_every_config_in_its_place(gridded):
    drawing = made(grid.heat_map, gridded)
    meshes = [axes.collections[0] for axes in drawing.figure.axes if axes.get_title()]
    assert len(meshes) == 2
    means = {(r["model.layers"], r["train.batch_size"], r["train.epochs"]): r["mean"] for r in drawing.rows}
    shown = np.asarray(meshes[1].get_array()).reshape(3, 3)
    for (y, batch), (x, epochs) in product(enumerate(("20", "40", "400")), enumerate(("10", "20", "30"))):
        assert shown[y, x] == pytest.approx(means[("2", batch, epochs)])


def test_too_many_panels_or_no_numeric_axis_give_no_grid():
    def axis(name, n, numeric=True):
        levels = tuple(range(n)) if numeric else tuple("abcdefghijklmn"[:n])
        return StudyAxis(name, levels, tuple(map(str, levels)), numeric, False)

    assert grid.line_plan([axis("a", 3, False)]) is None
    assert grid.line_plan([axis("a", 3), axis("b", 4), axis("c", 5), axis("d", 3)]) is None
    assert grid.line_plan([axis("a", 3), axis("b", 12, False)]) is None
    assert grid.line_plan([axis("a", 3), axis("b", 4, False)]).second.name == "b"
    assert grid.heat_plan([axis("a", 3), axis("b", 2, False)]) is None
    assert grid.line_plan([axis("a", 3)]).second is None


def test_grids_have_no_search_figures_and_searches_no_grid(gridded, searched):
    for draw in (search.convergence, search.parallel, hyperparameters.importance, hyperparameters.dependence):
        assert made(draw, gridded) is None
    for draw in (grid.draw, grid.heat_map):
        assert made(draw, searched) is None


def test_the_convergence_follows_the_order_of_landing_and_never_gets_worse(searched):
    order = searched.ranked()[5:] + searched.ranked()[:5]
    for when, config in enumerate(order):
        for cell in searched.cells:
            if cell.config == config:
                landing = searched.reader.cells[cell.key]["landing"]
                os.utime(searched.store.root / "cells" / landing / "cells.parquet", (when, when))
    rows = made(search.convergence, searched).rows
    assert [r["config"] for r in rows] == [searched.labels[c] for c in order]
    best = [r["best_so_far"] for r in rows]
    assert best == sorted(best)
    assert best == [max(r["mean"] for r in rows[: n + 1]) for n in range(len(rows))]
    cells = [c.estimates["significance"].value for c in searched.cells if c.config == order[0]]
    assert rows[0]["std"] == pytest.approx(np.std(cells, ddof=1))


def test_parallel_coordinates_hold_every_config_and_mark_the_best(searched):
    drawing = made(search.parallel, searched)
    assert len(drawing.rows) == 12
    assert drawing.rows[0]["config"] == searched.labels[searched.ranked()[0]]
    texts = [t.get_text() for t in drawing.figure.axes[0].texts]
    assert {"SGD", "Adam"} <= set(texts)
    assert drawing.rows[0]["significance"] == max(r["significance"] for r in drawing.rows)


def test_influences_come_with_what_chance_gives(searched):
    rows = made(hyperparameters.importance, searched).rows
    assert {r["axis"] for r in rows} == {a["name"] for a in SEARCH}
    assert [r["eta_squared"] for r in rows] == sorted((r["eta_squared"] for r in rows), reverse=True)
    assert next(r for r in rows if r["axis"] == "model.momentum")["configs"] == 6
    assert next(r for r in rows if r["axis"] == "train.optimizer")["spearman"] is None


def test_the_dependence_shows_every_config_against_every_axis(searched):
    drawing = made(hyperparameters.dependence, searched)
    assert len(drawing.rows) == 12
    first = drawing.figure.axes[0].lines[0]
    assert first.get_label() == "config"


def test_a_running_median_follows_its_neighbours_and_levels_have_one_each():
    x = np.array([1.0, 1.0, 2.0, 2.0, 2.0])
    at, median = hyperparameters.running_median(x, np.array([1.0, 3.0, 5.0, 6.0, 100.0]))
    assert (at.tolist(), median.tolist()) == ([1.0, 2.0], [2.0, 6.0])
    rng = np.random.default_rng(0)
    x, y = rng.permutation(40).astype(float), rng.normal(size=40)
    at, median = hyperparameters.running_median(x, y)
    half = 5
    assert at.tolist() == [float(i) for i in range(half, 40 - half)]
    by_place = y[np.argsort(x)]
    assert median.tolist() == [np.median(by_place[i - half : i + half + 1]) for i in range(half, 40 - half)]


def test_two_networks_over_one_grid_are_compared_point_by_point(tmp_path):
    axes = {"data.photocoverage": (0.2, 0.3, 0.4), "data.quantum_efficiency": (0.2, 0.25), "model.network": ("a", "b")}
    points = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    configs = {f"d{i}": p for i, p in enumerate(points)}
    spec = {"searcher": "grid", "space": {"axes": [{"name": n, "choice": list(v)} for n, v in axes.items()]}}
    results = read(*synthetic_store(tmp_path, configs=configs, repeats=1, n=120, epochs=2, spec=spec))
    drawing = made(difference.draw, results)
    assert len(drawing.rows) == 6
    network = {"a": {}, "b": {}}
    for config in results.ranked():
        p = results.configs[config]
        point = str(p["data.photocoverage"]), str(p["data.quantum_efficiency"])
        network[p["model.network"]][point] = results.done(config)[0].cells[0].estimates[results.objective.name].value
    for row in drawing.rows:
        point = row["data.photocoverage"], row["data.quantum_efficiency"]
        assert row["difference"] == pytest.approx(network["a"][point] - network["b"][point])
    mean = np.mean([row["difference"] for row in drawing.rows])
    assert f"Mean {mean:+.3f}".replace("-", "−") in drawing.caption


def test_what_is_no_pair_of_maps_has_no_difference(searched):
    assert made(difference.draw, searched) is None
