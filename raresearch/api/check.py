"""`check`: what a study would cost, before it is paid."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raresearch.api.parts import Parts, build_parts, configs_planned, known_points
from raresearch.api.run import Datasets, residence
from raresearch.data.residence import event_bytes
from raresearch.errors import CellFailure, DataError, StoreError, UserError, brief
from raresearch.experiment import parameters
from raresearch.planner import fill, plan_packs
from raresearch.spec import StudySpec, load
from raresearch.store.store import Store
from raresearch.study import make_cells
from raresearch.training.arrays import fold_data
from raresearch.training.policy import Keep
from raresearch.types import Cell, Config, config_id, named_stream

TIMED_EPOCHS = 2  # the first epoch of a process pays for imports and caches, so the second is the one that counts
TIMED_CELLS = 32  # of a pack: more members take the same time each
TIMED_EVENTS = 20_000  # simulated for a timing; a larger study's epochs are that much longer
SIMULATED = 400  # events whose simulation is timed
TIMED_CONFIGS = 24  # more configs than this are sampled evenly: a plan must not take as long as the study


@dataclass(frozen=True)
class Plan:
    """A study's size. ``seconds_per_cell`` and ``hours`` are None where nothing was timed; they are upper bounds, since
    early stopping ends most trainings sooner, unless ``stops_known`` > 0: of that many configs a pilot study told the mean
    epoch where trainings end, the others are taken to end where these do on average, and ``hours_error`` is the standard
    error that their spread leaves. ``disk_bytes`` counts scores of every epoch, if they are kept. ``packs`` have
    ``fill`` trainings on average; a second of ``seconds_per_cell`` is shared by the members of a pack. ``alone`` says why
    the networks of some timed configs cannot be packed. ``data_bytes``: tensors as they are stored; ``data_kind``: where they
    are while networks train (see `raresearch.data.residence`) with ``data_memory`` bytes for events; ``window``: of the
    shuffle; ``simulation_hours``: of all events on all cores here; ``untimed`` says why no network was timed. ``later``: the
    plans of the stages after the first.
    """

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
    fill: float | None = None
    data_bytes: int | None = None
    data_kind: str | None = None
    data_memory: int | None = None
    window: int = 0
    simulation_hours: float | None = None
    untimed: str = ""
    seconds_per_epoch: float | None = None
    seconds_per_cell: float | None = None
    cells_per_hour: float | None = None
    hours: float | None = None
    hours_error: float | None = None
    stops_known: int = 0
    timed_configs: int = 0
    alone: tuple[str, ...] = ()
    later: tuple[Plan, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check(
    path: Path | str,
    *,
    scale: str | None = None,
    sets: Sequence[str] = (),
    timed: bool = True,
    like: Path | str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Validate the study in ``path`` and plan it; with ``timed`` simulate its events and time one epoch of its networks.

    ``like``: the folder of a pilot, the same study with fewer repeats, whose trainings say when those of this one will stop.
    Raises what `run` would raise for wrong input, before anything is written, and `StoreError` for a pilot of other configs.
    """
    spec = load(Path(path), scale=scale, sets=sets)
    parts = build_parts(spec)
    stops = {} if like is None else stop_epochs(Path(like))
    if spec.stages:
        stages = [_staged(spec, number, parts) for number in range(len(spec.stages))]
        plans = [
            _planned(stage, build_parts(stage), timed, progress, stops if not number else {})
            for number, stage in enumerate(stages)
        ]
        return replace(plans[0], later=tuple(plans[1:]))
    return _planned(spec, parts, timed, progress, stops)


def stop_epochs(folder: Path) -> dict[str, list[int]]:
    """Config id → epochs that each of its done trainings in the study in ``folder`` took."""
    found: dict[str, list[int]] = {}
    for row in Store.open(folder).cells().to_pylist():
        if row["state"] == "done":
            found.setdefault(row["config"], []).append(int(row["stop_epoch"]))
    return found


def _staged(spec: StudySpec, number: int, parts: Parts) -> StudySpec:
    """A stage with as many configs as it will take from the one before; which ones is not known yet."""
    rng = np.random.default_rng(named_stream(spec.seed, "check", "stage", str(number)))
    return spec.stage(number, [spec.space.sample(rng) for _ in range(spec.stages[number].best)] if number else ())


