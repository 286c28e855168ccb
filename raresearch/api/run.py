"""`run`: from a YAML file to a finished store."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from raresearch.api.opened import OpenStudy
from raresearch.api.parts import Parts, about, build_parts, configs_planned, identity, known_points, pickle_by_value
from raresearch.api.readouts import keep_read_outs
from raresearch.data.dataset import Events
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.residence import GIB, Residence
from raresearch.data.several import prepare_several
from raresearch.data.splits import Fractions
from raresearch.ensembles.evaluation import cell_values, config_score
from raresearch.ensembles.retention import KeptByRule
from raresearch.errors import Interrupted, StoreError
from raresearch.execution.base import Executor
from raresearch.execution.limits import Limits
from raresearch.execution.local import LocalExecutor
from raresearch.execution.worker import DataHandles, WorkContext
from raresearch.searchers.build import Scored, build_searcher
from raresearch.searchers.history import Observation
from raresearch.spec import StudySpec, load
from raresearch.store.checkpoints import Checkpoints
from raresearch.store.files import make_folder
from raresearch.store.records import parse_config
from raresearch.store.remote import Remote, elsewhere, local
from raresearch.store.store import Store
from raresearch.study import Counts, Study
from raresearch.training.arrays import (
    Loaded,
    fold_events,
    refuse_large_batch,
    refuse_wide_window,
    smallest_training,
    validation_name,
)
from raresearch.training.arrays import load as load_events
from raresearch.training.policy import Keep, KeepRule, best_so_far
from raresearch.types import Cell, Config, Outcome, config_id

WATCH_SECONDS = 2.0
WATCH_SHARE = 50  # of the time that a look takes, to the next one


@dataclass
class Progress:
    """What a caller may want to hear while a study runs; the default says nothing."""

    preparing: Callable[[int, int], None] = lambda done, total: None
    changed: Callable[[Counts], None] = lambda counts: None
    epoch: Callable[[Cell, int], None] = lambda cell, epoch: None
    stage: Callable[[str, Sequence[str]], None] = lambda name, configs: None
    note: Callable[[str], None] = lambda text: None


@dataclass
class Datasets:
    """The datasets of a study, prepared when first asked for, and their event lists in the store."""

    spec: StudySpec
    parts: Parts
    root: Path
    engine: str
    progress: Callable[[int, int], None]
    note: Callable[[str], None] = lambda text: None
    loaded: dict[str, Loaded] = field(default_factory=dict)
    _of_config: dict[str, str] = field(default_factory=dict)
    _training: dict[str, int] = field(default_factory=dict)
    _store: Store | None = None

    def fingerprint(self, config: Config) -> str:
        """Fingerprint of the data that ``config`` asks for; prepares it if it is new. `DataError`: its batch is larger."""
        names = config_id({k: v for k, v in config.items() if k.startswith("data.")})
        if names not in self._of_config:
            plan = self._plan(config)
            there = elsewhere(self.root.parent)
            there.pull_datasets()
            dataset = prepare(plan, self.root, engine=self.engine, progress=self.progress)  # type: ignore[arg-type]
            there.push_dataset(dataset.fingerprint)
            loaded = self.loaded[dataset.fingerprint] = load_events(dataset, residence(self.spec))
            self._of_config[names] = dataset.fingerprint
            if dataset.left_out:
                self.note(dataset.left_out)
            self._training[dataset.fingerprint] = smallest_training(loaded, self.spec.folds, self.spec.seed)
            if self._store is not None:  # a search that varies the data: its scores are read while it goes on
                self._keep(self._store, loaded)
        fingerprint = self._of_config[names]
        refuse_large_batch(config, self._training[fingerprint])
        refuse_wide_window(config, self.loaded[fingerprint], residence(self.spec))
        return fingerprint

    def ahead(self, configs: Sequence[Config]) -> None:
        """Prepare the data of all ``configs``, several at a time."""
        elsewhere(self.root.parent).pull_datasets()
        plans = {config_id({k: v for k, v in c.items() if k.startswith("data.")}): self._plan(c) for c in configs}
        prepare_several(list(plans.values()), self.root, self.engine, self.progress)  # type: ignore[arg-type]
        for config in configs:
            self.fingerprint(config)

    def _plan(self, config: Config) -> DataPlan:
        split = self.spec.split
        fractions = Fractions(split.train, split.validation, split.test)
        return DataPlan(self.parts.experiment, config, self.spec.seed, fractions)

    def keep_events(self, store: Store) -> None:
        """Write the event lists that scores are ordered by: of all data there is now, and of what will be prepared later."""
        self._store = store
        for loaded in self.loaded.values():
            self._keep(store, loaded)

    def _keep(self, store: Store, loaded: Loaded) -> None:
        for fold in range(self.spec.folds):
            _, validation = fold_events(loaded, fold, self.spec.folds, self.spec.seed)
            store.put_events(validation_name(loaded.fingerprint, fold, self.spec.folds), events_table(validation))
        if len(loaded.test.event_id):
            store.put_events(f"{loaded.fingerprint}-test", events_table(loaded.test))


def events_table(events: Events) -> pa.Table:
    """Ids and observers; class, label and weight too where the events carry them."""
    labels = {"class": events.class_number, "label": events.label, "weight": events.weight}
    known = {name: column for name, column in labels.items() if column is not None}
    return pa.table({"event_id": events.event_id, **known, **events.observers})


@dataclass(frozen=True)
class Handles:
    """How local workers get at datasets: the driver's own, which may grow while a search proposes new data."""

    datasets: Datasets

    def load(self, fingerprint: str) -> Loaded:
        return self.datasets.loaded[fingerprint]


