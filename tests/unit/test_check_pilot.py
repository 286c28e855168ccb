"""How long a training lasts, by a pilot's trainings."""

import math
import sys

import pytest

from raresearch.api.check import TIMED_EVENTS, check, lasts
from raresearch.cli.check import _lines
from raresearch.data.prepare import prepare
from raresearch.types import config_id

CONFIG = {"model.hidden": (8,), "train.epochs": 100}
OTHER = {"model.hidden": (16,), "train.epochs": 100}


def test_without_a_pilot_a_training_takes_all_its_epochs():
    assert lasts(CONFIG, {}) == (100.0, 0.0)


def test_a_config_in_the_pilot_lasts_as_there_with_the_scatter_within_configs_as_error():
    stops = {config_id(CONFIG): [20, 24], config_id(OTHER): [60, 68]}
    spread = math.sqrt((2**2 + 2**2 + 4**2 + 4**2) / 2)
    assert lasts(CONFIG, stops) == pytest.approx((22.0, spread / math.sqrt(2)))


def test_a_config_that_the_pilot_lacks_lasts_as_its_others_do():
    mean, error = lasts(CONFIG, {"one": [20], "other": [60]})
    assert mean == 40.0
    assert error == pytest.approx(20 / math.sqrt(2))


def test_a_large_study_is_timed_on_a_sample_and_one_for_gpus_says_where_to_time_it(tmp_path, monkeypatch):
    path = tmp_path / "large.yaml"
    path.write_text(
        "study: large\nexperiment: toy\nfixed: {data.events: 300000, train.batch_size: 500}\nexecution: {backend: local}\n"
    )
    prepared = []
    monkeypatch.setattr(
        sys.modules["raresearch.api.run"],
        "prepare",
        lambda plan, *a, **k: prepared.append(plan.values["data.events"]) or prepare(plan, *a, **k),
    )
    plan = check(path)
    assert prepared == [TIMED_EVENTS]
    assert plan.events == 300_000
    assert plan.simulation_hours > 0
    assert plan.seconds_per_epoch > 0
    assert (plan.data_kind, plan.data_bytes) == ("resident", 300_000 * 8)
    monkeypatch.setattr(sys.modules["raresearch.api.check"], "_gpu_here", lambda: False)
    waiting = check(path, sets=["execution.gpus=1"])
    assert waiting.hours is None
    assert "run check on a node that has one" in waiting.untimed
    streamed = check(path, timed=False, sets=["execution.data_memory=0.001"])
    assert streamed.data_kind == "streamed"
    assert any("train.window" in line for line in _lines(streamed))
