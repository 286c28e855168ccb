"""A compiled network trains to nearly the same numbers, to the same bits again, and not at all without a C++ compiler."""

import numpy as np
import pytest
from torch import nn
from torch._dynamo.utils import counters

from raresearch.errors import SpecError
from raresearch.experiment import Experiment, parameters
from raresearch.training import pieces
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep
from raresearch.types import Cell, config_id


class Dropping(Experiment):
    name = "dropping"

    def model(self, config):
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))


def data():
    rng = np.random.default_rng(1)

    def sample(n, sealed=False):
        label = (rng.random(n) < 0.5).astype(np.int8)
        x = (rng.normal(size=(n, 2)) + 0.5 * label[:, None]).astype(np.float32)
        return Sample({"x": x}, None if sealed else label, None if sealed else np.ones(n))

    return FoldData(sample(50), sample(40), sample(30, sealed=True), "v", "t")


def cell(**values):
    config = {**parameters(Dropping()), "train.epochs": 3, "train.batch_size": 20, **values}
    return Cell(config, 0, 0, 3, {"data": "d"})


def train(chosen):
    records = []
    work = Work(Dropping(), 3, Keep(), lambda cell: data(), records.extend, lambda cell, epoch: None, 1 << 30)
    train_pack([chosen], work)
    (record,) = records
    assert record.outcome.state == "done", record.outcome.error
    return record


@pytest.mark.slow
def test_a_compiled_network_trains_to_nearly_the_same_numbers_and_to_the_same_bits_again(monkeypatch):
    chosen = cell(**{"train.compile": True})
    compiled, again = train(chosen), train(chosen)
    calls = []
    # The same cell and loop without the compiler: with another config it would have other seeds.
    monkeypatch.setattr(pieces, "compile_network", lambda network, device: calls.append(network))
    plain = train(chosen)
    assert len(calls) == 1
    for name, losses in plain.epochs.items():
        np.testing.assert_allclose(compiled.epochs[name], losses, rtol=1e-4)
    for events in plain.scores:
        assert np.array_equal(compiled.scores[events][1], again.scores[events][1])
        np.testing.assert_allclose(compiled.scores[events][1], plain.scores[events][1], rtol=1e-3, atol=1e-4)
    assert [sorted(state) for state in compiled.weights.values()] == [sorted(state) for state in plain.weights.values()]


@pytest.mark.slow
def test_an_epoch_compiles_each_shape_once_and_no_step_anew():
    counters.clear()
    train(cell(**{"train.compile": True}))
    # Batches of 20 and of the last 10 events; 40 and 30 that are scored.
    assert counters["stats"]["unique_graphs"] == 4


def test_compiling_is_part_of_a_config_and_not_compiling_is_what_it_was():
    plain, compiled = (cell(**{"train.compile": asked}).config for asked in (False, True))
    assert config_id(plain) == config_id({n: v for n, v in plain.items() if n != "train.compile"})
    assert config_id(compiled) != config_id(plain)


def test_without_a_compiler_one_line_says_what_to_install_and_nothing_is_trained(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SpecError, match=r"train.compile.*needs a C\+\+ compiler, and no-such-compiler is not on the PATH"):
        train(cell(**{"train.compile": True}))
