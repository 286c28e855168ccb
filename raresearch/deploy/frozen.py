"""From a choice in a study to the one ensemble that is frozen: its members with weights, scaling and configs. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from raresearch.data.transforms import Scaler
from raresearch.ensembles.base import SelectionRule
from raresearch.ensembles.evaluation import Ensemble, Per, ScoreReader
from raresearch.errors import SelectionError, StoreError, nearest
from raresearch.experiment import Experiment, Schema
from raresearch.metrics.base import FigureOfMerit
from raresearch.spec import StudySpec
from raresearch.store.records import parse_config
from raresearch.store.store import Store
from raresearch.types import Array, Config, Member


class Chosen(Protocol):
    """What is needed of a choice (`raresearch.Choice` is one): its store, rule, ensembles and figures of merit."""

    @property
    def store(self) -> Store: ...
    @property
    def rule(self) -> SelectionRule: ...
    @property
    def per(self) -> Per: ...
    @property
    def ensembles(self) -> tuple[Ensemble, ...]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def objective(self) -> FigureOfMerit: ...
    @property
    def foms(self) -> Mapping[str, FigureOfMerit]: ...
    @property
    def hash(self) -> str: ...
    @property
    def config(self) -> str: ...


@dataclass(frozen=True)
class FrozenMember:
    """One member. ``weights``: parameter → array; ``scaling``: tensor → scaler; ``reference``: its validation logits (V,),
    kept where scores combine by rank."""

    member: Member
    config: Config
    config_id: str
    fold: int
    seed: int
    scaling: Mapping[str, Scaler]
    weights: Mapping[str, Array]
    reference: Array | None = None


@dataclass(frozen=True)
class Frozen:
    """One ensemble with everything that its scores depend on."""

    store: Store
    ensemble: Ensemble
    members: tuple[FrozenMember, ...]
    experiment: Experiment
    schema: Schema


def pick(chosen: Chosen, config: str | None = None, seed: int | None = None, fold: int | None = None) -> Ensemble:
    """The one ensemble of ``chosen`` that is meant: of ``config`` (label or id; default: the best), ``seed`` and ``fold``.

    Raises `SelectionError` where none or several fit: which repeat to freeze is the user's choice, not the first one's luck.
    """
    wanted = chosen.config if config is None else _config_id(chosen, config)
    fits = [
        e
        for e in chosen.ensembles
        if e.config == wanted and (seed is None or e.seed == seed) and (fold is None or e.fold == fold)
    ]
    label = chosen.labels.get(wanted, wanted)
    if not fits:
        seeds = sorted({e.seed for e in chosen.ensembles if e.config == wanted})
        raise SelectionError(f"config {label}, seed {seed}, fold {fold}", "no such ensemble", f"seeds here: {seeds}")
    if len(fits) > 1:
        rule = f"the choice holds {len(fits)} ensembles of it (one each {chosen.per}), one file holds one"
        seeds, folds = sorted({e.seed for e in fits}), sorted({e.fold for e in fits})
        one = f"--seed {seeds[0]}" if len(seeds) > 1 else ""
        one = " ".join(part for part in (one, f"--fold {folds[0]}" if len(folds) > 1 else "") if part)
        raise SelectionError(f"config {label}", rule, f"choose over all of them with --per config, or name one: {one}")
    return fits[0]


def _config_id(chosen: Chosen, config: str) -> str:
    here = {e.config for e in chosen.ensembles}
    by_label = {chosen.labels.get(c, c): c for c in here}
    if config in here:
        return config
    if config not in by_label:
        raise SelectionError(f"config {config!r}", "no ensemble of the choice is of it", nearest(config, by_label))
    return by_label[config]


def freeze_choice(chosen: Chosen, ensemble: Ensemble) -> Frozen:
    """Read all that ``ensemble`` needs from the store.

    Raises `StoreError` where weights were dropped or the experiment's code is of another version than the training's.
    """
    store, about = chosen.store, chosen.store.about()
    experiment = StudySpec.from_json(about["spec"]).load_experiment()
    trained = about["experiment"]["version"]
    if experiment.version != trained:
        rule = f"its code is version {experiment.version} now, the study was trained by version {trained}"
        raise StoreError(f"experiment {experiment.name}", rule, "check out the code that trained it")
    rows = {row["cell"]: row for row in store.cells().to_pylist()}
    reader = ScoreReader(store)
    members = tuple(_member(store, reader, rows[m.cell], m, ensemble.combine == "ranks") for m in ensemble.members)
    return Frozen(store, ensemble, members, experiment, Schema.from_json(about["schema"]))


def _member(store: Store, reader: ScoreReader, row: Mapping[str, Any], member: Member, ranked: bool) -> FrozenMember:
    scaling = json.loads(row["scaling"] or "{}")
    return FrozenMember(
        member=member,
        config=parse_config(row["values"]),
        config_id=row["config"],
        fold=row["fold"],
        seed=row["seed"],
        scaling={name: Scaler.from_json(content) for name, content in scaling.items()},
        weights=store.weights(row["landing"], member.cell, member.epoch),
        reference=reader.logits(member, "validation")[1] if ranked else None,
    )