def residence(spec: StudySpec) -> Residence:
    """Where the study's events are while networks train on them."""
    asked, limits = spec.execution, (spec.execution.data_memory, spec.execution.worker_memory)
    memory = next((m for m in limits if m is not None), None)
    return Residence(asked.data, None if memory is None else int(memory * GIB))


def default_folder(spec: StudySpec, parts: Parts) -> Path:
    """``runs/NAME[-SCALE]-IDENTITY`` in the current folder (or in $RARESEARCH_RUNS)."""
    name = "-".join(p for p in (spec.name, spec.scale, identity(spec, parts)[:8]) if p)
    return Path(os.environ.get("RARESEARCH_RUNS", "runs")) / name


def run(
    path: Path | str,
    *,
    scale: str | None = None,
    sets: Sequence[str] = (),
    out: Path | str | None = None,
    address: str | None = None,
    progress: Progress | None = None,
    retry_failed: bool = False,
) -> OpenStudy:
    """Run the study in ``path`` to its end, or go on where ``out`` stopped; returns it opened.

    Raises `UserError` for wrong input, `Interrupted` after Ctrl-C. Failed cells do not raise: ask the study.
    """
    spec = load(Path(path), scale=scale, sets=sets)
    parts = build_parts(spec)
    progress = progress or Progress()
    folder = local(out) if out else default_folder(spec.stage(0) if spec.stages else spec, parts)
    if not spec.stages:
        return run_spec(spec, parts, folder, address, progress, retry_failed)
    return _run_stages(spec, parts, folder, address, progress, retry_failed)


def run_spec(
    spec: StudySpec, parts: Parts, folder: Path, address: str | None, progress: Progress, retry_failed: bool
) -> OpenStudy:
    """Run one study, or one stage of one, in ``folder``; raises as `run` does."""
    Store.check(folder, identity(spec, parts))
    with _new_folder(folder), terminate_as_interrupt(), elsewhere(folder).only_driver() as alone:
        if not alone:
            raise StoreError(str(folder), "another raresearch run works on this folder", "wait for it, or give another --out")
        if spec.execution.backend == "local":
            return _run_local(spec, parts, folder, progress, retry_failed)
        return _run_on_ray(spec, parts, folder, address, progress, retry_failed)


