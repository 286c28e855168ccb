"""Cells → packs: what trains together in one worker. Knows configs, not networks; loads no torch.

Cells whose configs differ only in names that change no network may train as one stack; the worker has the last word (it
sees the networks, see `raresearch.training.kernels`). Nothing decided here changes a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from raresearch.training.mixed import MIXED
from raresearch.types import Cell, Config, Pack, Value, config_id

LEAST = 8  # fewer members than this leave a core idle: rather one pack of 8 than two of 4 (4A, one core: 55 µs a member at 8)
MOST = 256  # cells: a pack is lost with its worker, but for what has landed

#: config → what decides whether two configs' networks have the same shape
ShapeOf = Callable[[Config], Hashable]


def by_names(config: Config) -> Hashable:
    """The shape of a config as far as its names tell."""
    apart = {n: v for n, v in config.items() if n not in MIXED and n != "train.epochs" and not n.startswith("data.")}
    return config_id(apart)


def plan_packs(cells: Iterable[Cell], workers: int = 1, shape_of: ShapeOf = by_names) -> list[Pack]:
    """Packs for ``workers`` that train at the same time, each as large as keeps all of them busy.

    Cells that differ in their budget alone stay together: the shorter ones are read off the longest. `train.pack` limits
    the trainings in a pack: `auto`, `off` (one) or a number.
    """
    groups: dict[tuple[Hashable, Value], list[list[Cell]]] = {}
    for training in trainings(cells):
        longest = training[-1].config
        groups.setdefault((shape_of(longest), longest.get("train.pack", "auto")), []).append(training)
    packs = []
    for (_, asked), members in groups.items():
        size = (
            1 if members[0][-1].config.get("train.micro_batches", 1) != 1 else _size(len(members), asked, workers, len(groups))
        )
        # As equal as possible: 100 in packs of at most 64 are two of 50.
        parts = math.ceil(len(members) / size)
        for part in range(parts):
            chosen = members[part * len(members) // parts : (part + 1) * len(members) // parts]
            packs.append(Pack(tuple(c for training in chosen for c in training), _why(chosen, asked)))
    return packs


def trainings(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Cells that one training serves, the longest budget last; in the order of first appearance."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.stream_key, []).append(cell)
    return [sorted(same, key=lambda c: c.epochs) for same in found.values()]


def _size(members: int, asked: object, workers: int, groups: int) -> int:
    """Trainings in a pack."""
    if asked == "off":
        return 1
    fair = math.ceil(members / workers)
    least = 1 if groups < workers else LEAST
    size = max(1, min(MOST, max(fair, least)))
    return min(size, asked) if isinstance(asked, int) else size


def _why(chosen: Sequence[Sequence[Cell]], asked: object) -> str:
    if asked == "off":
        return "alone: train.pack is off"
    if chosen[0][-1].config.get("train.micro_batches", 1) != 1:
        return "alone: its batches are computed in pieces"
    longest = [training[-1] for training in chosen]
    if len(longest) == 1:
        return "alone: no other cell has its shape, or every worker has one"
    configs = len({by_names(c.config) for c in longest}), len({config_id(c.config) for c in longest})
    return f"{len(longest)} trainings of {configs[1]} config(s)" + (", one shape" if configs[0] > 1 else "")


def fill(packs: Sequence[Pack]) -> float:
    """Trainings in a pack, on average; 0 where there is none.

    >>> fill([])
    0.0
    """
    return sum(len(trainings(p.cells)) for p in packs) / len(packs) if packs else 0.0


def shorter_budgets(cells: Iterable[Cell]) -> tuple[list[Cell], Mapping[str, Sequence[Cell]]]:
    """The cells to train, and for each (by its key) those that are read off it."""
    all_trainings = trainings(cells)
    return [t[-1] for t in all_trainings], {t[-1].key: t[:-1] for t in all_trainings if len(t) > 1}
