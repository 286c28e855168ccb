"""Packs on Ray Tune: reused actors, bounded concurrency, one small text a trial.

Tune is the scheduler and nothing else. Which cells exist, what is done and what comes next is the study's; scores go from
the worker straight into the store. So a trial is a pack, its config is the pack as text, and so is its result, the outcomes.
"""

from __future__ import annotations

import base64
import gc
import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher as TuneSearcher

from raresearch import errors
from raresearch.data.dataset import Dataset
from raresearch.data.residence import Residence
from raresearch.errors import Interrupted, UserError, WriteFailed
from raresearch.execution.allocator import give_back_freed_memory, keep_freed_memory
from raresearch.execution.base import Source, Waiting
from raresearch.execution.limits import end_process
from raresearch.execution.ray_train import Attempts, Pause, cell_from_json, cell_to_json, free_rooms, train_on_workers
from raresearch.execution.worker import WorkContext, run_pack
from raresearch.store.remote import elsewhere
from raresearch.training.arrays import Loaded, load
from raresearch.types import Outcome, Pack

#: Tune looks at all trials of a run whenever one ends, and keeps them: in a run of 10,000 the driver's share of a trial grew from
#: 10 ms to 34 and its memory by 76 KiB a trial (measured). A new run takes a few seconds, for its workers start anew.
TRIALS = 1000


@dataclass
class ObjectStoreData:
    """Datasets in Ray's object store: one copy a node, mapped without copying by every worker on it.

    ``root`` holds the datasets' folders, for those that a search proposed after the workers had started and those that stay
    on disk (``residence``).
    """

    references: Mapping[str, Any]
    root: Path
    residence: Residence = field(default_factory=Residence)
    _loaded: dict[str, Loaded] = field(default_factory=dict)

    def load(self, fingerprint: str) -> Loaded:
        if fingerprint not in self._loaded:
            reference = self.references.get(fingerprint)
            if reference is None and not (self.root / fingerprint).exists():
                elsewhere(self.root.parent).pull_datasets()
            self._loaded[fingerprint] = ray.get(reference) if reference else self._opened(fingerprint)
        return self._loaded[fingerprint]

    def _opened(self, fingerprint: str) -> Loaded:
        return load(Dataset.open(self.root / fingerprint), self.residence)


def share(loaded: Mapping[str, Loaded], root: Path, residence: Residence) -> ObjectStoreData:
    """Put datasets that fit in memory into the object store, once; every worker opens the others on its node's disk."""
    resident = {name: ray.put(each) for name, each in loaded.items() if each.kind == "resident"}
    return ObjectStoreData(resident, root, residence)


class PackTrainable(tune.Trainable):  # type: ignore[misc]
    """A worker. The actor is reused from pack to pack; nothing of a pack survives in it."""

    def setup(self, config: dict[str, Any], context: WorkContext | None = None) -> None:
        assert context is not None
        keep_freed_memory()
        self.notes: list[str] = []
        self.context = replace(context, note=self.notes.append)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.pack = pack_from_text(new_config["pack"])
        self.spread = partial(train_on_workers, attempts=Attempts())
        return True

    def step(self) -> dict[str, Any]:
        self.notes.clear()
        try:
            outcomes = run_pack(self.context, self.pack, lambda cell, epoch: None, kill=end_process, spread=self.spread)
        except UserError as error:
            # Wrong input is nobody's crash: it goes to the driver as a value, which ends the run with its one line.
            refused = [type(error).__name__, error.place, error.rule, error.remedy]
            return {"cells": 0, "refused": json.dumps(refused), "done": True}
        except Pause as pause:  # not done: Tune hears of it and calls again
            return {"cells": 0, "says": str(pause)}
        # Nested results would be flattened by Tune before the searcher sees them.
        told = {"outcomes": _to_text([o.to_json() for o in outcomes]), "notes": json.dumps(self.notes)}
        return {"cells": len(outcomes), **told, "done": True}


