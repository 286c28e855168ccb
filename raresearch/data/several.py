"""The datasets of a study that varies its data, made at the same time: a grid over detectors has many, each of few blocks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from raresearch.data.engines import START_SECONDS, Engine, Progress, crossed, crossing
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.errors import StoreError


def prepare_several(plans: Sequence[DataPlan], root: Path, engine: Engine, progress: Progress) -> None:
    """Make what is missing of the simulated datasets of ``plans`` under ``root``; fewer than two are left to `prepare`.

    ``engine`` "auto": the first is made here, the others as Ray tasks, one a dataset, where that is worth the start of
    workers. Whoever makes it, a dataset has the same bytes. ``progress(done, total)`` counts blocks of all. Raises as
    `prepare` does, at the first dataset that fails; tasks that run then are cancelled.
    """
    missing = list({p.fingerprint: p for p in plans if p.files is None and not (root / p.fingerprint).exists()}.values())
    if len(missing) < 2:
        return
    done, total = 0, sum(_blocks(p) for p in missing)
    for plan in _made(missing, root, engine):
        done += _blocks(plan)
        progress(done, total)


def _blocks(plan: DataPlan) -> int:
    events, size = plan.values["data.events"], plan.values["data.block"]
    return math.ceil(int(events) / int(size)) if isinstance(events, int) and isinstance(size, int) and size > 0 else 1


def _made(plans: Sequence[DataPlan], root: Path, engine: Engine) -> Iterator[DataPlan]:
    """Each of ``plans`` once its dataset has landed, in the order in which they end."""
    begun = time.monotonic()
    prepare(plans[0], root, engine=engine)
    yield plans[0]
    here = (time.monotonic() - begun) * (len(plans) - 1)
    if engine == "auto" and here > START_SECONDS:
        yield from _by_tasks(plans[1:], root.resolve())
        return
    for plan in plans[1:]:
        prepare(plan, root, engine=engine)
        yield plan


def _by_tasks(plans: Sequence[DataPlan], root: Path) -> Iterator[DataPlan]:
    import ray

    # A crash of the machine under a task is tried again by Ray; what the simulator raises comes back as a value.
    task = ray.remote(num_cpus=1, max_retries=3)(_prepare_one)
    running = {task.remote(plan, root): plan for plan in plans}
    try:
        while running:
            ended, _ = ray.wait(list(running), num_returns=1)
            for reference in ended:
                plan = running.pop(reference)
                crossed(ray.get(reference))
                yield plan
    finally:
        for reference in running:
            ray.cancel(reference)  # not by force: what it has half written is removed


def _prepare_one(plan: DataPlan, root: Path) -> str:
    def make() -> dict[str, object]:
        if not root.is_dir():
            raise StoreError(str(root), "is not visible here", "on a cluster it must lie on a file system that all nodes share")
        prepare(plan, root, engine="local")
        return {}

    return crossing(make)