def _planned(
    spec: StudySpec, parts: Parts, timed: bool, progress: Callable[[int, int], None], stops: Mapping[str, Sequence[int]]
) -> Plan:
    points = known_points(spec)
    configs = [spec.config(p, parts.experiment) for p in points] or [_any_config(spec, parts)]
    if stops and not any(config_id(c) in stops for c in configs):
        rule = "the pilot has no training of any config of this study"
        raise StoreError("--like", rule, "run this file, at this scale, with --set repeats=1 first, and give its folder")
    plan = _untimed(spec, parts, configs, configs_planned(spec))
    return _timed(plan, spec, parts, configs, progress, stops) if timed else plan


def _any_config(spec: StudySpec, parts: Parts) -> Config:
    return spec.config(spec.space.sample(np.random.default_rng(named_stream(spec.seed, "check"))), parts.experiment)


def _untimed(spec: StudySpec, parts: Parts, configs: Sequence[Config], count: int | None) -> Plan:
    each = spec.repeats * spec.folds
    cells = None if count is None else count * each
    events = _events(spec, parts, configs[0])
    epochs = max(int(str(c["train.epochs"])) for c in configs)
    workers = _workers(spec)
    size = None if events is None else events * event_bytes(parts.experiment.schema())
    place = residence(spec)
    # A searcher that waits for scores proposes config by config: then the packs of one stand for those of all.
    planned = plan_packs(_cells(spec, parts, configs), workers)
    packs = None if count is None else len(planned) * count // len(configs)
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
        workers=workers,
        fill=fill(planned),
        data_bytes=size,
        data_kind=None if size is None else place.of(size),
        data_memory=place.limit,
        window=int(str(configs[0].get("train.window", 0))),
    )


def _workers(spec: StudySpec) -> int:
    if spec.execution.backend == "local":
        return 1
    return (os.cpu_count() or 1) if spec.execution.workers == "auto" else int(spec.execution.workers)


def _cells(spec: StudySpec, parts: Parts, configs: Sequence[Config]) -> list[Cell]:
    return [cell for config in configs for cell in make_cells(spec, parts.experiment, config, "planned")]


def _events(spec: StudySpec, parts: Parts, config: Config) -> int | None:
    """Events to simulate; unknown before reading where they come from files."""
    return int(str(config["data.events"])) if parts.experiment.simulated else None


def _disk(spec: StudySpec, cells: int, events: int, epochs: int) -> int:
    scored = events * ((1 - spec.split.train) if spec.folds == 1 else spec.split.test + (1 - spec.split.test) / spec.folds)
    kept = epochs if spec.keep.scores == "all" else 1
    return math.ceil(cells * kept * scored * 4)  # float32


def _timed(
    plan: Plan, spec: StudySpec, parts: Parts, configs: Sequence[Config], progress: Callable[[int, int], None],
    stops: Mapping[str, Sequence[int]],
) -> Plan:  # fmt: skip
    plan = _simulation_timed(plan, spec, parts, configs[0])
    if spec.execution.gpus and not _gpu_here():
        rule = f"trainings ask for {spec.execution.gpus:g} GPU each and there is none here: run check on a node that has one"
        return replace(plan, untimed=rule)
    step = max(1, math.ceil(len(configs) / TIMED_CONFIGS))
    chosen = configs[::step]
    with tempfile.TemporaryDirectory(prefix="raresearch-check-") as folder:
        datasets = Datasets(spec, parts, Path(folder), "local", progress)
        alone: list[str] = []
        sampled = [_sampled(parts, config) for config in chosen]
        per_epoch = [times * _seconds_per_epoch(spec, parts, datasets, config, alone) for config, times in sampled]
    mean_epoch = sum(per_epoch) / len(per_epoch)
    lasting = [lasts(config, stops) for config in chosen]
    per_cell = sum(s * epochs for s, (epochs, _) in zip(per_epoch, lasting, strict=True)) / len(chosen)
    error = math.sqrt(sum((s * e) ** 2 for s, (_, e) in zip(per_epoch, lasting, strict=True))) / len(chosen)
    in_hours = None if plan.cells is None else plan.cells / plan.workers / 3600
    timings = {
        "seconds_per_epoch": mean_epoch,
        "seconds_per_cell": per_cell,
        "cells_per_hour": 3600 * plan.workers / per_cell,
        "hours": None if in_hours is None else per_cell * in_hours,
        "hours_error": error * in_hours if stops and in_hours is not None else None,
        "stops_known": sum(config_id(c) in stops for c in configs),
        "timed_configs": len(chosen),
        "alone": tuple(sorted(set(alone))),
    }
    return replace(plan, **timings)  # type: ignore[arg-type]