class _PackSearcher(TuneSearcher):  # type: ignore[misc]
    """Tune asks this for trials; it asks the study."""

    def __init__(self, source: Source) -> None:
        super().__init__(metric="cells", mode="max")
        self.source: Source | None = source
        self.running: dict[str, Pack] = {}
        self.errors: list[BaseException] = []
        self.trials = 0
        self.dry = False

    def __getstate__(self) -> dict[str, Any]:
        # Tune snapshots its searcher; our truth is the store, so the live study stays out of the pickle.
        return {**self.__dict__, "source": None, "running": {}, "errors": []}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.source is None or self.errors:
            return str(TuneSearcher.FINISHED)
        try:
            pack = self.source.next_pack()
        except Exception as error:  # Tune would swallow it in a log; it is raised again after the last trial
            self.errors.append(error)
            return str(TuneSearcher.FINISHED)
        if pack is None:
            self.dry = True
            return str(TuneSearcher.FINISHED)
        if isinstance(pack, Waiting):
            return None
        self.running[trial_id] = pack
        self.trials += 1
        return {"pack": pack_to_text(pack)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A trial that is not done may have a line to say."""
        if self.source is not None and result.get("says"):
            self.source.noted(result["says"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pack = self.running.pop(trial_id, None)
        if pack is None or self.source is None:
            return
        try:
            self._hand_back(self.source, pack, None if error else result)
        except Exception as failure:  # as above
            self.errors.append(failure)

    def _hand_back(self, source: Source, pack: Pack, result: dict[str, Any] | None) -> None:
        if result and "refused" in result:
            kind, *message = json.loads(result["refused"])
            refused = getattr(errors, kind)(*message)
            if not isinstance(refused, WriteFailed):
                raise refused
            source.crashed(pack, refused.rule, refused)
        elif result and "outcomes" in result:
            for text in json.loads(result["notes"]):
                source.noted(text)
            source.finished(pack, [Outcome.from_json(o) for o in _from_text(result["outcomes"])])
        else:
            free_rooms(pack)
            source.crashed(pack, "the worker died")

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: resume is a replay of the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def pack_to_text(pack: Pack) -> str:
    return _to_text({"why": pack.why, "cells": [cell_to_json(c) for c in pack.cells]})


def pack_from_text(text: str) -> Pack:
    content = _from_text(text)
    return Pack(tuple(cell_from_json(c) for c in content["cells"]), content["why"])


def _to_text(content: Any) -> str:
    """JSON, compressed: Tune keeps several copies of every trial's config and result, and the cells of a pack differ in little."""
    return base64.b85encode(zlib.compress(json.dumps(content).encode())).decode()


def _from_text(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b85decode(text)))


@dataclass(frozen=True)
class RayTuneExecutor:
    """``workers`` packs at a time, each with ``cpus`` and ``gpus``. Ray must be running (`ray_session`)."""

    context: WorkContext
    workers: int
    cpus: float = 1
    gpus: float = 0

    def run(self, source: Source) -> None:
        """Run ``source`` dry through Tune, in as many runs as it takes; Ctrl-C raises `Interrupted` after Tune has ended its
        trials."""
        # Tune reports every lost trial as an error at the end, though its cells have long been trained again.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        searcher = _PackSearcher(source)
        while not searcher.dry:
            searcher = _PackSearcher(source)
            self._fit(searcher)
            gc.collect()  # what Tune held of its trials refers to itself
            give_back_freed_memory()
            if searcher.errors:
                raise searcher.errors[0]
            if searcher.running or not (searcher.dry or searcher.trials == TRIALS):
                raise Interrupted("interrupted")

    def _fit(self, searcher: _PackSearcher) -> None:
        """One run of Tune: until ``searcher`` has nothing more, or `TRIALS` trials have ended."""
        trainable = tune.with_resources(
            tune.with_parameters(PackTrainable, context=self.context), {"cpu": self.cpus, "gpu": self.gpus}
        )
        # Tune insists on a folder for its own records. They are not the truth and go when it is done.
        scratch = tempfile.mkdtemp(prefix="raresearch-tune-")
        try:
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    num_samples=TRIALS,
                    max_concurrent_trials=self.workers,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    storage_path=scratch,
                    name="packs",
                    verbose=0,
                    callbacks=[],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                ),
            )
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def worker_count(asked: int | str, cpus: int, per_worker: float) -> int:
    """``auto``: as many workers as CPUs allow; a number: that many, at most what is there."""
    most = max(1, int(cpus / max(per_worker, 1e-9))) if per_worker else (os.cpu_count() or 1)
    return most if asked == "auto" else max(1, min(int(asked), most))
