"""NEWSdm keeps the contract of experiments, with both of its presets; mistakes are named."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from raresearch.errors import SpaceError
from raresearch.experiments.newsdm.experiment import NEWSdm
from raresearch.experiments.newsdm.simulator import simulate
from raresearch.spec import load
from raresearch.testing.experiment_contract import ExperimentContract
from raresearch.types import Config

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT.parent / "shared" / "papers" / "tables"
SMALL: Config = {
    "model.binning": 2,
    "model.stem": (2, 4),
    "model.filters_first": 4,
    "model.filters_second": 8,
    "model.shortcuts": 1,
}


class TestNEWSdm(ExperimentContract):
    experiment = NEWSdm()
    config: ClassVar[Config] = SMALL
    events = 120


class TestIdenticalGrains(ExperimentContract):
    experiment = NEWSdm()
    config: ClassVar[Config] = {**SMALL, "data.preset": "identical_grains"}
    events = 120


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("preset", "null"),
        ("fraction_fog", 1.5),
        ("orientations", ()),
        ("orientations", 45.0),
        ("sensitivity", 1.2),
        ("psf", -85.0),
        ("peak_least", 230.0),
        ("fog_filaments_least", 2.5),
        ("carbon_filaments_most", 3.0),
    ],
)
def test_impossible_values_are_refused_by_name(name, value):
    with pytest.raises(SpaceError, match=rf"data\.{name.replace('most', '')}"):
        simulate({f"data.{name}": value}, np.random.default_rng(0), 4)


def test_a_block_may_be_empty_or_of_one_class():
    assert simulate({}, np.random.default_rng(1), 0)["frames"].shape == (0, 8, 40, 40)
    assert set(simulate({"data.fraction_fog": 1.0}, np.random.default_rng(1), 5)["class"].tolist()) == {0}


def test_the_search_has_the_paper_s_ranges_and_the_defaults_its_optimum():
    if not TABLES.exists():
        pytest.skip("the papers' tables are not beside the project")
    names = {
        "dropout_before_residual": "model.dropout_before",
        "dropout_middle": "model.dropout_middle",
        "dropout_after_residual": "model.dropout_after",
        "filters_first_half": "model.filters_first",
        "filters_second_half": "model.filters_second",
        "identity_shortcuts_per_group": "model.shortcuts",
        "mu_loss": "train.mu_loss",
        "learning_rate": "train.learning_rate",
        "adam_beta1_horizon_(beta1=1-1/x)": "train.beta1_horizon",
        "adam_beta2_horizon_(beta2=1-1/x)": "train.beta2_horizon",
        "lr_exponential_decay": "train.rate_decay",
    }
    spec = load(ROOT / "search_spaces" / "newsdm_bayes.yaml", "paper")
    with (TABLES / "newsdm_search_space.csv").open(newline="") as file:
        rows = {names[row["hyperparameter"]]: row for row in csv.DictReader(file)}
    assert set(rows) == set(spec.space.axes)
    for name, row in rows.items():
        axis = spec.space.axes[name]
        assert (axis.low, axis.high) == (float(row["low"]), float(row["high"]))
        assert NEWSdm.defaults[name] == float(row["final"])


def test_the_published_search_is_150_configs_of_3_folds_by_auc():
    spec = load(ROOT / "search_spaces" / "newsdm_bayes.yaml", "paper")
    assert (spec.searcher.name, spec.searcher.options["configs"]) == ("skopt", 150)
    assert (spec.folds, spec.objective.name, spec.fixed["train.batch_size"]) == (3, "roc_auc", 256)
