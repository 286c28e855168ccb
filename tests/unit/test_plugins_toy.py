"""The toy experiment that other tests stand on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raresearch.experiment import Batch, parameters
from raresearch.testing.toy import Toy


def events(n: int = 20_000, separation: float = 2.0) -> dict[str, np.ndarray]:
    return Toy().simulate({**parameters(Toy()), "data.separation": separation}, np.random.default_rng(1), n)


def test_events_fit_the_schema() -> None:
    got, schema = events(50), Toy().schema()
    assert set(got) == {"class", "radius", *(t.name for t in schema.tensors)}
    assert got["point"].shape == (50, 2)
    assert got["point"].dtype == schema.tensors[0].dtype
    assert set(np.unique(events()["class"])) == {0, 1, 2}
    assert got["radius"] == pytest.approx(np.hypot(*got["point"].T), rel=1e-5)


@pytest.mark.parametrize("separation", [0.5, 2.0])
def test_the_first_coordinate_separates_as_the_docstring_says(separation: float) -> None:
    got = events(separation=separation)
    labels = Toy().schema().labels(got["class"])
    signal, background = got["point"][labels == 1, 0], got["point"][labels == 0, 0]
    auc = np.mean(np.searchsorted(np.sort(background), signal)) / len(background)
    assert auc == pytest.approx(0.5 * math.erfc(-separation / 2), abs=0.01)  # Φ(d/√2) = erfc(-d/2)/2


def test_every_parameter_is_described() -> None:
    common = ("data.events", "data.block", "train.epochs")
    assert set(Toy.described) == set(Toy.defaults) - set(common)


@pytest.mark.parametrize("hidden", [(), (8,), (4, 3)])
def test_the_network_has_the_layers_of_the_config_and_a_loss(hidden: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    config = {**parameters(Toy()), "model.hidden": hidden, "model.dropout": 0.5}
    model = Toy().model(config)
    widths = [m.out_features for m in model if isinstance(m, torch.nn.Linear)]
    assert widths == [*hidden, 1]
    inputs = {"point": torch.from_numpy(events(16)["point"])}
    output = Toy().forward(model, inputs, config)
    loss = Toy().loss(output, Batch(inputs, torch.ones(16), torch.ones(16)), config)
    assert loss.shape == ()
    assert torch.isfinite(loss)
