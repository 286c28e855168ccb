"""A study's rows for other people's tools: pandas, polars, and Optuna's journal, which `optuna-dashboard` shows."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raresearch.api.parts import build_fom
from raresearch.axes import Choice, Float, Int
from raresearch.errors import StoreError
from raresearch.report.labels import value_text
from raresearch.store.records import parse_config
from raresearch.types import Array, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from raresearch.api.opened import OpenStudy
    from raresearch.metrics.base import FigureOfMerit


def to_polars(table: pa.Table) -> Any:
    """``table`` as a polars data frame. Raises `StoreError` where polars is not installed: it is no dependency."""
    try:
        polars = importlib.import_module("polars")
    except ImportError as error:
        raise StoreError("to_polars", "polars is not installed", "pip install polars, or use to_pandas()") from error
    return polars.from_arrow(table)


def write_journal(opened: OpenStudy, path: Path) -> Path:
    """Write the study's configs as trials of one Optuna study into the journal ``path``, which must not exist.

    A trial's value is the mean of the objective over the config's done cells, by the study's own rule, on validation (with two
    objectives, one value each); its intermediate values are the mean validation loss after each epoch. A config whose cells
    all failed is a failed trial. Label, config id, cells done and failed, and the standard deviation over cells are user
    attributes of a trial; the study's say what measured or simulated the events, and what a value is.

    Raises `StoreError` where ``path`` exists or cannot be written.
    """
    if path.exists():
        raise StoreError(str(path), "the file exists", "give a new name: a journal is only ever added to")
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        path.touch()
    except OSError as error:
        raise StoreError(str(path), f"cannot be written ({error.strerror})", "give a file in a folder of yours") from error
    with _quiet():
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            study_name=opened.spec.name,
            directions=["maximize" if f.goal == "max" else "minimize" for f in _objectives(opened)],
        )
        study.set_metric_names([f.name for f in _objectives(opened)])
        for name, value in _about(opened).items():
            study.set_user_attr(name, value)
        study.add_trials(list(_trials(opened)))
    return path


def _objectives(opened: OpenStudy) -> tuple[FigureOfMerit, ...]:
    second = opened.spec.second
    return (opened.objective,) if second is None else (opened.objective, build_fom(second, opened.spec.base_dir))


def _about(opened: OpenStudy) -> dict[str, str]:
    experiment = opened.about.get("experiment", {})
    made = "simulated by" if experiment.get("simulated") else "read by"
    return {
        "events": f"{made} {experiment.get('name', 'an unnamed experiment')} v{experiment.get('version', '?')}",
        "value": "mean over the config's trainings, on validation events",
        "scale": str(opened.about.get("scale") or "as written"),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its log and its warnings of experimental parts."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _trials(opened: OpenStudy) -> Iterator[FrozenTrial]:
    from optuna.trial import TrialState, create_trial

    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in opened.cells().to_pylist():
        rows.setdefault(row["config"], []).append(row)
    values, curves = [_values(opened, f) for f in _objectives(opened)], _curves(opened)
    for config, cells in rows.items():
        found = values[0].get(config, [])
        whole = bool(found) and all(v.get(config) for v in values)
        point = opened.spec.space.project(parse_config(cells[0]["values"]))
        attributes = {
            "label": opened.labels.get(config, config),
            "config": config,
            "done": sum(c["state"] == "done" for c in cells),
            "failed": sum(c["state"] == "failed" for c in cells),
            "std": float(np.std(found, ddof=1)) if len(found) > 1 else None,
        }
        yield create_trial(
            state=TrialState.COMPLETE if whole else TrialState.FAIL,
            values=[float(np.mean(v[config])) for v in values] if whole else None,
            params={name: _plain(opened, name, value) for name, value in point.items()},
            distributions={name: _distribution(opened, name) for name in point},
            user_attrs=attributes,
            intermediate_values=curves.get(config, {}) if whole else {},
        )


def _values(opened: OpenStudy, fom: FigureOfMerit) -> dict[str, list[float]]:
    """Config id → ``fom`` of each done cell on validation."""
    found: dict[str, list[float]] = {}
    if opened.done():
        choice = opened.select(opened.rule, per="cell")
        for ensemble, value in zip(choice.ensembles, choice.values(fom), strict=True):
            if np.isfinite(value):
                found.setdefault(ensemble.config, []).append(value)
    return found


def _curves(opened: OpenStudy) -> dict[str, dict[int, float]]:
    """Config id → epoch → mean validation loss over the cells that got there."""
    if not opened.done():
        return {}
    return {
        str(config): _by_epoch(rows["epoch"], rows["val_loss"]) for (config,), rows in opened.epoch_table().groups("config")
    }


def _by_epoch(epoch: Array, loss: Array) -> dict[int, float]:
    kept = np.isfinite(loss)
    epochs, place = np.unique(epoch[kept], return_inverse=True)
    mean = np.bincount(place, weights=loss[kept]) / np.bincount(place)
    return {int(e): float(m) for e, m in zip(epochs, mean, strict=True)}


def _distribution(opened: OpenStudy, name: str) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    axis = opened.spec.space.axes[name]
    if isinstance(axis, Int):
        return IntDistribution(axis.low, axis.high, log=axis.log)
    if isinstance(axis, Float):
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    return CategoricalDistribution([_named(axis, value) for value in axis.values])


def _plain(opened: OpenStudy, name: str, value: Value) -> bool | int | float | str | None:
    axis = opened.spec.space.axes[name]
    return _named(axis, value) if isinstance(axis, Choice) else value  # type: ignore[return-value]


def _named(axis: Choice, value: Value) -> bool | int | float | str | None:
    """A choice as a journal can hold it: a list by its label, or written out; anything else as it is, so that numbers stay numbers."""
    if not isinstance(value, tuple):
        return value
    return axis.labels[axis.values.index(value)] if axis.labels else value_text(value)
