"""The paper's multi-layer perceptron. Loads torch; imported by workers only."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from raresearch.errors import SpaceError
from raresearch.types import Value


def mlp(inputs: int, hidden: Value, dropout: Value) -> nn.Sequential:
    """Linear and ReLU for each width of ``hidden``, then one output: the logit of a physical event.

    ``dropout`` above 0 adds a dropout layer after each hidden layer (the paper's Fig. 4d, 0.2). The paper names only the
    output's activation; ReLU and torch's own initialisation are assumptions. Raises `SpaceError`.
    """
    widths, rate = _widths(hidden), _rate(dropout)
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *widths)):
        layers += [nn.Linear(before, after), nn.ReLU()]
        if rate > 0.0:
            layers.append(nn.Dropout(rate))
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1))


def _widths(hidden: Value) -> tuple[int, ...]:
    listed = hidden if isinstance(hidden, (tuple, list)) else ()
    widths = tuple(w for w in listed if isinstance(w, int) and not isinstance(w, bool) and w > 0)
    if not widths or len(widths) != len(listed):
        raise SpaceError(
            f"model.hidden: {hidden!r}", "must list widths, whole numbers above 0", "model.hidden: [32, 32, 16, 8]"
        )
    return widths


def _rate(dropout: Value) -> float:
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0.0 <= dropout < 1.0:
        raise SpaceError(f"model.dropout: {dropout!r}", "must lie in [0, 1)", "the paper tried 0.2")
    return float(dropout)
