"""The multi-layer perceptron of Table 2."""

from __future__ import annotations

import pytest

from raresearch.errors import SpaceError
from raresearch.experiments.pandax2.experiment import PandaX2

torch = pytest.importorskip("torch")


def test_the_default_is_4c_and_gives_one_logit_per_event():
    model = PandaX2().model({})
    shapes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    assert shapes == [(32, 13), (32, 32), (16, 32), (8, 16), (1, 8)]
    assert model(torch.zeros(5, 13)).shape == (5, 1)


def test_dropout_follows_each_hidden_layer_and_only_there():
    model = PandaX2().model({"model.hidden": (8, 4), "model.dropout": 0.2})
    kinds = [type(layer).__name__ for layer in model]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]


@pytest.mark.parametrize("hidden", [(), 32, (32, 0), (32, 1.5), ("a",), (True,)])
def test_widths_that_are_no_positive_whole_numbers_are_refused(hidden):
    with pytest.raises(SpaceError, match=r"model\.hidden"):
        PandaX2().model({"model.hidden": hidden})


@pytest.mark.parametrize("dropout", [1.0, -0.1, "0.2", True])
def test_a_dropout_outside_its_range_is_refused(dropout):
    with pytest.raises(SpaceError, match=r"model\.dropout"):
        PandaX2().model({"model.dropout": dropout})
