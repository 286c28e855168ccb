"""Parameters of the members of a pack, and their optimisers' steps.

Legend: M members, P parameters of one member (padded). A bank keeps every member's parameters in one row of a matrix, so
that one fused kernel call updates all members with the same settings, each by its own step count. The kernels are torch's
own and run row by row: what a member's row becomes does not depend on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from raresearch.training.optimizers import Settings

ROW = 64  # rows are padded to whole cache lines and vectors, so that no kernel treats one member's tail in another way
EPSILON = 1e-8  # torch's default for adam, adamw and rmsprop
SMOOTHING = 0.99  # torch's default for rmsprop


def padded(size: int) -> int:
    """``size`` rounded up to a whole row."""
    return -(-size // ROW) * ROW


class Bank:
    """Parameters (M, P), their gradients, and the optimiser's two memories of them; ``steps`` (M,) counts from 0."""

    def __init__(self, rows: torch.Tensor, settings: Sequence[Settings]) -> None:
        self.parameters = rows
        self.settings = list(settings)
        self.first, self.second = torch.zeros_like(rows), torch.zeros_like(rows)
        self.steps = torch.zeros(len(rows), dtype=torch.float32, device=rows.device)
        self._ready()

    def __len__(self) -> int:
        return len(self.settings)

    def _ready(self) -> None:
        self.gradients = torch.zeros_like(self.parameters)
        matrices = (self.parameters, self.gradients, self.first, self.second)
        self._rows = [list(matrix.unbind(0)) for matrix in matrices]
        self._steps = list(self.steps.unbind(0))
        self._groups = self._grouped(range(len(self)))

    def _grouped(self, lanes: Sequence[int]) -> list[tuple[Settings, list[int]]]:
        groups: dict[Settings, list[int]] = {}
        for lane in lanes:
            groups.setdefault(self.settings[lane], []).append(lane)
        return list(groups.items())

    def keep(self, lanes: Sequence[int]) -> None:
        """Forget all members but ``lanes``."""
        rows = torch.as_tensor(list(lanes), dtype=torch.int64, device=self.parameters.device)
        self.parameters, self.first, self.second, self.steps = (
            t[rows] for t in (self.parameters, self.first, self.second, self.steps)
        )
        self.settings = [self.settings[lane] for lane in lanes]
        self._ready()

    def add(self, rows: torch.Tensor, settings: Sequence[Settings]) -> None:
        """New members after the others, at their first step."""
        fresh = torch.zeros_like(rows)
        self.parameters, self.first, self.second = (
            torch.cat(pair) for pair in ((self.parameters, rows), (self.first, fresh), (self.second, fresh))
        )
        self.steps = torch.cat([self.steps, torch.zeros(len(rows), dtype=self.steps.dtype, device=rows.device)])
        self.settings += settings
        self._ready()

    def member(self, number: int) -> dict[str, torch.Tensor]:
        """Copies of one member's row in every matrix."""
        return {name: row.clone() for name, row in self._member(number).items()}

    def restore(self, number: int, rows: Mapping[str, torch.Tensor]) -> None:
        """Put back what `member` gave, in place: views of the parameters stay theirs."""
        for name, row in self._member(number).items():
            row.copy_(rows[name])

    def _member(self, number: int) -> dict[str, torch.Tensor]:
        names = ("parameters", "first", "second", "steps")
        return {name: getattr(self, name).detach()[number] for name in names}

    @torch.no_grad()
    def step(self, lanes: Sequence[int] | None = None) -> None:
        """One step of ``lanes`` (all, by default) down their gradients."""
        for settings, members in self._groups if lanes is None else self._grouped(lanes):
            p, g, m, v = ([rows[lane] for lane in members] for rows in self._rows)
            _UPDATES[settings.name](settings, p, g, m, v, [self._steps[lane] for lane in members])


_Rows = list[torch.Tensor]


def _adam(s: Settings, p: _Rows, g: _Rows, m: _Rows, v: _Rows, steps: _Rows) -> None:
    kernel = torch._fused_adam_ if s.name == "adam" else torch._fused_adamw_
    torch._foreach_add_(steps, 1)
    kernel(
        p,
        g,
        m,
        v,
        [],
        steps,
        lr=s.rate,
        beta1=s.beta1,
        beta2=s.beta2,
        weight_decay=s.decay,
        eps=EPSILON,
        amsgrad=False,
        maximize=False,
    )


def _sgd(s: Settings, p: _Rows, g: _Rows, m: _Rows, v: _Rows, steps: _Rows) -> None:
    # A buffer that starts at zero is torch's buffer that starts at the first gradient, as long as nothing is damped.
    torch._fused_sgd_(
        p,
        g,
        m if s.beta1 else [],
        weight_decay=s.decay,
        momentum=s.beta1,
        lr=s.rate,
        dampening=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )


def _rmsprop(s: Settings, p: _Rows, g: _Rows, m: _Rows, v: _Rows, steps: _Rows) -> None:
    if s.decay:
        torch._foreach_add_(g, p, alpha=s.decay)
    torch._foreach_mul_(v, SMOOTHING)
    torch._foreach_addcmul_(v, g, g, 1 - SMOOTHING)
    deviation = torch._foreach_sqrt(v)
    torch._foreach_add_(deviation, EPSILON)
    torch._foreach_mul_(m, s.beta1)
    torch._foreach_addcdiv_(m, g, deviation)
    torch._foreach_add_(p, m, alpha=-s.rate)


_UPDATES = {"adam": _adam, "adamw": _adam, "sgd": _sgd, "rmsprop": _rmsprop}
