"""A study: configs become cells, cells become packs, results go back to the searcher. Knows no Ray.

The store is the truth. Starting a study and resuming it are the same act: what has landed is told to the searcher first,
half-finished configs are finished next, and only then is anything new proposed.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from raresearch.ensembles.base import SelectionRule
from raresearch.ensembles.evaluation import COLUMNS, best_so_far, cell_values, config_score
from raresearch.errors import WriteFailed
from raresearch.execution.base import Waiting
from raresearch.experiment import Experiment
from raresearch.metrics.base import FigureOfMerit
from raresearch.planner import ShapeOf, by_names, plan_packs
from raresearch.racing import Race, Verdict
from raresearch.searchers.base import Expecting, Score, Searcher, Several
from raresearch.searchers.build import FREE
from raresearch.spec import StudySpec
from raresearch.steps import Steps, by_budgets, by_rounds, carried, reached
from raresearch.stopping import Rungs, Stop
from raresearch.store.checkpoints import Checkpoints
from raresearch.store.life import Troubles
from raresearch.store.records import CellRecord, parse_config
from raresearch.store.store import Store
from raresearch.types import Cell, Config, Outcome, Pack, Value, config_id

AHEAD = 20_000  # cells that are planned at once
BACK_OFF, LONGEST = 0.5, 60.0  # seconds before the second attempt, doubled for each further one, and at most


def make_cells(spec: StudySpec, experiment: Experiment, config: Config, fingerprint: str) -> tuple[Cell, ...]:
    """The cells of one full config: every repeat of every fold, on the dataset with ``fingerprint``."""
    identity: dict[str, Value] = {
        "experiment": experiment.name,
        "version": experiment.version,
        "data": fingerprint,
        "folds": spec.folds,
        "study_seed": spec.seed,
    }
    epochs = int(config["train.epochs"])  # type: ignore[arg-type]
    return tuple(Cell(config, fold, seed, epochs, identity) for seed in range(spec.repeats) for fold in range(spec.folds))


@dataclass
class Counts:
    """How a study stands, in cells. ``total`` is None where the searcher cannot say."""

    total: int | None
    done: int = 0
    failed: int = 0
    reused: int = 0
    running: int = 0


@dataclass
class _Open:
    """A config whose cells are not all in; those of step ``at`` may be trained."""

    point: Config
    steps: Steps
    at: int
    left: set[str]  # keys of the last step's cells that are not in

    @property
    def current(self) -> tuple[Cell, ...]:
        return self.steps[self.at]


@dataclass
class Study:
    """The state of a running study in the driver; the `Source` that executors pull from."""

    spec: StudySpec
    experiment: Experiment
    store: Store
    searcher: Searcher
    rule: SelectionRule
    objective: FigureOfMerit
    fingerprint: Callable[[Config], str]
    on_change: Callable[[Counts], None] = lambda counts: None
    retry_failed: bool = False
    total_configs: int | None = None
    second: FigureOfMerit | None = None
    workers: int = 1
    shape_of: ShapeOf = by_names
    on_trouble: Callable[[str], None] = lambda text: None
    _queue: deque[Pack] = field(default_factory=deque)
    _later: list[tuple[float, Pack]] = field(default_factory=list)  # (monotonic time, pack): lost ones wait for another try
    _out: dict[str, Cell] = field(default_factory=dict)  # cells in executors' hands
    _troubles: Troubles | None = None
    _open: dict[str, _Open] = field(default_factory=dict)
    _crashes: dict[str, int] = field(default_factory=dict)
    _outcomes: dict[str, Outcome] = field(default_factory=dict)
    _states: Counter[str] = field(default_factory=Counter)  # of the outcomes: counted as they come, since there may be many
    _measured: dict[tuple[str, bool], float] = field(default_factory=dict)  # by cell and whether it is the second objective
    _reused: int = 0
    _skipped: int = 0
    _asked_all: bool = False
    _race: Race | None = None
    _rungs: Rungs | None = None
    _passed: set[str] = field(default_factory=set)  # cells that are beginnings of longer ones, or will be

    def __post_init__(self) -> None:
        racing, stopping, cells = self.spec.racing, self.spec.stopping, self.spec.repeats * self.spec.folds
        if racing is not None and racing.first < cells:
            self._race = Race(cells, racing.level, racing.first, racing.probe)
        if stopping is not None:
            # Where all configs are judged together, there are no more to come that one could wait for.
            least = 2 if self.spec.searcher.name in FREE else stopping.least
            self._rungs = Rungs(stopping.rungs, stopping.keep, least)
        # Beginnings of cells are no rows of its tables, but the rungs are judged by them.
        self._whole = self.store if stopping is None else Store(self.store.root, whole=True)

    def start(self) -> None:
        """Replay the store: tell the searcher what is done, queue what is half done."""
        self._troubles = Troubles.begin(self.store.root)
        self._outcomes = self._landed()
        self._states = Counter(o.state for o in self._outcomes.values())
        known: dict[str, Config] = {}
        for row in self.store.cells().to_pylist():
            known.setdefault(row["config"], parse_config(row["values"]))
        half_done, left = [], self.store.verdicts()
        for name, config in known.items():
            point = self.spec.space.project(config)
            steps = self._steps(make_cells(self.spec, self.experiment, config, self.fingerprint(config)))
            self._take_in(list(carried(steps, self._outcomes).values()))
            self._reused += sum(c.key in self._outcomes for c in steps[-1])
            if all(c.key in self._outcomes for c in steps[-1]):
                self._complete(point, steps)
            elif name in left and (self._race or self._rungs):
                at = self._left_at(left[name])
                self._hear(name, steps, at)
                self._leave(point, steps, at)
            else:
                half_done.append((point, steps))
        for point, _ in half_done:
            if isinstance(self.searcher, Expecting):
                self.searcher.expect(point)
        self._queue.extend(self._plan([c for point, steps in half_done for c in self._add(point, steps)]))
        self.on_change(self.counts())

    def _steps(self, cells: tuple[Cell, ...]) -> Steps:
        """The steps in which ``cells``, all of a config, are trained."""
        if self._race is not None:
            return by_rounds(cells, self._race.first)
        if self._rungs is None:
            return (cells,)
        steps = by_budgets(cells, self._rungs.epochs)
        self._passed |= {c.key for step in steps[:-1] for c in step}
        return steps

    def _left_at(self, verdict: Mapping[str, Any]) -> int:
        """The step at which an earlier run has let a config go."""
        if self._race is not None:
            return int(verdict["rounds"]) - self._race.first
        assert self._rungs is not None
        return list(self._rungs.epochs).index(int(verdict["epochs"]))

    def _landed(self) -> dict[str, Outcome]:
        """What the store holds and is not to be trained again."""
        landed = self._whole.outcomes()
        return {k: o for k, o in landed.items() if o.state == "done"} if self.retry_failed else landed

    def next_pack(self) -> Pack | Waiting | None:
        """The next pack for an executor (see `Source`)."""
        self._take_up()
        if not self._queue:
            self._queue.extend(self._plan(self._advance() or self._propose() or self._advance()))
        if self._queue:
            self._out |= {c.key: c for c in self._queue[0].cells}
            return self._queue.popleft()
        return Waiting() if self._out or self._later else None

    def _take_up(self) -> None:
        """Queue the lost packs whose wait is over, first in line: they have waited long enough."""
        now = time.monotonic()
        due = [pack for when, pack in self._later if when <= now]
        self._later = [(when, pack) for when, pack in self._later if when > now]
        self._queue.extendleft(reversed(due))

    def _propose(self) -> list[Cell]:
        """Cells of what the searcher proposes next: one config that has any, or, where proposals do not wait for scores,
        all there are, so that cells of several configs may share a pack."""
        cells: list[Cell] = []
        while not self._asked_all and (not cells or (self.spec.searcher.name in FREE and len(cells) < AHEAD)):
            point = self.searcher.ask()
            if point is None:
                self._asked_all = True
            else:
                cells += self._proposed(point)
        return cells

    def _proposed(self, point: Config) -> list[Cell]:
        """The cells of ``point`` that must be trained."""
        config = self.spec.config(point, self.experiment)
        if config_id(config) in self._open:
            return []  # a half-finished config of an earlier run, queued already
        steps = self._steps(make_cells(self.spec, self.experiment, config, self.fingerprint(config)))
        if all(c.key in self._outcomes for c in steps[-1]):
            self._complete(point, steps)
            return []
        return self._add(point, steps)

    def _add(self, point: Config, steps: Steps) -> list[Cell]:
        """Open the config of ``steps``; those of its cells that are to be trained now and are not in."""
        left = {c.key for c in steps[-1] if c.key not in self._outcomes}
        entry = self._open[config_id(steps[0][0].config)] = _Open(point, steps, reached(steps, self._outcomes), left)
        return self._missing(entry)

    def _missing(self, entry: _Open) -> list[Cell]:
        return [c for c in entry.current if c.key not in self._outcomes]

    def _advance(self) -> list[Cell]:
        """The next cells of configs in the race or at a rung, after those that are out have left.

        Where proposals do not wait for scores, all configs are judged together, once nothing is running: a config is then
        compared with all others and not with those that happen to be in.
        """
        contest, free = self._race or self._rungs, self.spec.searcher.name in FREE
        if contest is None or (free and (self._out or self._later or not self._asked_all)):
            return []
        while waiting := self._waiting(lowest=free and self._rungs is not None):
            for name, at in waiting.items():
                self._hear(name, self._open[name].steps, at)
            onward, verdicts = contest.decide(waiting)
            for verdict in verdicts:
                entry = self._open.pop(verdict.config)
                self._leave(entry.point, entry.steps, entry.at, verdict)
            for name in onward:
                self._open[name].at += 1
            if cells := [cell for name in onward for cell in self._missing(self._open[name])]:
                return cells
            if not (onward or verdicts):
                break
        return []

    def _waiting(self, lowest: bool) -> dict[str, int]:
        """Config → step, of those whose step is in and not their last; ``lowest``: only those that are furthest behind."""
        waiting = {n: e.at for n, e in self._open.items() if not self._missing(e) and e.at < len(e.steps) - 1}
        least = min(waiting.values(), default=0)
        return {n: at for n, at in waiting.items() if at == least} if lowest else waiting

    def _hear(self, config: str, steps: Steps, at: int) -> None:
        """Tell the contest what ``config`` has after step ``at``."""
        if self._race is not None:
            self._race.heard(config, self._values(steps[at]))
        elif self._rungs is not None and self.spec.stopping is not None:
            for rung in range(min(at + 1, len(self._rungs.epochs))):
                if not self._rungs.knows(config, rung):
                    self._rungs.heard(config, rung, self._merit(steps[rung], self.spec.stopping.by))

    def _leave(self, point: Config, steps: Steps, at: int, verdict: Verdict | Stop | None = None) -> None:
        """A config leaves after step ``at``; ``verdict`` is None where an earlier run has decided so."""
        if verdict is not None:
            self.store.put_verdict(verdict.config, asdict(verdict))
        self._skipped += len(steps[-1]) - len(steps[at])
        self._passed -= {c.key for c in steps[at]}
        if self._rungs is not None:
            further = [c.key for c in steps[at + 1]]
            Checkpoints(self.store.root, self.store.elsewhere, further).drop(further)
        self._tell(point, steps[at])

    def _complete(self, point: Config, steps: Steps) -> None:
        """Every cell of a config is in."""
        self._hear(config_id(steps[-1][0].config), steps, len(steps) - 1)
        self._tell(point, steps[-1])

    def _merit(self, cells: Sequence[Cell], by: str) -> float:
        """What a rung judges by: the objective, or the best value of an epoch column so far; the study's statistic over the
        cells, higher is better."""
        if by == "objective":
            return self.score(cells)
        keys = [c.key for c in cells if c.key in self._outcomes and self._outcomes[c.key].state == "done"]
        return config_score(best_so_far(self._whole, keys, by), self.spec.statistic, COLUMNS[by]) if keys else -math.inf

    def _values(self, cells: Sequence[Cell], second: bool = False) -> list[float]:
        """The objective (or the second) of each cell on validation, higher is better; NaN where it failed."""
        fom = self._fom(second)
        done = [c.key for c in cells if (o := self._outcomes.get(c.key)) is not None and o.state == "done"]
        if new := [key for key in done if (key, second) not in self._measured]:
            found = cell_values(self._whole, new, self.rule, fom)
            self._measured |= {(key, second): value for key, value in found.items()}
        sign = 1.0 if fom.goal == "max" else -1.0
        return [sign * self._measured[c.key, second] if c.key in done else math.nan for c in cells]

    def _fom(self, second: bool) -> FigureOfMerit:
        return self.second if second and self.second is not None else self.objective

    def _plan(self, cells: Sequence[Cell]) -> list[Pack]:
        return plan_packs(cells, self.workers, self.shape_of)

    def finished(self, pack: Pack, outcomes: Sequence[Outcome]) -> None:
        """A pack has landed (see `Source`)."""
        self._returned(pack)
        self._settle(outcomes, pack)

    def noted(self, text: str) -> None:
        """A worker said something (see `Source`)."""
        self.on_trouble(text)

    def _returned(self, pack: Pack) -> None:
        for cell in pack.cells:
            self._out.pop(cell.key, None)

    def crashed(self, pack: Pack, reason: str, refused: WriteFailed | None = None) -> None:
        """A worker died, or could not write: its unfinished cells again, later, ``retries`` times at most (see `Source`)."""
        self._returned(pack)
        there = self._landed()  # the worker may have died after some of its cells had landed
        left = [c for c in pack.cells if c.key not in there]
        for cell in left:
            self._crashes[cell.key] = self._crashes.get(cell.key, 0) + 1
        attempt = max((self._crashes[c.key] for c in left), default=0)
        hopeless = [c for c in left if self._crashes[c.key] > self.spec.execution.retries]
        self._tell_trouble(reason, left, attempt, len(hopeless), spoken=refused is None)
        if hopeless and refused is not None:
            raise refused  # the cells are well: they wait for a store that takes them
        failed = [Outcome(c.key, "failed", error=f"{reason}, {self._crashes[c.key]} times") for c in hopeless]
        self.store.land([CellRecord(c, o) for c, o in zip(hopeless, failed, strict=True)])
        self._try_later([c for c in left if c not in hopeless], attempt, deadly=refused is None)
        self._settle([*(there[c.key] for c in pack.cells if c.key in there), *failed], pack)

    def _try_later(self, cells: Sequence[Cell], attempt: int, deadly: bool) -> None:
        """Wait longer with each attempt; after two lost workers each cell goes alone: a deadly one takes no others along."""
        ready = time.monotonic() + min(LONGEST, BACK_OFF * 2 ** (attempt - 1)) if cells else 0.0
        packs = self._plan(cells) if attempt < 2 or not deadly else [Pack((c,), "alone, after two lost workers") for c in cells]
        self._later += [(ready, pack) for pack in packs]

    def _tell_trouble(self, reason: str, cells: Sequence[Cell], attempt: int, hopeless: int, spoken: bool) -> None:
        """Note it for `status`; say lost workers aloud too. (A disk that stays full is said once, by the error at the end.)"""
        if cells and self._troubles is not None:
            self._troubles.add(reason, [c.key for c in cells], attempt, hopeless)
        if cells and spoken:
            end = f", {hopeless} given up" if hopeless else ""
            self.on_trouble(f"{reason}: {len(cells) - hopeless} cells again, attempt {attempt + 1}{end}")

    def stopped(self) -> None:
        """The run was interrupted: note which cells were out, for `status`."""
        if self._troubles is not None:
            self._troubles.stopped(self._out.keys() - self.store.outcomes().keys())

    def _settle(self, outcomes: Sequence[Outcome], pack: Pack) -> None:
        self._take_in(outcomes)
        for config in {config_id(c.config) for c in pack.cells}:
            entry = self._open.get(config)
            if entry is None:
                continue
            entry.left.difference_update(o.key for o in outcomes)
            if self._rungs is not None:
                known = carried(entry.steps, self._outcomes)
                self._take_in(list(known.values()))
                entry.left -= known.keys()
            if not entry.left:
                del self._open[config]
                self._complete(entry.point, entry.steps)
        self.on_change(self.counts())

    def _take_in(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.key in self._outcomes:
                self._states[self._outcomes[outcome.key].state] -= 1
            self._outcomes[outcome.key] = outcome
            self._states[outcome.state] += 1

    def _tell(self, point: Config, cells: Sequence[Cell]) -> None:
        # A free searcher reads no score, and reading those of ten thousand configs would take longer than their training.
        free = self.spec.searcher.name in FREE
        if free:
            self.searcher.tell(point, math.nan)
        elif self.second is not None and isinstance(self.searcher, Several):
            scores: Score = (self.score(cells), self.score(cells, second=True))
            self.searcher.tell(point, scores)
        else:
            self.searcher.tell(point, self.score(cells))

    def score(self, cells: Sequence[Cell], second: bool = False) -> float:
        """The objective (or the second) of one config on validation: the study's statistic over its done cells; -inf where all
        failed."""
        goal = self._fom(second).goal
        values = [v if goal == "max" else -v for v in self._values(cells, second) if not math.isnan(v)]
        return config_score(values, self.spec.statistic, goal) if values else -math.inf

    def saw(self, outcomes: Mapping[str, Outcome]) -> None:
        """Report progress from ``outcomes`` that somebody read from the store; the study's own state does not change."""
        self.on_change(self.counts({**outcomes, **self._outcomes}))

    def knows(self, key: str) -> bool:
        """Whether it has heard what became of the cell ``key``."""
        return key in self._outcomes

    def counts(self, outcomes: Mapping[str, Outcome] | None = None) -> Counts:
        """Cells in total, done, failed, reused from earlier runs, running."""
        states = self._states
        if outcomes is not None or self._passed:
            known = self._outcomes if outcomes is None else outcomes
            states = Counter(o.state for key, o in known.items() if key not in self._passed)
        every = None if self.total_configs is None else self.total_configs * self.spec.repeats * self.spec.folds
        total = None if every is None else every - self._skipped
        return Counts(total, states["done"], states["failed"], self._reused, len(self._out))

    def failures(self) -> Mapping[str, str]:
        """Cell key → reason, for every failed cell."""
        return {o.key: o.error for o in self._outcomes.values() if o.state == "failed"}

    def unfinished(self) -> int:
        """Cells that are proposed and not in."""
        return sum(len(self._missing(entry)) for entry in self._open.values())
