"""A spec's names turned into objects: experiment, searcher, rule, figures of merit."""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raresearch import plugins
from raresearch.api.origin import commit, machine
from raresearch.ensembles.base import SelectionRule
from raresearch.errors import PluginError, SpecError
from raresearch.experiment import Experiment
from raresearch.metrics.base import FigureOfMerit
from raresearch.searchers.build import build_searcher
from raresearch.spec import Component, StudySpec
from raresearch.types import Config, digest


@dataclass(frozen=True)
class Parts:
    """The objects that a study's YAML names."""

    experiment: Experiment
    rule: SelectionRule
    objective: FigureOfMerit
    others: tuple[FigureOfMerit, ...]
    second: FigureOfMerit | None = None


def build_parts(spec: StudySpec) -> Parts:
    """Resolve and check everything that ``spec`` names; raises `SpecError` or `PluginError`."""
    experiment = build_experiment(spec)
    spec.check(experiment)
    others = tuple(build_fom(c, spec.base_dir) for c in other_figures(spec, experiment))
    second = None if spec.second is None else build_fom(spec.second, spec.base_dir)
    if second is not None:  # refused now, and not when events are there
        build_searcher(spec.searcher, spec.space, spec.seed, spec.base_dir, lambda folder: (), objectives=2)
    return Parts(
        experiment, build_rule(spec.selection, spec.base_dir), build_fom(spec.objective, spec.base_dir), others, second
    )


def build_experiment(spec: StudySpec) -> Experiment:
    """The experiment of ``spec``, by short name, import path or file."""
    experiment = spec.load_experiment()
    if not isinstance(experiment, Experiment):
        raise PluginError(f"experiment {spec.experiment!r}", "not a subclass of raresearch.Experiment")
    if not experiment.name:
        raise SpecError(f"experiment {spec.experiment!r}", "it has no name", 'give the class a line: name = "mine"')
    return experiment


def other_figures(spec: StudySpec, experiment: Experiment) -> tuple[Component, ...]:
    """The figures of merit that the YAML names besides the objective, or else the experiment's own; a second objective first."""
    chosen = spec.figures_of_merit or tuple(Component(name) for name in experiment.figures_of_merit)
    own = [spec.objective] if spec.second is None else [spec.objective, spec.second]
    return (*own[1:], *(c for c in chosen if all(c != o and (c.options or c.name != o.name) for o in own)))


def build_rule(component: Component, base_dir: Path | None) -> SelectionRule:
    rule = plugins.build("rules", component.name, component.options, base_dir)
    if not isinstance(rule, SelectionRule):
        raise PluginError(
            f"rule {component.name!r}", "lacks needs, keep or choose", "see raresearch.ensembles.base.SelectionRule"
        )
    return rule


def build_fom(component: Component, base_dir: Path | None) -> FigureOfMerit:
    fom: FigureOfMerit = plugins.build("foms", component.name, component.options, base_dir)
    return fom


def known_points(spec: StudySpec) -> list[Config]:
    """The points that will be trained, where the searcher is one that says so beforehand; otherwise none."""
    if spec.searcher.name == "grid":
        return list(spec.space.grid())
    return list(spec.searcher.options["configs"]) if spec.searcher.name == "listed" else []


def configs_planned(spec: StudySpec) -> int | None:
    """How many configs the searcher will propose; None where it cannot say."""
    count = len(known_points(spec)) or spec.searcher.options.get("configs")
    return None if count is None else int(count)


def pickle_by_value(experiment: Experiment) -> None:
    """Let Ray send a class of the user's file along with the object: workers cannot import that file by name."""
    module = sys.modules[type(experiment).__module__]
    if plugins.from_file(module):
        import ray

        ray.cloudpickle.register_pickle_by_value(module)


def paper_rows(experiment: Experiment) -> list[dict[str, Any]]:
    """The printed figures beside which a report sets its own (`Experiment.paper`, a CSV beside the module); [] if none."""
    if not experiment.paper:
        return []
    module = importlib.import_module(type(experiment).__module__)
    path = Path(str(module.__file__)).with_name(experiment.paper)
    with path.open(newline="") as file:
        return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _number(text: str) -> float | str | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def identity(spec: StudySpec, parts: Parts) -> str:
    """Digest of all that decides a study's numbers: its spec and the experiment's version."""
    return digest([spec.identity(), parts.experiment.name, parts.experiment.version])


def about(spec: StudySpec, parts: Parts, labels: dict[str, str]) -> dict[str, Any]:
    """What the store says of itself (`study.json`)."""
    versions = {p: importlib.metadata.version(p) for p in ("raresearch", "torch", "ray", "numpy")}
    return {
        "study": spec.name,
        "scale": spec.scale,
        "spec": spec.to_json(),
        "experiment": {
            "name": parts.experiment.name,
            "version": parts.experiment.version,
            "simulated": parts.experiment.simulated,
            "module": type(parts.experiment).__module__,
            "cites": list(parts.experiment.cites),
        },
        "schema": parts.experiment.schema().to_json(),
        "versions": {**versions, "python": platform.python_version()},
        "labels": list(labels.items()),  # pairs: JSON objects are stored with sorted names, rows keep the order of the space
        "paper": paper_rows(parts.experiment),
        "figures_of_merit": [c.to_json() for c in other_figures(spec, parts.experiment)],
        "objective": {"name": spec.objective.name, "options": dict(spec.objective.options)},
        "origin": {"machine": machine(), "commit": commit()},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
