"""Hashed dropout: right in its rate, independent where it must be, the same wherever the cell is trained."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.func import vmap

from raresearch.training.noise import HashedDropout, kept, stream_key

KEY = torch.tensor(12345, dtype=torch.int32)


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.9])
def test_the_rate_is_the_probability(p):
    n = 400_000
    dropped = int((~kept(stream_key(KEY, 3, 0), (n,), p)).sum())
    assert stats.binomtest(dropped, n, p).pvalue > 1e-4


def test_masks_of_other_steps_calls_and_cells_are_independent():
    shape = (20_000,)
    keys = [(KEY, 0, 0), (KEY, 1, 0), (KEY, 0, 1), (KEY + 1, 0, 0), (KEY, 1, 1)]
    masks = np.stack([kept(stream_key(*k), shape, 0.5).numpy() for k in keys]).astype(float)
    correlations = np.corrcoef(masks)[np.triu_indices(len(keys), 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(shape[0])


def test_neighbouring_elements_are_independent():
    mask = kept(stream_key(KEY, 0, 0), (100_000,), 0.5).numpy().astype(float)
    for lag in (1, 2, 8, 32, 64, 1024):
        assert abs(np.corrcoef(mask[:-lag], mask[lag:])[0, 1]) < 5 / np.sqrt(len(mask)), lag


def test_what_is_kept_is_scaled_and_the_gradient_follows_the_mask():
    x = torch.ones(50, 40, requires_grad=True)
    with HashedDropout(KEY, 7):
        y = nn.Dropout(0.25)(x)
    y.sum().backward()
    assert y.detach().unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert torch.equal(x.grad, y.detach())


def test_channels_are_dropped_whole():
    with HashedDropout(KEY, 0):
        y = nn.Dropout2d(0.5)(torch.ones(8, 6, 5, 5))
    assert bool((y == y[:, :, :1, :1]).all())
    assert 0 < int((y[:, :, 0, 0] == 0).sum()) < 48


def test_members_under_vmap_draw_what_each_draws_alone():
    keys, steps = torch.tensor([1, 2, 3], dtype=torch.int32), torch.tensor([0, 5, 9], dtype=torch.int32)
    x = torch.rand(3, 10, 7)

    def one(key, step, x):
        with HashedDropout(key, step):
            return nn.Dropout(0.3)(nn.Dropout(0.0)(x))

    together = vmap(one)(keys, steps, x)
    for m in range(3):
        assert torch.equal(together[m], one(keys[m], int(steps[m]), x[m]))


def test_evaluation_drops_nothing_and_the_global_generator_is_not_drawn_from():
    state, x = torch.random.get_rng_state(), torch.rand(4, 4)
    with HashedDropout(KEY, 0):
        assert torch.equal(nn.Dropout(0.5).eval()(x), x)
    state_after_x = torch.random.get_rng_state()
    with HashedDropout(KEY, 0):
        nn.Dropout(0.5)(x)
    assert torch.equal(torch.random.get_rng_state(), state_after_x)
    assert not torch.equal(state, state_after_x)
