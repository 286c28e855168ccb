"""Properties of packs: any perceptron's gradients are autograd's, any plan is a partition."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from raresearch.experiment import parameters
from raresearch.planner import plan_packs, trainings
from raresearch.testing.toy import Toy
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.lanes import FoldTensors, Lane
from raresearch.training.layers import read_layers
from raresearch.training.mlp import MlpStack
from raresearch.types import Cell

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU)


def lane(seed, features, events, batch, rng):
    config = {**parameters(Toy()), "train.precision": "float64", "train.batch_size": batch, "train.optimizer": "sgd"}
    config |= {"train.beta1": 0.0, "train.learning_rate": 0.1}

    def sample(n):
        x = rng.normal(size=(n, features)).astype(np.float32)
        return Sample({"x": x}, rng.integers(0, 2, n).astype(np.int8), rng.uniform(0.1, 2.0, n))

    data = FoldData(sample(events), sample(7), sample(5), "v", "t")
    return Lane.of(Cell(config, 0, seed, 1, {"data": "d"}), FoldTensors.of(data, config, torch.device("cpu")), 1)


@settings(deadline=None, max_examples=40)
@given(
    widths=st.lists(st.integers(1, 21), min_size=1, max_size=3),
    kinds=st.lists(st.sampled_from(ACTIVATIONS), min_size=3, max_size=3),
    members=st.integers(1, 5),
    features=st.integers(1, 18),
    sizes=st.tuples(st.integers(1, 45), st.integers(1, 40)),
    seed=st.integers(0, 1000),
)
def test_an_epoch_of_any_perceptron_is_that_of_autograd(widths, kinds, members, features, sizes, seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    events, batch = sizes
    lanes = [lane(m, features, events + m % 2, batch, rng) for m in range(members)]

    def network():
        layers = []
        for before, after, kind in zip([features, *widths], widths, kinds, strict=False):
            layers += [nn.Linear(before, after), kind()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 1)).double()

    models = [network() for _ in lanes]
    stack = MlpStack(read_layers(models[0]), lanes, models)
    twins = [Lane.of(each.cell, each.events, 1) for each in lanes]
    losses = stack.epoch()
    for m, (twin, model) in enumerate(zip(twins, models, strict=True)):
        assert np.isclose(losses[m], slow_epoch(twin, model, batch), atol=1e-12)
        for name, parameter in model.state_dict().items():
            np.testing.assert_allclose(stack.snapshot(m)[name], parameter.numpy(), atol=1e-12)


def slow_epoch(twin, model, batch):
    """Plain gradient descent, by autograd."""
    train = twin.events.train
    (x,) = train.inputs.values()
    total = 0.0
    for rows in torch.from_numpy(twin.order.permutation(len(x))).split(batch):
        weight = train.weight[rows]
        each = functional.binary_cross_entropy_with_logits(model(x[rows])[:, 0], train.label[rows], reduction="none")
        loss = (each * weight).sum() / weight.sum()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        total += loss.item() * len(rows)
    return total / len(x)


cell_lists = st.lists(
    st.builds(
        lambda width, rate, epochs, seed, pack: Cell(
            {"model.width": width, "train.learning_rate": rate, "train.epochs": epochs, "train.pack": pack},
            0,
            seed,
            epochs,
            {"data": "d"},
        ),
        st.integers(1, 3),
        st.sampled_from([0.1, 0.2]),
        st.sampled_from([10, 20]),
        st.integers(0, 40),
        st.just("auto") | st.just("off") | st.integers(1, 9),
    ),
    max_size=60,
    unique_by=lambda c: c.key,
)


@given(cell_lists, st.integers(1, 6))
def test_a_plan_is_a_partition_that_keeps_trainings_whole_and_limits(cells, workers):
    packs = plan_packs(cells, workers)
    assert sorted(c.key for p in packs for c in p.cells) == sorted(c.key for c in cells)
    streams = [{c.stream_key for c in p.cells} for p in packs]
    assert sum(map(len, streams)) == len({c.stream_key for c in cells})
    for pack in packs:
        shapes = {c.config["model.width"] for c in pack.cells}
        asked = {t[-1].config["train.pack"] for t in trainings(pack.cells)}
        assert len(shapes) == len(asked) == 1
        limit = {"auto": 10**6, "off": 1}.get(next(iter(asked)), next(iter(asked)))
        assert len(trainings(pack.cells)) <= limit