def _run_stages(
    spec: StudySpec, parts: Parts, folder: Path, address: str | None, progress: Progress, retry_failed: bool
) -> OpenStudy:
    """One stage after another: the first in ``folder``, each later one in a folder of its name inside; returns the first.

    A stage that ended is read again from its store in a moment, so the same line goes on in the middle of any stage.
    """
    searched = spec.stage(0)
    opened = first = run_spec(searched, build_parts(searched), folder, address, progress, retry_failed)
    for number, stage in enumerate(spec.stages[1:], 1):
        following = spec.stage(number, opened.best(stage.best))
        following.check(parts.experiment)
        progress.stage(stage.name, [opened.labels[c] for c in opened.ranked()[: stage.best]])
        opened = run_spec(following, build_parts(following), folder / stage.name, address, progress, retry_failed)
    return first


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make ``folder``; where the block fails before a study is in it, leave nothing behind that was not there before."""
    there = folder.exists()
    make_folder(folder)
    try:
        yield
    finally:
        if not (folder / "study.json").exists():
            (folder / "driver.lock").unlink(missing_ok=True)
            for path in [folder / "datasets", *([] if there else [folder])]:
                with suppress(OSError):  # not empty: a dataset has landed and may be used next time
                    path.rmdir()


def _run_local(spec: StudySpec, parts: Parts, folder: Path, progress: Progress, retry_failed: bool) -> OpenStudy:
    datasets = Datasets(spec, parts, folder / "datasets", "local", progress.preparing, progress.note)
    study = _study(spec, parts, folder, datasets, progress, retry_failed)
    context = replace(_context(spec, parts, folder, Handles(datasets), workers=1), note=progress.note)
    return _finish(study, LocalExecutor(context, progress.epoch), progress.note)


def _run_on_ray(
    spec: StudySpec, parts: Parts, folder: Path, address: str | None, progress: Progress, retry_failed: bool
) -> OpenStudy:
    import ray

    from raresearch.execution.ray_session import ray_session
    from raresearch.execution.ray_train import RESERVE, check_room
    from raresearch.execution.ray_tune import RayTuneExecutor, share, worker_count

    execution = spec.execution
    crew = execution.cell_workers
    wanted = None if execution.workers == "auto" else max(1, round(int(execution.workers) * execution.cpus * crew))
    # Once more inside: Ray puts its own handler for SIGTERM in place when it starts.
    with ray_session(address, wanted) as cpus, terminate_as_interrupt():
        pickle_by_value(parts.experiment)
        if crew > 1:
            check_room(crew, execution.cpus, execution.gpus, ray.cluster_resources())
        datasets = Datasets(spec, parts, folder / "datasets", "auto", progress.preparing, progress.note)
        study = _study(spec, parts, folder, datasets, progress, retry_failed)
        handles = share(datasets.loaded, (folder / "datasets").resolve(), residence(spec))
        workers = worker_count(execution.workers, cpus, execution.cpus * crew)
        if crew > 1 and execution.gpus:
            workers = min(workers, worker_count("auto", ray.cluster_resources()["GPU"], execution.gpus * crew))
        context = _context(spec, parts, folder, handles, workers)
        study.workers = workers
        # A trial that waits for its workers holds next to nothing itself.
        each = (execution.cpus, execution.gpus) if crew == 1 else (RESERVE, 0)
        executor = RayTuneExecutor(context, workers, *each)
        return _finish(study, executor, progress.note)


def _study(spec: StudySpec, parts: Parts, folder: Path, datasets: Datasets, progress: Progress, retry_failed: bool) -> Study:
    points = known_points(spec)
    # Data comes before trials: Ray Data inside a cluster whose CPUs are all taken by trials waits for ever.
    datasets.ahead([spec.config(p, parts.experiment) for p in points] or [spec.config({}, parts.experiment)])
    labels = {config_id(spec.config(p, parts.experiment)): spec.space.label(p) for p in points}
    store = Store.create(folder, identity(spec, parts), about(spec, parts, labels))
    datasets.keep_events(store)
    scored, objectives = _scored_by(parts, spec), 1 if parts.second is None else 2
    searcher = build_searcher(spec.searcher, spec.space, spec.seed, spec.base_dir, scored, objectives)
    if (past := getattr(searcher, "past", None)) and past.observations:
        progress.note(str(past))
    return Study(
        spec=spec,
        experiment=parts.experiment,
        store=store,
        searcher=searcher,
        rule=parts.rule,
        objective=parts.objective,
        second=parts.second,
        fingerprint=datasets.fingerprint,
        on_change=progress.changed,
        retry_failed=retry_failed,
        total_configs=configs_planned(spec),
        on_trouble=progress.note,
    )


def _scored_by(parts: Parts, spec: StudySpec) -> Scored:
    """Reads another study's store for a warm start: its configs, scored by this study's rule, objective and statistic."""

    def scored(folder: Path) -> list[Observation]:
        other = Store.open(folder)
        values = cell_values(other, other.cells()["cell"].to_pylist(), parts.rule, parts.objective)
        by_config: dict[str, list[float]] = {}
        for row in other.cells().to_pylist():
            if row["cell"] in values:
                by_config.setdefault(row["values"], []).append(values[row["cell"]])
        goal = parts.objective.goal
        return [(parse_config(text), config_score(found, spec.statistic, goal)) for text, found in by_config.items()]

    return scored


def _context(spec: StudySpec, parts: Parts, folder: Path, data: DataHandles, workers: int) -> WorkContext:
    there = elsewhere(folder.resolve())
    rules: dict[str, KeepRule | None] = {"kept": KeptByRule(parts.rule), "best": best_so_far, "none": None}
    everything = spec.keep.scores == "all"
    keep = Keep(scores=None if everything else rules[spec.keep.scores], weights=rules[spec.keep.weights], all_scores=everything)
    return WorkContext(
        folder.resolve(),
        parts.experiment,
        data,
        spec.seed,
        spec.folds,
        keep,
        workers=workers,
        gpus=spec.execution.gpus,
        remote=there.uri if isinstance(there, Remote) else "",
        limits=Limits(spec.execution.cell_seconds, spec.execution.worker_memory),
        checkpoint_seconds=spec.execution.checkpoint_seconds,
        cell_workers=spec.execution.cell_workers,
        cpus=spec.execution.cpus,
        retries=spec.execution.retries,
        budgets=_budgets(spec, parts),
        room_seconds=spec.execution.room_seconds,
    )


def _budgets(spec: StudySpec, parts: Parts) -> tuple[int, ...]:
    """Epochs at which trainings pause, and the last one; empty where none does."""
    if spec.stopping is None:
        return ()
    return (*spec.stopping.rungs, int(spec.config({}, parts.experiment)["train.epochs"]))  # type: ignore[arg-type]


def _finish(study: Study, executor: Executor, note: Callable[[str], None]) -> OpenStudy:
    study.start()
    with _watched(study):
        try:
            executor.run(study)
        except Interrupted:
            study.stopped()
            raise
    study.store.index()
    Checkpoints(study.store.root, study.store.elsewhere).sweep(study.store.outcomes())
    opened = OpenStudy(study.store)
    if why := keep_read_outs(opened):
        note(why)
    return opened


@contextmanager
def _watched(study: Study) -> Iterator[None]:
    """Report cells as they land: the study hears of a pack only when all of it is done, which may take long."""
    ended = threading.Event()

    store, seen = Store(study.store.root), dict[str, Outcome]()
    store.news()  # what is there already, the study knows

    def watch() -> None:
        pause = WATCH_SECONDS
        while not ended.wait(pause):
            began = time.monotonic()
            with suppress(StoreError):  # a damaged landing is the driver's to report
                # Of what is not yet the study's alone: a look would else take more and more memory from the driver.
                for key in [key for key in seen if study.knows(key)]:
                    del seen[key]
                seen.update(store.news())
                study.saw(seen)
            # A look lists all landings: with thousands of them more seldom, so that the driver has its time for packs.
            pause = max(WATCH_SECONDS, WATCH_SHARE * (time.monotonic() - began))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM (a batch system's warning) ends a run as Ctrl-C does: what has landed stays, exit status 130."""

    def handler(number: int, frame: object) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell starts in the background
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # through Tune's own handler, where there is one

    try:
        before = signal.signal(signal.SIGTERM, handler)
    except ValueError:  # not the main thread: signals are somebody else's business
        yield
        return
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted") from error
    finally:
        signal.signal(signal.SIGTERM, before)
