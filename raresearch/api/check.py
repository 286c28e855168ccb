"""`check`: what a study would cost, before it is paid."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raresearch.api.parts import Parts, build_parts
from raresearch.api.run import Datasets
from raresearch.experiment import parameters
from raresearch.planner import plan_packs
from raresearch.spec import StudySpec, load
from raresearch.study import make_cells
from raresearch.training.arrays import fold_data
from raresearch.training.policy import Keep
from raresearch.types import Cell, Config

TIMED_EPOCHS = 2  # the first epoch of a process pays for imports and caches, so the second is the one that counts
TIMED_CONFIGS = 24  # more configs than this are sampled evenly: a plan must not take as long as the study


@dataclass(frozen=True)
class Plan:
    """A study's size. ``seconds_per_cell`` and ``hours`` are None where nothing was timed; all are upper bounds, since
    early stopping ends most trainings sooner. ``disk_bytes`` counts scores of every epoch, if they are kept."""

    study: str
    scale: str | None
    configs: int | None
    repeats: int
    folds: int
    cells: int | None
    packs: int | None
    events: int | None
    epochs: int
    disk_bytes: int | None
    workers: int
    seconds_per_epoch: float | None = None
    seconds_per_cell: float | None = None
    hours: float | None = None
    timed_configs: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check(
    path: Path | str,
    *,
    scale: str | None = None,
    sets: Sequence[str] = (),
    timed: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Validate the study in ``path`` and plan it; with ``timed`` simulate its events and time one epoch of its networks.

    Raises what `run` would raise for wrong input, before anything is written.
    """
    spec = load(Path(path), scale=scale, sets=sets)
    parts = build_parts(spec)
    points = list(spec.space.grid()) if spec.searcher.name == "grid" else []
    count = len(points) or spec.searcher.options.get("configs")
    configs = [spec.config(p, parts.experiment) for p in points] or [_any_config(spec, parts)]
    plan = _untimed(spec, parts, configs, None if count is None else int(count))
    return _timed(plan, spec, parts, configs, progress) if timed else plan


def _any_config(spec: StudySpec, parts: Parts) -> Config:
    import numpy as np

    return spec.config(spec.space.sample(np.random.default_rng(spec.seed)), parts.experiment)


def _untimed(spec: StudySpec, parts: Parts, configs: Sequence[Config], count: int | None) -> Plan:
    each = spec.repeats * spec.folds
    cells = None if count is None else count * each
    events = _events(spec, parts, configs[0])
    epochs = max(int(str(c["train.epochs"])) for c in configs)
    packs = len(plan_packs(_cells(spec, parts, configs))) if count == len(configs) else cells
    workers = (os.cpu_count() or 1) if spec.execution.workers == "auto" else int(spec.execution.workers)
    return Plan(
        study=spec.name,
        scale=spec.scale,
        configs=count,
        repeats=spec.repeats,
        folds=spec.folds,
        cells=cells,
        packs=packs,
        events=events,
        epochs=epochs,
        disk_bytes=None if cells is None or events is None else _disk(spec, cells, events, epochs),
        workers=1 if spec.execution.backend == "local" else workers,
    )


def _cells(spec: StudySpec, parts: Parts, configs: Sequence[Config]) -> list[Cell]:
    return [cell for config in configs for cell in make_cells(spec, parts.experiment, config, "planned")]


def _events(spec: StudySpec, parts: Parts, config: Config) -> int | None:
    """Events to simulate; unknown before reading where they come from files."""
    return int(str(config["data.events"])) if parts.experiment.simulated else None


def _disk(spec: StudySpec, cells: int, events: int, epochs: int) -> int:
    scored = events * ((1 - spec.split.train) if spec.folds == 1 else spec.split.test + (1 - spec.split.test) / spec.folds)
    kept = epochs if spec.keep.scores == "all" else 1
    return math.ceil(cells * kept * scored * 4)  # float32


def _timed(plan: Plan, spec: StudySpec, parts: Parts, configs: Sequence[Config], progress: Callable[[int, int], None]) -> Plan:
    step = max(1, math.ceil(len(configs) / TIMED_CONFIGS))
    chosen = configs[::step]
    with tempfile.TemporaryDirectory(prefix="raresearch-check-") as folder:
        datasets = Datasets(spec, parts, Path(folder), "local", progress)
        per_epoch = [_seconds_per_epoch(spec, parts, datasets, config) for config in chosen]
    mean_epoch = sum(per_epoch) / len(per_epoch)
    per_cell = sum(s * int(str(c["train.epochs"])) for s, c in zip(per_epoch, chosen, strict=True)) / len(chosen)
    hours = None if plan.cells is None else plan.cells * per_cell / plan.workers / 3600
    content = {**plan.to_json(), "seconds_per_epoch": mean_epoch, "seconds_per_cell": per_cell, "hours": hours}
    return Plan(**{**content, "timed_configs": len(chosen)})


def _seconds_per_epoch(spec: StudySpec, parts: Parts, datasets: Datasets, config: Config) -> float:
    from raresearch.training.single import train_cell

    fingerprint = datasets.fingerprint(config)
    known = {**parameters(parts.experiment), **config, "train.epochs": TIMED_EPOCHS, "train.patience": 0}
    cell = make_cells(spec, parts.experiment, known, fingerprint)[0]
    stamps = [time.perf_counter()]
    data = fold_data(datasets.loaded[fingerprint], 0, spec.folds, spec.seed)
    train_cell(cell, parts.experiment, data, spec.seed, Keep(), lambda cell, epoch: stamps.append(time.perf_counter()))
    return stamps[-1] - stamps[-2]
