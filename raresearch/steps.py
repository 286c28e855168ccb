"""The steps in which a config's cells are trained: all at once, round by round in a race, or rung by rung of epochs.

A rung's cell is the cell with a smaller budget: same random streams, so that it is the beginning of the longer one, bit for
bit (see `raresearch.types.Cell`), and the longer one goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

from raresearch.types import Cell, Outcome

#: the cells that must be in after each step; the last step's are all of the config
Steps: TypeAlias = tuple[tuple[Cell, ...], ...]


def by_rounds(cells: Sequence[Cell], first: int) -> Steps:
    """``first`` cells, then one more at each step."""
    return tuple(tuple(cells[:rounds]) for rounds in range(first, len(cells) + 1))


def by_budgets(cells: Sequence[Cell], rungs: Sequence[int]) -> Steps:
    """All cells up to the epochs of each of ``rungs``, then to their end."""
    return (*(tuple(replace(c, epochs=epochs) for c in cells) for epochs in rungs), tuple(cells))


def over(cell: Cell, outcome: Outcome) -> bool:
    """Whether a larger budget than ``cell``'s would change nothing: it has failed, or its patience was at an end."""
    patience = cell.config["train.patience"]
    waited = outcome.stop_epoch - outcome.best_epoch
    spent = isinstance(patience, int) and 0 < patience <= waited
    return outcome.state == "failed" or outcome.stop_epoch < cell.epochs or spent


def carried(steps: Steps, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Outcomes of longer budgets that are known since a shorter one is over."""
    found: dict[str, Outcome] = {}
    for before, after in pairwise(steps):
        for short, long in zip(before, after, strict=False):
            outcome = found.get(short.key) or outcomes.get(short.key)
            if short.key != long.key and outcome is not None and over(short, outcome) and long.key not in outcomes:
                found[long.key] = replace(outcome, key=long.key, seconds=0.0)
    return found


def reached(steps: Steps, outcomes: Mapping[str, Outcome]) -> int:
    """The last step of which a cell was trained: what an earlier run had begun goes on there."""
    return max((n for n in range(1, len(steps)) if _begun(steps[n - 1], steps[n], outcomes)), default=0)


def _begun(before: Sequence[Cell], step: Sequence[Cell], outcomes: Mapping[str, Outcome]) -> bool:
    if any(c.key in outcomes for c in step[len(before) :]):
        return True
    for short, long in zip(before, step, strict=False):
        if short.key != long.key and long.key in outcomes:
            ended = outcomes.get(short.key)
            if ended is None or not over(short, ended):
                return True
    return False
