"""Datasets without a study: simulate, ingest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from raresearch import plugins
from raresearch.data.dataset import Dataset
from raresearch.data.engines import OnDemand
from raresearch.data.ingest import ingest
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.splits import Fractions
from raresearch.errors import PluginError, SpecError, nearest
from raresearch.experiment import Experiment, parameters
from raresearch.spec import parse_value


def _session() -> AbstractContextManager[object]:
    from raresearch.execution.ray_session import ray_session  # here: importing Ray takes a second

    return ray_session(None, None)


RAY = OnDemand(_session)


def simulate(
    experiment: str,
    *,
    events: int,
    out: Path,
    seed: int = 0,
    sets: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """``events`` events of ``experiment`` under ``out``; by Ray Data on all cores where that is worth its start."""
    made = plugins.resolve("experiments", experiment, Path.cwd())
    instance = made() if isinstance(made, type) else made
    if not isinstance(instance, Experiment):
        raise PluginError(f"experiment {experiment!r}", "not a subclass of raresearch.Experiment")
    config = {**parameters(instance), **_sets(instance, sets), "data.events": events}
    plan = DataPlan(instance, config, seed, Fractions())
    return prepare(plan, out, engine=RAY, progress=progress)


def _sets(experiment: Experiment, sets: Sequence[str]) -> dict[str, Any]:
    known = [n for n in parameters(experiment) if n.startswith("data.")]
    values = {}
    for text in sets:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise SpecError(f"--set {text}", "not a data.* value of this experiment", nearest(name, known))
        values[name] = parse_value(value)
    return values


def ingest_files(
    paths: Sequence[Path],
    mapping: Mapping[str, Any],
    *,
    out: Path,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Events of ``paths`` as a dataset under ``out``; read by Ray Data where that is worth its start."""
    return ingest(paths, mapping, out, seed=seed, engine=RAY, progress=progress)
