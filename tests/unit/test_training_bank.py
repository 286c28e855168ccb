"""Optimisers of stacked members, held against torch.optim on each member by itself."""

import pytest
import torch

from raresearch.errors import SpecError
from raresearch.training.bank import Bank, padded
from raresearch.training.optimizers import Settings

STEPS = 60


def torch_optimizer(parameter, s):
    if s.name == "adam":
        return torch.optim.Adam([parameter], s.rate, (s.beta1, s.beta2), weight_decay=s.decay)
    if s.name == "adamw":
        return torch.optim.AdamW([parameter], s.rate, (s.beta1, s.beta2), weight_decay=s.decay)
    if s.name == "sgd":
        return torch.optim.SGD([parameter], s.rate, momentum=s.beta1, weight_decay=s.decay)
    return torch.optim.RMSprop([parameter], s.rate, momentum=s.beta1, weight_decay=s.decay)


def gradient(rows, step):
    generator = torch.Generator().manual_seed(step)
    return torch.sin(rows * 3) + 0.3 * torch.randn(rows.shape[-1], generator=generator, dtype=rows.dtype)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_row_takes_the_steps_of_torch(name, decay, momentum):
    settings = [Settings(name, 1e-3 * (m + 1), momentum if m != 1 else 0.5, 0.99, decay) for m in range(3)]
    start = torch.randn(3, padded(70), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    bank = Bank(start.clone(), settings)
    alone = [row.clone().requires_grad_() for row in start]
    optimizers = [torch_optimizer(p, s) for p, s in zip(alone, settings, strict=True)]
    for step in range(STEPS):
        bank.gradients.copy_(gradient(bank.parameters, step))
        bank.step()
        for parameter, optimizer in zip(alone, optimizers, strict=True):
            parameter.grad = gradient(parameter.detach(), step)
            optimizer.step()
        expected = torch.stack([p.detach() for p in alone])
        torch.testing.assert_close(bank.parameters, expected, atol=1e-9, rtol=0)


def test_members_that_leave_join_or_pause_keep_their_own_step_counts():
    settings = Settings("adam", 0.01, 0.9, 0.999, 0.0)
    rows = torch.randn(4, padded(10), dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def together():
        bank = Bank(rows[:3].clone(), [settings] * 3)
        for step in range(5):
            bank.gradients.copy_(gradient(bank.parameters, step))
            bank.step([0, 2] if step == 3 else None)
        bank.keep([2, 0])
        bank.add(rows[3:].clone(), [settings])
        for step in range(5, 9):
            bank.gradients.copy_(gradient(bank.parameters, step))
            bank.step()
        return bank.parameters

    def alone(row, first):
        bank = Bank(row.clone().unsqueeze(0), [settings])
        for step in range(first, 9):
            bank.gradients.copy_(gradient(bank.parameters, step))
            bank.step()
        return bank.parameters[0]

    found = together()
    assert torch.equal(found[0], alone(rows[2], 0))
    assert torch.equal(found[1], alone(rows[0], 0))
    assert torch.equal(found[2], alone(rows[3], 5))


def test_a_member_that_pauses_does_not_move():
    bank = Bank(torch.ones(2, 64), [Settings("adam", 0.1, 0.9, 0.999, 0.0)] * 2)
    bank.gradients.fill_(1.0)
    bank.step([1])
    assert bool((bank.parameters[0] == 1.0).all())
    assert bool((bank.parameters[1] < 1.0).all())


def test_an_unknown_optimiser_is_named():
    config = {f"train.{n}": 0.1 for n in ("learning_rate", "beta1", "beta2", "weight_decay")}
    with pytest.raises(SpecError, match="did you mean 'adam'"):
        Settings.of({**config, "train.optimizer": "adaam"})
