"""Which networks the fast path recognises as plain perceptrons."""

import pytest
from torch import nn

from raresearch.training.layers import read_layers


def shared():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(4, 1))


def hooked():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    model[0].register_forward_hook(lambda *a: None)
    return model


def frozen():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    model[0].weight.requires_grad_(False)
    return model


PLAIN = {
    "one layer": nn.Sequential(nn.Linear(4, 1)),
    "hidden": nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)),
    "dropout": nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Dropout(0.2), nn.Linear(3, 1)),
    "nested": nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.GELU()), nn.Identity(), nn.Linear(3, 1)),
}
OTHER = {
    "two outputs": nn.Sequential(nn.Linear(4, 2)),
    "activation at the end": nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()),
    "no bias": nn.Sequential(nn.Linear(4, 1, bias=False)),
    "normalised": nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)),
    "two activations": nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Tanh(), nn.Linear(3, 1)),
    "approximate": nn.Sequential(nn.Linear(4, 3), nn.GELU(approximate="tanh"), nn.Linear(3, 1)),
    "dropout of inputs": nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 1)),
    "shared weights": shared(),
    "a hook": hooked(),
    "a frozen layer": frozen(),
    "no layer": nn.Sequential(),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_perceptron_is_read(name):
    layers = read_layers(PLAIN[name])
    assert layers
    assert layers[0].inputs == 4
    assert layers[-1].outputs == 1
    state = PLAIN[name].state_dict()
    assert all(state[layer.weight].shape == (layer.outputs, layer.inputs) for layer in layers)


@pytest.mark.parametrize("name", OTHER)
def test_anything_else_is_left_to_the_general_path(name):
    assert read_layers(OTHER[name]) is None


def test_an_activation_that_is_used_twice_counts_twice():
    act = nn.ReLU()
    layers = read_layers(nn.Sequential(nn.Linear(4, 3), act, nn.Linear(3, 3), act, nn.Linear(3, 1)))
    assert [layer.kind for layer in layers] == ["ReLU", "ReLU", ""]


def test_the_probability_of_dropout_is_no_part_of_the_shape():
    def of(p):
        return [layer.signature for layer in read_layers(nn.Sequential(nn.Linear(4, 3), nn.Dropout(p), nn.Linear(3, 1)))]

    assert of(0.1) == of(0.5)
