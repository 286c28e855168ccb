"""A pack of cells trained to their stops, some at a time: members that stop leave, cells that wait take their places.

Legend: M members that train at the same time (the pack's width).
"""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from raresearch.errors import CellFailure, UserError
from raresearch.experiment import Experiment
from raresearch.store.records import CellRecord
from raresearch.training.arrays import FoldData
from raresearch.training.crew import Crew, Solo
from raresearch.training.kernels import Kernel, Stack, choose
from raresearch.training.lanes import FoldTensors, Lane
from raresearch.training.memory import gauge
from raresearch.training.pieces import InPieces, in_pieces
from raresearch.training.policy import Keep
from raresearch.training.resume import Member, Moment, Resuming, identity
from raresearch.training.scoring import judged, logits_of
from raresearch.training.seeding import own_randomness
from raresearch.training.single import Alone, Report, build_model
from raresearch.training.width import best_width
from raresearch.types import Cell, Config, Outcome, Value

BUDGET = "train.epochs"


@dataclass(frozen=True)
class Work:
    """What all packs of a worker share. ``land`` takes records as they come; ``data`` gives a cell's fold.

    ``memory``: bytes that networks and recorded scores may take; ``width``: most members at a time, None for no limit.
    """

    experiment: Experiment
    study_seed: int
    keep: Keep
    data: Callable[[Cell], FoldData]
    land: Callable[[Sequence[CellRecord]], None]
    report: Report
    memory: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    width: int | None = None
    explain: Callable[[Cell, str], None] = lambda cell, why: None  # why a cell trains alone
    crew: Crew = field(default_factory=Solo)  # workers that train the same cells together with this one
    resuming: Resuming = field(default_factory=Resuming)  # keeps no checkpoints where nobody gives a shelf
    budgets: Sequence[int] = ()  # epochs at which cells may pause until it is known whether they go on, and the last one


def train_pack(cells: Sequence[Cell], work: Work, shorter: Mapping[str, Sequence[Cell]] | None = None) -> None:
    """Train ``cells`` and land a record for each, done or failed, as they finish.

    ``shorter``: key → cells that differ from that one by smaller budgets only; theirs are read off its training. Raises
    `UserError` where the input is wrong, `MemoryError` where not even one network fits.
    """
    seen: set[str] = set()
    watched = deque(replace(c, config=Watched(c.config, seen)) for c in cells)
    pack = _Pack(work, watched, shorter or {}, seen)
    with own_randomness(), work.resuming.kept(pack.settled.__contains__):
        pack.run()


class Watched(dict[str, Value]):
    """A config that notes in ``seen`` when somebody reads the budget: what depends on it is no beginning of a longer one."""

    def __init__(self, config: Config, seen: set[str]) -> None:
        super().__init__(config)
        self.seen = seen

    def __getitem__(self, name: str) -> Value:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._note(name)
        return super().get(name, default)

    def _note(self, name: str) -> None:
        if name == BUDGET:
            self.seen.add(name)


