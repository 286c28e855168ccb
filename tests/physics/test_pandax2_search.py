"""The search behind the expected limit: templates against direct simulation, WIMP counts, boosted trees."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.splits import Fractions
from raresearch.errors import SpecError
from raresearch.experiment import parameters
from raresearch.experiments.pandax2 import search
from raresearch.experiments.pandax2.boosted import boosted
from raresearch.experiments.pandax2.experiment import PandaX2
from raresearch.experiments.pandax2.figures import BelowMedianSignificance, ElectronEfficiency
from raresearch.experiments.pandax2.limit import ExpectedLimit
from raresearch.experiments.pandax2.simulator import CLASSES, simulate
from raresearch.metrics.limits import expected_limits


@pytest.fixture(scope="module")
def made():
    return search.shapes(40.0, "I")


@pytest.mark.parametrize(("name", "process"), [("ACC", 2), ("NR", 3), ("ER", 1)])
def test_templates_are_where_an_independent_simulation_puts_the_events(made, name, process):
    block = simulate({"data.fraction_acc": 1 / 3, "data.fraction_nr": 1 / 3}, np.random.default_rng(71), 18_000)
    mine = block["class"] == CLASSES.index(name)
    place = search.coarse(block["qS1c"][mine], block["log_ratio_to_nr_median"][mine])
    seen = np.bincount(place, minlength=16)
    expected = np.bincount(search._coarse_of_fine(), made.density[process], minlength=16) * mine.sum()
    used = expected > 5
    # 6,000 events against some 40,000 behind the template: the template's own error is a seventh of the variance.
    chi2 = ((seen - expected)[used] ** 2 / (expected[used] * 1.2)).sum()
    assert chi2 < used.sum() + 4 * np.sqrt(2 * used.sum())


def test_densities_are_shares_and_accidentals_lie_below_the_median(made):
    assert made.density.sum(axis=1) == pytest.approx(np.ones(4))
    assert (made.density >= 0).all()
    above = np.repeat(search.DISTANCE_EDGES[:-1] >= 0, len(search.S1_EDGES) - 1)
    assert made.density[2][above].sum() == 0
    assert made.density[0][~above].sum() == pytest.approx(0.5, abs=0.03)
    assert made.density[1][~above].sum() < 0.015


def test_wimps_in_the_window_are_their_rate_times_the_acceptance(made):
    rate = search.wimp(40.0).expected(1.0)
    assert 0.5 < made.wimps / rate < 0.65
    wimprates = pytest.importorskip("wimprates")
    energy = np.linspace(0.01, 100, 4000)
    reference = np.trapezoid(wimprates.rate_wimp_std(energy, mw=40.0, sigma_nucleon=1e-46), energy)
    assert rate == pytest.approx(reference, rel=0.1)  # 238 km/s there, 220 km/s here


def test_more_background_makes_the_limit_worse_and_no_cut_is_not_the_best(made):
    figure = ExpectedLimit()
    none = np.ones((1, 3, 16))
    clean = none.copy()
    clean[:, 0] = 0.05
    assert expected_limits(figure.models(clean)).median[0] < expected_limits(figure.models(none)).median[0]


def test_the_fast_limit_is_pyhfs_on_the_searchs_own_templates():
    pytest.importorskip("pyhf")
    import warnings

    from raresearch.metrics.limits.reference import pyhf_expected_limits

    models = ExpectedLimit().models(np.full((1, 3, 16), 0.7))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyhf's optimiser divides by zero on the way
        median, low, high = pyhf_expected_limits(models)
    found = expected_limits(models)
    assert (found.median[0], found.low[0], found.high[0]) == pytest.approx((median, low, high), rel=1e-3)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    config = {**parameters(PandaX2()), "data.events": 6000}
    plan = DataPlan(PandaX2(), config, 5, Fractions(0.5, 0.25, 0.25))
    made = prepare(plan, tmp_path_factory.mktemp("data"), engine="local")
    return {split: made.events(split) for split in ("train", "validation", "test")}


def test_boosted_trees_are_searched_on_validation_and_never_see_test_labels(events):
    grid = {"max_leaf_nodes": (3, 15)}
    trees = boosted(events, grid=grid, max_iter=60)
    assert len(trees.tried) == 2
    assert trees.tried[0][1] >= trees.tried[1][1]
    assert dict(trees.tried[0][0]) == dict(trees.options)
    assert trees.validation.estimate(BelowMedianSignificance()).value == pytest.approx(trees.tried[0][1])
    assert len(trees.test_scores) == len(trees.test_id) == len(events["test"])
    assert 22.1 < trees.tried[0][1] < 31.3
    assert trees.validation.estimate(ElectronEfficiency()).value > 0.3
    assert 0.5 < trees.validation.estimate(ExpectedLimit()).value < 5.0


def test_boosted_trees_repeat_themselves(events):
    once, again = (boosted(events, grid={"max_leaf_nodes": (7,)}, max_iter=30) for _ in range(2))
    assert np.array_equal(once.validation.scores, again.validation.scores)


def test_an_empty_grid_is_refused(events):
    with pytest.raises(SpecError, match="no point"):
        boosted(events, grid={"max_leaf_nodes": ()})
