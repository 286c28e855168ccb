"""What a worker does with a pack: lease its cells, train them, land them as they finish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from raresearch.execution.limits import LimitExceeded, Limits, watched
from raresearch.experiment import Experiment
from raresearch.planner import shorter_budgets
from raresearch.store.checkpoints import Checkpoints
from raresearch.store.life import at_work, worker_name
from raresearch.store.records import CellRecord
from raresearch.store.remote import mirror
from raresearch.store.store import Store
from raresearch.training.arrays import FoldData, Loaded, fold_data
from raresearch.training.policy import Keep
from raresearch.types import Cell, Outcome, Pack, digest

if TYPE_CHECKING:
    import torch

    from raresearch.training.crew import Crew
    from raresearch.training.resume import Resuming

MEMORY_SHARE = 0.5  # of what is free: the rest is for the other processes, the page cache and what was not foreseen

Report: TypeAlias = Callable[[Cell, int], None]


class DataHandles(Protocol):
    """How a worker gets at a dataset: from disk, or from Ray's object store."""

    def load(self, fingerprint: str) -> Loaded:
        """The events of the dataset with ``fingerprint``; may keep them for the next call."""


def _silent(text: str) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class WorkContext:
    """All that a worker needs besides the pack. Test labels are not in it, nor any path to them that it follows."""

    store: Path
    experiment: Experiment
    data: DataHandles
    study_seed: int
    folds: int
    keep: Keep
    workers: int = 1
    gpus: float = 0
    remote: str = ""  # the URI of what ``store`` mirrors, on every node for itself
    limits: Limits = field(default_factory=Limits)
    checkpoint_seconds: float | None = None
    note: Callable[[str], None] = _silent  # hears what is worth a line and is no error
    cell_workers: int = 1  # so many train one cell together, each with ``cpus`` and ``gpus``
    cpus: float = 1
    retries: int = 0
    budgets: tuple[int, ...] = ()  # epochs at which early stopping pauses a training, and the last one
    room_seconds: float = 60  # so long they wait for room for all of them before fewer begin

    @cached_property
    def opened(self) -> Store:
        """The store, opened once a worker: it reads each landing once, where a new one a pack would read all of them again."""
        return Store(mirror(self.remote) if self.remote else self.store, whole=True)


def run_pack(
    context: WorkContext,
    pack: Pack,
    report: Report,
    kill: Callable[[str], None] | None = None,
    spread: Callable[[WorkContext, Pack], None] | None = None,
) -> list[Outcome]:
    """Train what of ``pack`` has not landed yet, land it, and say what became of every cell, in the pack's order.

    ``kill`` ends this process where a training exceeds its limits and does not react. ``spread`` trains a pack on several
    workers, which land it. Raises `WriteFailed` where the store did not take a result, `UserError` where the input is wrong.
    """
    store = context.opened
    with store.elsewhere.leases([c.key for c in pack.cells], store.landed_among) as mine:
        todo = [c for c in pack.cells if mine[c.key]]
        checkpoints = Checkpoints(store.root, store.elsewhere, [c.key for c in todo])
        landing = _Landing(store, digest([c.key for c in pack.cells], 12), checkpoints)
        if todo:
            with at_work(store.root, [c.key for c in todo]):
                if spread and context.cell_workers > 1:
                    spread(context, Pack(tuple(todo), pack.why))
                else:
                    _train_within(context, todo, landing, report, kill)
    missing = [c.key for c in pack.cells if c.key not in landing.outcomes]
    there = store.outcomes() if missing else {}
    return [landing.outcomes[c.key] if c.key in landing.outcomes else there[c.key] for c in pack.cells]


def run_share(context: WorkContext, pack: Pack, crew: Crew, device: torch.device, kill: Callable[[str], None]) -> list[Outcome]:
    """Train ``pack``, whose cells somebody else has leased, as one worker of ``crew``; the first one lands it."""
    store = context.opened
    keys = [c.key for c in pack.cells]
    landing = _Landing(store, digest(keys, 12), Checkpoints(store.root, store.elsewhere, keys), silent=crew.rank > 0)
    _train_within(context, pack.cells, landing, lambda cell, epoch: None, kill, Share(crew, device))
    return list(landing.outcomes.values())