@dataclass
class _Pack:
    """Cells that wait and members under way."""

    work: Work
    waiting: deque[Cell]
    shorter: Mapping[str, Sequence[Cell]]
    seen: set[str]
    known: dict[object, Kernel] = field(default_factory=dict)
    events: dict[tuple[object, ...], FoldTensors] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    identities: dict[str, dict[str, Value]] = field(default_factory=dict)  # of cells under way, for their checkpoints
    most: int | None = None  # lowered when memory runs out

    def run(self) -> None:
        """Until no cell waits: take the first one and all that can train with it."""
        while self.waiting or self._unread():
            first = self._next()
            if first is None:
                continue
            lane, model = first
            kernel = choose(self.work.experiment, lane, model, self.work.study_seed, self.known)
            if kernel.make is None:
                self.work.explain(lane.cell, kernel.why)
                self._alone(lane, model)
            else:
                self._together(kernel, lane, model)

    def _unread(self) -> bool:
        """Queue the cells that could not be read off a longer training."""
        left = [c for cells in self.shorter.values() for c in cells if c.key not in self.settled]
        self.waiting.extend(replace(c, config=Watched(c.config, self.seen)) for c in left)
        return bool(left)

    # -- members

    def _next(self) -> tuple[Lane, nn.Module] | None:
        """The next waiting cell with its network; None where the network could not be made, which fails the cell."""
        cell = self.waiting.popleft()
        try:
            lane = Lane.of(cell, self._events(cell), self.work.study_seed)
            return lane, build_model(lane, self.work.experiment, self.work.study_seed)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # the boundary to a user's code: whatever it raises is this cell's result
            self._fail([cell], described(error))
            return None

    def _events(self, cell: Cell) -> FoldTensors:
        config = cell.config
        slot = (cell.identity["data"], cell.fold, config["train.scaling"], config["train.precision"])
        if slot not in self.events:
            self.events[slot] = FoldTensors.of(self.work.data(cell), config, self.work.device)
        return self.events[slot]

    def _together(self, kernel: Kernel, lane: Lane, model: nn.Module) -> None:
        """Train all waiting cells that fit ``kernel``, ``lane`` first; the others keep waiting."""
        width = best_width(kernel.member_bytes, lane, self.work.memory, self.work.device, self.work.width)
        width = min(width, self.most or width)
        others: list[Cell] = []
        stack: Stack | None = None
        joining = [(lane, model)]
        if not self.waiting:  # a peak of several is nobody's
            lane.peak = gauge(self.work.device)
        try:
            while joining or (stack and stack.lanes) or self.waiting:
                self._joining(kernel, width - (len(stack.lanes) if stack else 0), joining, others)
                stack = _joined(kernel, stack, joining)
                self._resume(stack, joining)
                joining = []
                if stack is None:
                    break
                self._epoch(stack)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or width == 1:
                raise
            unfinished = [each.cell for each in (stack.lanes if stack else [])] + [each.cell for each, _ in joining]
            self.most = width // 2
            self.waiting.extendleft(reversed([c for c in unfinished if c.key not in self.settled]))
        self.waiting.extend(others)

    def _joining(self, kernel: Kernel, places: int, joining: list[tuple[Lane, nn.Module]], others: list[Cell]) -> None:
        """Fill ``joining`` up to ``places`` with waiting cells of the kernel's signature; the rest goes to ``others``."""
        while self.waiting and len(joining) < places:
            found = self._next()
            if found is None:
                continue
            fits = choose(self.work.experiment, *found, self.work.study_seed, self.known).signature == kernel.signature
            if fits:
                joining.append(found)
            else:
                others.append(found[0].cell)

    # -- epochs

    def _epoch(self, stack: Stack) -> None:
        """One epoch of all members; those that finish or fail leave the stack."""
        started = time.perf_counter()
        losses = stack.epoch()
        outputs = stack.outputs_of("validation", range(len(stack.lanes)))
        # Where every epoch's scores are kept, all members' at once; else of those that ask.
        blind = stack.outputs_of("test", range(len(stack.lanes))) if self.work.keep.all_scores else None
        staying = []
        for number, lane in enumerate(stack.lanes):
            lane.epoch += 1
            try:
                self._record(stack, number, losses[number], outputs[number], blind)
            except CellFailure as error:
                self._fail([lane.cell, *self._open_shorter(lane)], str(error))
                continue
            self._pause(lane, lambda number=number: _Place(stack, number))  # type: ignore[misc]
            self.work.report(lane.cell, lane.epoch)
            if not lane.finished:
                staying.append(number)
        seconds = (time.perf_counter() - started) / len(stack.lanes)
        for lane in stack.lanes:
            lane.seconds += seconds
        self._land([lane for lane in stack.lanes if lane.cell.key not in self.settled])
        if len(staying) < len(stack.lanes):
            stack.keep(staying) if staying else stack.lanes.clear()
        self.work.resuming.offer(lambda: [self._moment(lane, _Place(stack, n)) for n, lane in enumerate(stack.lanes)])

    def _record(
        self, stack: Stack, number: int, loss: float, output: torch.Tensor, blind: Sequence[torch.Tensor] | None
    ) -> None:
        lane, experiment = stack.lanes[number], self.work.experiment
        config = lane.cell.config
        lane.history.add(
            loss,
            judged(experiment, output, lane.events.validation, config),
            self.work.keep,
            snapshot=lambda: stack.snapshot(number),
            blind=lambda: logits_of(experiment, blind[number] if blind else stack.outputs_of("test", [number])[0], config),
        )

    def _alone(self, lane: Lane, model: nn.Module) -> None:
        """Train one cell by the loop for networks that cannot be stacked."""
        work, cell = self.work, lane.cell
        lane.peak = gauge(work.device)
        try:
            if in_pieces(cell.config):
                training: Alone = InPieces.join(lane, work.experiment, work.study_seed, work.crew)
            else:
                training = Alone.begin(lane, work.experiment, work.study_seed)
            self._begin(lane, model, training, type(training).__name__)
            while not lane.finished:
                training.advance(work.keep)
                self._pause(lane, lambda: training)
                work.report(cell, lane.epoch)
                self._land([lane])
                work.resuming.offer(lambda: [] if lane.finished else [self._moment(lane, training)])
        except CellFailure as error:
            self._fail([cell, *self._open_shorter(lane)], str(error))
        except (UserError, MemoryError):
            raise
        except Exception as error:  # the boundary to a user's code, as above
            self._fail([cell, *self._open_shorter(lane)], described(error))

    # -- checkpoints

    def _resume(self, stack: Stack | None, joined: Sequence[tuple[Lane, nn.Module]]) -> None:
        """Bring the last members of ``stack``, which have just ``joined``, to where their checkpoints are."""
        if stack is not None and not self.work.resuming.off:
            first = len(stack.lanes) - len(joined)
            for number, (lane, model) in enumerate(joined, first):
                self._begin(lane, model, _Place(stack, number), type(stack).__name__)

    def _begin(self, lane: Lane, model: nn.Module, member: Member, loop: str) -> None:
        """Before the first epoch: go on from the cell's checkpoint, if there is one that fits."""
        if not self.work.resuming.off:
            mine = self.identities[lane.cell.key] = identity(lane, model, self.work.keep, loop)
            budgets = [c.epochs for c in self.shorter.get(lane.cell.key, ()) if c.key not in self.settled]
            self.work.resuming.resume(lane, member, mine, min(budgets, default=math.inf))

    def _pause(self, lane: Lane, member: Callable[[], Member]) -> None:
        """Where the budget is spent and a longer one may follow, leave a checkpoint for that: it goes on from here."""
        longer = self._longer(lane.cell)
        if longer and lane.finished and not lane.out_of_patience and not self.work.resuming.off:
            moment = self._moment(lane, member())
            mine = {**moment.identity, "cell": longer[0].key}
            self.work.resuming.write([replace(moment, cell=longer[0], identity=mine)])

    def _longer(self, cell: Cell) -> list[Cell]:
        """The cells whose beginning ``cell`` is."""
        return [replace(cell, epochs=epochs) for epochs in self.work.budgets if epochs > cell.epochs]

    def _moment(self, lane: Lane, member: Member) -> Moment:
        return Moment.of(lane, self.identities[lane.cell.key], *member.state())

    # -- records

    def _open_shorter(self, lane: Lane) -> list[Cell]:
        """Cells to be read off ``lane``; none where the experiment asks for the budget: then each is trained itself."""
        if BUDGET in self.seen:
            return []
        return [c for c in self.shorter.get(lane.cell.key, ()) if c.key not in self.settled]

    def _land(self, lanes: Iterable[Lane]) -> None:
        """Land what is complete: finished cells, and those of a smaller budget that is now spent."""
        records = []
        for lane in lanes:
            done = [c for c in self._open_shorter(lane) if lane.finished or c.epochs <= lane.epoch]
            # Nothing was spent on a cell that is read off another's training.
            records += [lane.history.record(c, lane.events.data, lane.events.scaling, 0.0) for c in done]
            if lane.finished:
                # A larger budget would change nothing where the patience is at its end: those cells are done, too.
                ended = self._longer(lane.cell) if lane.out_of_patience else []
                for cell in [lane.cell, *ended]:
                    record = lane.history.record(cell, lane.events.data, lane.events.scaling, lane.seconds)
                    records.append(replace(record, memory=lane.peak()))
        self._settle(records)

    def _fail(self, cells: Sequence[Cell], reason: str) -> None:
        text = " ".join(reason.split())[:500]
        self._settle([CellRecord(c, Outcome(c.key, "failed", error=text)) for c in cells])

    def _settle(self, records: Sequence[CellRecord]) -> None:
        if records:
            self.settled |= {r.cell.key for r in records}
            self.work.land(records)


@dataclass(frozen=True)
class _Place:
    """One member of a stack."""

    stack: Stack
    number: int

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Value]]:
        return self.stack.state(self.number), {}

    def restore(self, tensors: Mapping[str, torch.Tensor], own: Mapping[str, Value]) -> None:
        self.stack.restore(self.number, tensors)


def _joined(kernel: Kernel, stack: Stack | None, joining: Sequence[tuple[Lane, nn.Module]]) -> Stack | None:
    """``stack`` with new members; a new one where there is none or it is empty; None where there is nobody."""
    lanes, models = [lane for lane, _ in joining], [model for _, model in joining]
    if stack is not None and stack.lanes:
        if lanes:
            stack.add(lanes, models)
        return stack
    return kernel.make(lanes, models) if lanes and kernel.make else None


def described(error: Exception) -> str:
    """What a user's code raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is a lack of memory, on the host or on a GPU (torch raises RuntimeError for the host's)."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return "can't allocate memory" in text or "not enough memory" in text