def _simulation_timed(plan: Plan, spec: StudySpec, parts: Parts, config: Config) -> Plan:
    """``plan`` with the time that all its events take, from some of them; the first pays for compilers and caches."""
    if plan.events is None or plan.events <= TIMED_EVENTS:
        return plan
    rng = np.random.default_rng(named_stream(spec.seed, "check", "simulate"))
    known = {**parameters(parts.experiment), **config}
    try:
        parts.experiment.simulate(known, rng, 1)
        started = time.perf_counter()
        parts.experiment.simulate(known, rng, SIMULATED)
    except UserError:
        raise
    except Exception as error:  # the boundary to a user's code
        raise DataError(f"{parts.experiment.name}.simulate", brief(error), "mend the experiment") from error
    seconds = (time.perf_counter() - started) / SIMULATED * plan.events
    cores = 1 if spec.execution.backend == "local" else os.cpu_count() or 1
    return replace(plan, simulation_hours=seconds / cores / 3600)


def _gpu_here() -> bool:
    import torch

    return torch.cuda.is_available()


def _sampled(parts: Parts, config: Config) -> tuple[Config, float]:
    """``config`` with few enough events to be timed, and how many times as many there will be."""
    events, batch = (int(str(config[name])) for name in ("data.events", "train.batch_size"))
    enough = max(TIMED_EVENTS, 8 * batch)
    if not parts.experiment.simulated or events <= enough:
        return config, 1.0
    return {**config, "data.events": enough}, events / enough


def lasts(config: Config, stops: Mapping[str, Sequence[int]]) -> tuple[float, float]:
    """(epochs that a training of ``config`` takes, standard error): its own in the pilot, or those of all others there; without
    a pilot all that it may take."""
    if not stops:
        return float(str(config["train.epochs"])), 0.0
    each = np.concatenate([np.asarray(v, dtype=np.float64) for v in stops.values()])
    mine = np.asarray(stops.get(config_id(config), each), dtype=np.float64)
    # A config's few trainings scatter as trainings of all configs do about their own config's mean.
    within = [np.asarray(v) - np.mean(v) for v in stops.values() if len(v) > 1]
    freedom = sum(len(v) - 1 for v in within)
    spread = math.sqrt(sum(float(v @ v) for v in within) / freedom) if freedom else float(each.std())
    return float(mine.mean()), spread / math.sqrt(len(mine))


def _seconds_per_epoch(spec: StudySpec, parts: Parts, datasets: Datasets, config: Config, alone: list[str]) -> float:
    """A member's share of the last timed epoch of a pack as the study would train it."""
    from raresearch.training.pack import Work, train_pack
    from raresearch.training.width import free_memory

    fingerprint = datasets.fingerprint(config)
    known = {**parameters(parts.experiment), **config, "train.epochs": TIMED_EPOCHS, "train.patience": 0}
    cells = plan_packs(make_cells(spec, parts.experiment, known, fingerprint), _workers(spec))[0].cells
    ends: dict[str, list[float]] = {}
    failures: list[str] = []
    asked = config["train.pack"]
    work = Work(
        experiment=parts.experiment,
        study_seed=spec.seed,
        keep=Keep(),
        data=lambda cell: fold_data(datasets.loaded[fingerprint], cell.fold, spec.folds, spec.seed),
        land=lambda records: failures.extend(r.outcome.error for r in records if r.outcome.error),
        report=lambda cell, epoch: ends.setdefault(cell.key, []).append(time.perf_counter()),
        explain=lambda cell, why: alone.append(why),
        memory=free_memory() // 2,
        width=asked if isinstance(asked, int) else None,
    )
    train_pack(cells[:TIMED_CELLS], work)
    if failures:
        raise CellFailure(failures[0])
    # Of the members that began together: those whose first epoch ended before anybody's second.
    second = min(stamps[-1] for stamps in ends.values())
    together = [stamps for stamps in ends.values() if stamps[0] < second]
    return (max(s[-1] for s in together) - max(s[0] for s in together)) / len(together)