@dataclass(frozen=True)
class Share:
    """This worker's part in a crew, and its device."""

    crew: Crew
    device: torch.device


@dataclass
class _Landing:
    """Records land as they come: at once, so that a killed worker loses no cell that was trained to its end.

    Members that stop at the same epoch share a landing, which keeps its cost (some 15 ms) at about a hundredth of a pack's.
    """

    store: Store
    pack: str
    checkpoints: Checkpoints
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    silent: bool = False  # another worker lands what is done; a failure that only this one may see is landed by it

    def add(self, records: Sequence[CellRecord]) -> None:
        """Land ``records``."""
        mine = [r for r in records if not self.silent or r.outcome.state == "failed"]
        self.store.land([replace(r, worker=worker_name(), pack=self.pack) for r in mine])
        self.outcomes |= {r.cell.key: r.outcome for r in records}
        self.checkpoints.drop(r.cell.key for r in mine)


def _train_within(
    context: WorkContext,
    cells: Sequence[Cell],
    landing: _Landing,
    report: Report,
    kill: Callable[[str], None] | None,
    share: Share | None = None,
) -> None:
    """Train ``cells`` within the study's limits: a pack that exceeds them is taken apart, a cell alone has failed."""

    def given_up(why: str) -> None:
        landing.add([CellRecord(c, Outcome(c.key, "failed", error=why)) for c in cells])
        assert kill is not None
        kill(why)

    try:
        with watched(context.limits, len(cells), given_up if kill and len(cells) == 1 else kill):
            _train(context, cells, landing, report, share)
    except LimitExceeded as error:
        left = [c for c in cells if c.key not in landing.outcomes]
        if len(cells) == 1:
            landing.add([CellRecord(c, Outcome(c.key, "failed", error=str(error))) for c in left])
            return
        for cell in left:
            _train_within(context, [cell], landing, report, kill, share)


def _train(context: WorkContext, cells: Sequence[Cell], landing: _Landing, report: Report, share: Share | None = None) -> None:
    # Imported here: a driver that only hands packs to Ray would wait seconds for torch and never use it.
    from raresearch.training.pack import Work, train_pack
    from raresearch.training.width import free_memory

    asked = cells[0].config.get("train.pack", "auto")
    share = share or _own_share(context)
    work = Work(
        experiment=context.experiment,
        study_seed=context.study_seed,
        keep=context.keep,
        data=lambda cell: _fold_data(context, cell),
        land=landing.add,
        report=report,
        memory=context.limits.within(int(free_memory() * MEMORY_SHARE / context.workers)),
        device=share.device,
        width=asked if isinstance(asked, int) else None,
        resuming=_resuming(context, landing.checkpoints, share),
        crew=share.crew,
        budgets=context.budgets,
    )
    longest, shorter = shorter_budgets(cells)
    train_pack(longest, work, shorter)


def _own_share(context: WorkContext) -> Share:
    """This worker alone."""
    import torch

    from raresearch.training.crew import Solo

    return Share(Solo(), torch.device("cuda" if context.gpus and torch.cuda.is_available() else "cpu"))


def _resuming(context: WorkContext, checkpoints: Checkpoints, share: Share) -> Resuming:
    from raresearch.training.crew import FirstsShelf
    from raresearch.training.resume import Resuming

    if context.checkpoint_seconds is None:
        return Resuming()
    shelf = FirstsShelf(checkpoints, share.crew, share.device) if share.crew.size > 1 else checkpoints
    return Resuming(shelf, context.checkpoint_seconds, context.note)


def _fold_data(context: WorkContext, cell: Cell) -> FoldData:
    loaded = context.data.load(str(cell.identity["data"]))
    return fold_data(loaded, cell.fold, context.folds, context.study_seed)
