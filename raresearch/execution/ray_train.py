"""A cell on several workers: Ray Train starts them inside the cell's trial and watches them; here they are started again.

What they compute is `raresearch.training.pieces`, whose result does not depend on how many they are. So where the cluster has no
room for all of them (a node is gone, others hold its CPUs) half of them go on from the cell's checkpoint. Ray Train's own elastic
restart is not used: it counts what nodes have and not what is free on them, and then waits without end for what it has counted.
Scores go from the first worker straight into the store; checkpoints are the store's, not Ray's, which knows of none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from raresearch import errors
from raresearch.errors import UserError
from raresearch.execution.allocator import keep_freed_memory
from raresearch.execution.limits import end_process
from raresearch.execution.worker import WorkContext, run_share
from raresearch.types import Cell, Pack, freeze

RESERVE = 0.01  # CPUs of the trial that waits for its workers; taken from theirs, so that all CPUs can be used


def check_room(workers: int, cpus: float, gpus: float, there: dict[str, float]) -> None:
    """Raise `UserError` where ``workers`` with ``cpus`` and ``gpus`` each are more than a cluster with ``there`` has."""
    for kind, each, word in (("CPU", cpus, "CPUs"), ("GPU", gpus, "GPUs")):
        if workers * each > there.get(kind, 0.0):
            rule = f"{workers} workers of {each:g} {word} for each cell, and the cluster has {there.get(kind, 0.0):g}"
            raise UserError("execution.cell_workers", rule, "lower it (the result stays the same), or give --address")


class Pause(Exception):
    """A cell's trial has a line to say before it goes on (or nothing new, where it is empty): call `train_on_workers` again."""


@dataclass
class Attempts:
    """What `train_on_workers` must know of its calls before, for one pack."""

    workers: int = 0  # that there is room for; 0: not known
    lost: int = 0
    waits: bool = False  # said already


def train_on_workers(context: WorkContext, pack: Pack, attempts: Attempts) -> None:
    """Train ``pack`` on up to ``context.cell_workers`` workers, which land it.

    They begin, and begin again after one was lost, as many as there is room for within ``context.room_seconds``: all, a half,
    a quarter … Raises `Pause` where not all, or none, have room; `UserError` where the input is wrong; and what Ray raises
    where workers were lost more often than ``context.retries`` allows.
    """
    from ray.train import TrainingFailedError

    while True:
        _look_for_room(context, pack, attempts)
        workers, attempts.workers = attempts.workers, 0
        try:
            told = _trained_by(context, pack, workers)
            break
        except TrainingFailedError as error:
            landed = context.opened.outcomes()
            if all(c.key in landed for c in pack.cells):
                return
            attempts.lost += not _taken(error)
            if attempts.lost > context.retries:
                raise
    for text in told["notes"]:
        context.note(text)
    if told["refused"]:
        kind, *message = told["refused"]
        raise getattr(errors, kind)(*message)


def free_rooms(pack: Pack) -> None:
    """Give back what workers of ``pack`` still hold though its trial has died.

    Ray keeps a placement group until the whole job ends. Ray Train gives its own back where a dashboard runs, and without one
    never; and while such a group waits for a node that is gone, Ray 2.60 places no other (both seen, with a trial killed).
    """
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

    for name, group in placement_group_table().items():
        held = {bundle.get("memory") for bundle in group["bundles"].values()}
        if held == {float(_mark(pack))} and group["state"] != "REMOVED":
            with contextlib.suppress(ValueError):  # gone in between
                remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))


def _mark(pack: Pack) -> int:
    """Up to 16 MiB, which tell the placement groups of ``pack`` from all others: Ray Train gives them no name."""
    keys = "".join(c.key for c in pack.cells)
    return 1 + int.from_bytes(hashlib.sha256(keys.encode()).digest()[:3], "big")


def _look_for_room(context: WorkContext, pack: Pack, attempts: Attempts) -> None:
    """Set ``attempts.workers`` where it is not known. Raises `Pause` where that is a line to whoever watches."""
    if attempts.workers:
        return
    most, seconds = context.cell_workers, f"{context.room_seconds:g} s (execution.room_seconds)"
    each = f"{context.cpus:g} CPUs" + (f" and {context.gpus:g} GPUs" if context.gpus else "")
    attempts.workers = _room(context, pack)
    if not attempts.workers:
        said, attempts.waits = attempts.waits, True
        raise Pause("" if said else f"no room even for one worker of {each} within {seconds}: the cell waits for one")
    if attempts.workers < most:
        begin = "1 begins" if attempts.workers == 1 else f"{attempts.workers} begin"
        raise Pause(f"no room for {most} workers of {each} each within {seconds}: {begin}, to the same numbers")


