"""A cell on several workers: Ray Train starts them inside the cell's trial, watches them, and starts them again.

Ray Train is the crew's manager and nothing else. What they compute is `raresearch.training.pieces`, whose result does not depend
on how many they are, so Ray may go on with fewer after one is lost. (It does not begin with fewer where others hold the CPUs.)
Scores go from the first worker straight into the store; checkpoints are the store's, not Ray's, which knows of none.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raresearch import errors
from raresearch.errors import UserError
from raresearch.execution.allocator import keep_freed_memory
from raresearch.execution.limits import end_process
from raresearch.execution.worker import WorkContext, run_share
from raresearch.types import Cell, Pack, freeze

RESERVE = 0.01  # CPUs of the trial that waits for its workers; taken from theirs, so that all CPUs can be used
RESIZE_SECONDS = 300  # between two looks whether more workers could be had than there are


def check_room(workers: int, cpus: float, gpus: float, there: dict[str, float]) -> None:
    """Raise `UserError` where ``workers`` with ``cpus`` and ``gpus`` each are more than a cluster with ``there`` has."""
    for kind, each, word in (("CPU", cpus, "CPUs"), ("GPU", gpus, "GPUs")):
        if workers * each > there.get(kind, 0.0):
            rule = f"{workers} workers of {each:g} {word} for each cell, and the cluster has {there.get(kind, 0.0):g}"
            raise UserError("execution.cell_workers", rule, "lower it (the result stays the same), or give --address")


def train_on_workers(context: WorkContext, pack: Pack) -> None:
    """Train ``pack`` on up to ``context.cell_workers`` workers, which land it.

    Raises `UserError` where the input is wrong, and what Ray raises where workers died more often than `retries` allows.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    scratch = tempfile.mkdtemp(prefix="raresearch-train-")
    each = {"CPU": context.cpus - RESERVE, **({"GPU": context.gpus} if context.gpus else {})}
    trainer = TorchTrainer(
        _share,
        # Notes cross no process: each worker collects its own, and the first one's come back.
        train_loop_config={"context": replace(context, note=print), "pack": [cell_to_json(c) for c in pack.cells]},
        torch_config=TorchConfig(backend="nccl" if context.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=(1, context.cell_workers),
            use_gpu=context.gpus > 0,
            resources_per_worker=each,
            elastic_resize_monitor_interval_s=RESIZE_SECONDS,
        ),
        run_config=RunConfig(
            # A name of its own: Ray Train goes on silently with what it finds under one that was there before.
            name=f"cell-{uuid.uuid4().hex[:12]}",
            storage_path=scratch,
            failure_config=FailureConfig(max_failures=context.retries),
        ),
    )
    try:
        told = json.loads(trainer.fit().return_value)
    except TrainingFailedError:
        landed = context.opened.outcomes()
        if all(c.key in landed for c in pack.cells):
            return
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for text in told["notes"]:
        context.note(text)
    if told["refused"]:
        kind, *message = told["refused"]
        raise getattr(errors, kind)(*message)


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
