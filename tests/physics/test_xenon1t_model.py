"""The paper's network: sizes, regularisers as in its software, and that it reads the part of the canvas with the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from raresearch.errors import SpaceError
from raresearch.experiment import Batch
from raresearch.experiments.xenon1t.experiment import Xenon1T
from raresearch.experiments.xenon1t.model import pooled_pixels

XENON1T = Xenon1T()


def network(**model):
    torch.manual_seed(1)
    return XENON1T.model({f"model.{k}": v for k, v in model.items()})


def batch(n=6):
    generator = torch.Generator().manual_seed(2)
    image = torch.randint(0, 256, (n, 3, XENON1T.canvas), generator=generator).float()
    return Batch({"image": image}, torch.arange(n) % 2 * 1.0, torch.ones(n))


@pytest.mark.parametrize(("layers", "side"), [(1, 36), (2, 17), (3, 7)])
def test_each_layer_halves_the_picture(layers, side):
    # 75 → 73 → 36 → 34 → 17 → 15 → 7
    assert pooled_pixels((75, 75), layers, 2) == side**2
    parameters = sum(p.numel() for p in network(layers=layers).parameters())
    convolutions = 3 * 16 * 9 + 16 + (layers - 1) * (16 * 16 * 9 + 16)
    assert parameters == convolutions + 16 * side**2 * 32 + 32 + 32 + 1


def test_the_released_program_s_pooling_shrinks_by_one():
    assert network(pool_stride=1).dense.in_features == 16 * 72 * 72


def test_pooling_before_the_activation_gives_what_the_paper_s_order_gives():
    net = network(layers=1, leak=0.05).eval()
    image = batch().inputs["image"].view(6, 3, 75, 75) / 255.0
    x = functional.max_pool2d(functional.leaky_relu(net.convolutions[0](image), 0.05), 2)
    expected = net.out(functional.leaky_relu(net.dense(x.permute(0, 2, 3, 1).flatten(1)), 0.05))
    output = XENON1T.forward(net, batch().inputs, {})
    torch.testing.assert_close(XENON1T.logit(output, {}), expected.squeeze(1))


def test_the_loss_is_cross_entropy_plus_the_squares_that_the_paper_penalises():
    net = network(layers=2)
    events = batch()
    output = XENON1T.forward(net.eval(), events.inputs, {})
    squares = sum((c.weight**2).sum() for c in net.convolutions)
    dense = (net.dense.weight**2).sum() + (net.dense.bias**2).sum()
    entropy = functional.binary_cross_entropy_with_logits(output[:, 0], events.label)
    torch.testing.assert_close(XENON1T.loss(output, events, {}), entropy + 0.005 * squares + 0.001 * dense)


def test_the_penalty_pulls_its_weights_and_no_others():
    net = network(layers=1)
    events = batch()
    with_l2 = gradients(net, events, XENON1T.forward(net.eval(), events.inputs, {}))
    bare = network(layers=1, l2_conv=0.0, l2_dense=0.0)
    without = gradients(bare, events, XENON1T.forward(bare.eval(), events.inputs, {}))
    l2 = {"convolutions.0.weight": 0.005, "dense.weight": 0.001, "dense.bias": 0.001}
    for name, parameter in net.named_parameters():
        pulled = 2.0 * l2.get(name, 0.0) * parameter.detach()
        torch.testing.assert_close(with_l2[name] - without[name], pulled, atol=2e-6, rtol=1e-4)


def gradients(net, events, output):
    net.zero_grad()
    XENON1T.loss(output, events, {}).backward()
    return {n: p.grad.clone() for n, p in net.named_parameters()}


def test_only_the_picture_s_part_of_the_canvas_is_read():
    config = {**XENON1T.defaults, "data.image": "peak"}
    torch.manual_seed(1)
    net = XENON1T.model(config).eval()
    inputs = batch().inputs["image"]
    other = inputs.clone()
    other[..., 5000:] = 7.0
    assert torch.equal(XENON1T.forward(net, {"image": inputs}, config), XENON1T.forward(net, {"image": other}, config))
    other[..., 4999] += 50.0
    assert not torch.equal(XENON1T.forward(net, {"image": inputs}, config), XENON1T.forward(net, {"image": other}, config))


def test_weights_start_as_the_paper_s_software_starts_them():
    net = network(layers=1)
    assert all(not p.detach().any() for n, p in net.named_parameters() if n.endswith("bias"))
    bound = np.sqrt(6.0 / (16 * 36 * 36 + 32))
    assert float(net.dense.weight.detach().abs().max()) == pytest.approx(bound, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("layers", 0), ("layers", 4), ("pool_stride", 3), ("leak", -0.1), ("dropout_conv", 1.0), ("l2_dense", -1.0)],
)
def test_impossible_networks_are_refused_by_name(name, value):
    with pytest.raises(SpaceError, match=rf"model\.{name}"):
        network(**{name: value})


def test_scoring_in_slices_is_scoring():
    net = network().eval()
    inputs = batch(300).inputs
    with torch.no_grad():
        whole = net(inputs["image"].view(300, 3, 75, 75))
        torch.testing.assert_close(XENON1T.forward(net, inputs, {}), whole)