def _room(context: WorkContext, pack: Pack) -> int:
    """How many workers there is room for, a power of two; 0: none. Waits up to ``context.room_seconds`` for each number."""
    workers = context.cell_workers
    while workers and not _fits(workers, _each(context, pack), context.room_seconds):
        workers //= 2
    return workers


def _each(context: WorkContext, pack: Pack) -> dict[str, float]:
    """What Ray holds for each worker of ``pack``."""
    return {"CPU": context.cpus - RESERVE, **({"GPU": context.gpus} if context.gpus else {}), "memory": _mark(pack)}


def _fits(workers: int, each: Mapping[str, float], seconds: float) -> bool:
    """Whether Ray finds a place for ``workers`` within ``seconds``. It is given back: Ray Train asks for its own."""
    from ray.util.placement_group import placement_group, remove_placement_group

    asked = placement_group([dict(each)] * workers)
    try:
        return bool(asked.wait(seconds))
    finally:
        remove_placement_group(asked)


def _taken(error: Exception) -> bool:
    """Whether no worker began, since somebody else took their place after `_fits` had found it: nothing is lost by that."""
    from ray.train.v2.api.exceptions import ControllerError

    return isinstance(error, ControllerError) and type(error.controller_failure).__name__ == "WorkerGroupStartupTimeoutError"


def _trained_by(context: WorkContext, pack: Pack, workers: int) -> dict[str, Any]:
    """What the first of ``workers`` had to tell. Raises Ray's `TrainingFailedError` as soon as one is lost."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    scratch = tempfile.mkdtemp(prefix="raresearch-train-")
    trainer = TorchTrainer(
        _share,
        # Notes cross no process: each worker collects its own, and the first one's come back.
        train_loop_config={"context": replace(context, note=print), "pack": [cell_to_json(c) for c in pack.cells]},
        torch_config=TorchConfig(backend="nccl" if context.gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=context.gpus > 0, resources_per_worker=_each(context, pack)),
        run_config=RunConfig(
            # A name of its own: Ray Train goes on silently with what it finds under one that was there before.
            name=f"cell-{uuid.uuid4().hex[:12]}",
            storage_path=scratch,
            # One attempt: the next one may be of fewer workers, and workers that find no place are no reason to wait here.
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
    )
    try:
        told: dict[str, Any] = json.loads(trainer.fit().return_value)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return told


def _share(config: dict[str, Any]) -> str:
    """What each worker does; runs in a process of Ray Train's."""
    import torch
    from ray.train.torch import get_device

    from raresearch.training.crew import Lost, agree, join
    from raresearch.training.resume import machine

    keep_freed_memory()
    context: WorkContext = config["context"]
    notes: list[str] = []
    context = replace(context, note=notes.append)
    cells = tuple(cell_from_json(c) for c in config["pack"])
    crew = join(context.cell_workers)
    told: dict[str, Any] = {"notes": notes, "refused": None}
    if crew is None:  # left over: no power of two needs it
        return json.dumps(told)
    device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        agree(crew, json.dumps(machine(device), sort_keys=True), device)
        landed = context.opened.outcomes() if crew.rank == 0 else {}
        left = torch.tensor([c.key not in landed for c in cells], dtype=torch.int8, device=device)
        todo = tuple(c for c, open_ in zip(cells, crew.gather(left)[0].tolist(), strict=True) if open_)
        if todo:
            outcomes = run_share(context, Pack(todo), crew, device, end_process)
            if crew.size > 1 and any(o.state == "failed" for o in outcomes):
                # Perhaps here alone, and the others wait: the next crew finds that it has landed.
                raise RuntimeError("a training failed on this worker; it is noted in the store")
    except UserError as error:
        told["refused"] = [type(error).__name__, error.place, error.rule, error.remedy]
    except Lost as error:
        raise RuntimeError(f"a worker of the cell is gone: {error}") from error
    return json.dumps(told)


def cell_to_json(cell: Cell) -> dict[str, Any]:
    """Plain data that JSON can hold."""
    return {
        "config": dict(cell.config),
        "fold": cell.fold,
        "seed": cell.seed,
        "epochs": cell.epochs,
        "identity": dict(cell.identity),
    }


def cell_from_json(content: Mapping[str, Any]) -> Cell:
    """What `cell_to_json` gave; lists come back as tuples."""
    return Cell(
        config={k: freeze(v) for k, v in content["config"].items()},
        fold=content["fold"],
        seed=content["seed"],
        epochs=content["epochs"],
        identity={k: freeze(v) for k, v in content["identity"].items()},
    )
