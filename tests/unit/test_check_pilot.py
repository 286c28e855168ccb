"""How long a training lasts, by a pilot's trainings."""

import math

import pytest

from raresearch.api.check import lasts
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
