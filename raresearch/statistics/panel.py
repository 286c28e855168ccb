"""Scores of repeats on shared events: what every statistic of a study starts from.

Legend: R repeats, F lists of events (folds), N_f events of a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raresearch.ensembles.evaluation import Ensemble, ScoreReader
from raresearch.ensembles.figures import values
from raresearch.errors import DataError, SelectionError
from raresearch.metrics.base import FigureOfMerit, on
from raresearch.types import Array


@dataclass(frozen=True)
class Block:
    """One list of events as R repeats scored it: ``scores`` (R, N), ``label`` (N,), ``weight`` (N,), ``event_id`` (N,)."""

    name: str
    scores: Array
    label: Array
    weight: Array
    event_id: Array
    columns: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """R repeats on F lists of events. The value of a repeat is the mean of its figures of merit over the lists.

    ``left_out``: repeats that lack a fold (a failed cell) and are not among the R.
    """

    blocks: tuple[Block, ...]
    left_out: int = 0

    def __post_init__(self) -> None:
        for block in self.blocks:
            if not np.isfinite(block.scores).all():
                rule = f"{int((~np.isfinite(block.scores)).sum())} of {block.scores.size} scores are NaN or infinite"
                raise DataError(f"events {block.name}", rule, "leave the failed training out")

    @property
    def repeats(self) -> int:
        """R."""
        return len(self.blocks[0].scores)

    def values(self, fom: FigureOfMerit, events: Sequence[Array] | None = None, most: int | None = None) -> Array:
        """(R,) value of each repeat; on ``events`` (one array of event numbers a list) where given; of the first ``most`` repeats."""
        found = []
        for number, block in enumerate(self.blocks):
            rows = slice(None) if events is None else events[number]
            bound = on(fom, {name: column[rows] for name, column in block.columns.items()})
            found.append(values(bound, block.scores[:most, rows], block.label[rows], block.weight[rows]))
        mean: Array = np.mean(found, axis=0)
        return mean


def panel(reader: ScoreReader, ensembles: Sequence[Ensemble]) -> Panel:
    """The panel of one config's ensembles: one repeat a seed, its folds one list each.

    Repeats that lack a list that others have are left out and counted. Raises `SelectionError` where none is complete.
    """
    by_seed: dict[int, dict[str, tuple[Array, Array, Array, Array, Mapping[str, Array]]]] = {}
    for number, ensemble in enumerate(ensembles):
        for events, scores in reader.combined(ensemble, "validation"):
            ids = events["event_id"].to_numpy()
            seed = ensemble.seed if ensemble.seed >= 0 else -1 - number
            key = f"{len(ids)}-{int(ids[0]) if len(ids) else 0}-{int(ids.sum())}"
            columns = {n: events[n].to_numpy() for n in events.column_names if n not in ("event_id", "label", "weight")}
            by_seed.setdefault(seed, {})[key] = (scores, events["label"].to_numpy(), events["weight"].to_numpy(), ids, columns)
    lists = sorted({key for found in by_seed.values() for key in found})
    complete = [found for _, found in sorted(by_seed.items()) if len(found) == len(lists)]
    if not complete:
        raise SelectionError("repeats", "no repeat was scored in every fold", "train the failed cells again (--retry-failed)")
    first = complete[0]
    blocks = (Block(key, np.stack([found[key][0] for found in complete]), *first[key][1:]) for key in lists)
    return Panel(tuple(blocks), len(by_seed) - len(complete))


def paired(a: Panel, b: Panel) -> tuple[Panel, Panel]:
    """Both with their events in the same order. Raises `DataError` where they were not validated on the same events."""
    if len(a.blocks) != len(b.blocks):
        rule = f"A has {len(a.blocks)} folds, B has {len(b.blocks)}"
        raise DataError("compare", rule, "compare configs of one study, with the same folds")
    return a, Panel(tuple(_matched(x, y) for x, y in zip(a.blocks, b.blocks, strict=True)), b.left_out)


def _matched(a: Block, b: Block) -> Block:
    if np.array_equal(a.event_id, b.event_id):
        return b
    order_a, order_b = np.argsort(a.event_id, kind="stable"), np.argsort(b.event_id, kind="stable")
    if len(a.event_id) != len(b.event_id) or not np.array_equal(a.event_id[order_a], b.event_id[order_b]):
        shared = len(np.intersect1d(a.event_id, b.event_id))
        rule = f"event ids differ: {shared} shared of {len(a.event_id)} and {len(b.event_id)}"
        raise DataError("compare", rule, "compare trainings of one dataset: the same data.* values, split and seed")
    rows = np.empty(len(order_a), dtype=np.int64)
    rows[order_a] = order_b
    return Block(
        b.name, b.scores[:, rows], b.label[rows], b.weight[rows], b.event_id[rows], {k: v[rows] for k, v in b.columns.items()}
    )
