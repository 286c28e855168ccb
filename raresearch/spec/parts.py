"""The nouns of a study's file: components, the split, what is kept, how it is executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from raresearch.errors import SpecError
from raresearch.types import freeze

Statistic: TypeAlias = Literal["mean", "median", "min"]
Workers: TypeAlias = "int | Literal['auto']"


@dataclass(frozen=True, slots=True)
class Component:
    """A part that is looked up by name (a searcher, a rule, a figure of merit) with its options.

    ``name`` is a short name, "package.module:Name" or "./file.py:Name"; ``options`` hold numbers, text, tuples and mappings.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", {key: _freeze_deep(value) for key, value in self.options.items()})

    def to_json(self) -> str | dict[str, Any]:
        """As it is written in YAML: the name alone, or {name: options}."""
        return {self.name: _thaw_deep(self.options)} if self.options else self.name

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({options})" if options else self.name


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """Fractions of the events; train and validation must have some, and together they make 1."""

    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        if min(self.train, self.validation) <= 0 or self.test < 0 or abs(self.train + self.validation + self.test - 1) > 1e-9:
            given = f"{self.train:g} + {self.validation:g} + {self.test:g}"
            rule = f"train and validation must be above 0, test not below, and the three sum to 1, not {given}"
            raise SpecError("split", rule, "write e.g. split: {train: 0.8, validation: 0.1, test: 0.1}")

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Retention:
    """What a run keeps on disk.

    ``scores``: of every epoch (`all`), of the epochs that the selection rule may still want (`kept`), or of the best epoch.
    ``weights``: of the epochs that the rule may still want, of the best epoch, or of none.
    """

    scores: Literal["all", "kept", "best"] = "all"
    weights: Literal["kept", "best", "none"] = "best"

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ExecutionSpec:
    """How trainings meet machines; nothing here changes a result.

    ``workers``: trainings at the same time, or `auto` (as many as the machines hold). ``cpus`` and ``gpus`` are for each
    worker, fractions allowed. ``retries``: attempts after a lost worker or a write that failed, not after a training that
    failed. ``cell_seconds`` and ``worker_memory`` (GiB) end what takes longer or more; None: no limit.
    ``data`` says where events are while networks train on them, ``data_memory`` (GiB) how much of a node's memory they may
    take (`raresearch.data.residence`). ``checkpoint_seconds``: time between two checkpoints of half-trained cells, from which
    a lost one goes on; None: none are kept. ``cell_workers``: up to that many workers train one cell together, each with
    ``cpus`` and ``gpus`` (a power of two; see `train.micro_batches`). ``room_seconds``: where the cluster has no room for all
    of them for so long, as after a node is lost, half of them go on.
    """

    backend: Literal["ray_tune", "local"] = "ray_tune"
    workers: Workers = "auto"
    cpus: float = 1
    gpus: float = 0
    retries: int = 3
    cell_seconds: float | None = None
    worker_memory: float | None = None
    data: Literal["auto", "resident", "mapped", "streamed"] = "auto"
    data_memory: float | None = None
    checkpoint_seconds: float | None = 300
    cell_workers: int = 1
    room_seconds: float = 60

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Racing:
    """Further folds and seeds only for configs that could still be the best (see `raresearch.racing`).

    ``level``: greatest probability to lose the best config on the way; ``first``: cells that every config gets; ``probe``:
    configs that go on before the noise between cells is known.
    """

    level: float = 0.05
    first: int = 1
    probe: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or self.first < 1 or self.probe < 2:
            rule = f"level {self.level:g} must lie between 0 and 1, first {self.first} be at least 1, probe {self.probe} at least 2"
            raise SpecError("racing", rule, "write e.g. racing: {level: 0.05}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Stopping:
    """Configs that are behind train no further (see `raresearch.stopping`).

    ``rule``: `halving` or `median`; ``rungs``: epochs at which configs are judged, rising, below `train.epochs`; ``keep``:
    fraction that goes on from each rung (halving; a third by default); ``by``: `objective`, `val_loss` or `val_accuracy`, the
    columns at their best so far; ``least``: where proposals wait for scores, nobody leaves a rung that fewer configs have
    reached (a grid's, random and listed ones are judged together, all of them).
    """

    rule: Literal["halving", "median"] = "halving"
    rungs: tuple[int, ...] = ()
    keep: float | None = None
    by: Literal["objective", "val_loss", "val_accuracy"] = "objective"
    least: int = 4

    def __post_init__(self) -> None:
        example = "write e.g. stopping: {rule: halving, rungs: [5, 15], keep: 0.33}"
        if not self.rungs or min(self.rungs) < 1 or list(self.rungs) != sorted(set(self.rungs)):
            raise SpecError(
                "stopping", f"rungs are epochs from 1 up, each above the one before, not {list(self.rungs)}", example
            )
        if self.rule == "median" and self.keep is not None:
            raise SpecError("stopping", "the median rule keeps whoever is at the median or above", "drop keep, or take halving")
        if self.rule == "halving":
            object.__setattr__(self, "keep", 1 / 3 if self.keep is None else self.keep)
            if not 0 < float(self.keep or 0) < 1:
                raise SpecError("stopping", f"keep {self.keep:g} must lie between 0 and 1", example)
        if self.least < 2:
            raise SpecError("stopping", f"least {self.least} must be at least 2: a config is compared with others", example)

    def to_json(self) -> dict[str, Any]:
        written = {**asdict(self), "rungs": list(self.rungs)}
        return {name: value for name, value in written.items() if value is not None}


@dataclass(frozen=True)
class Stage:
    """One stage of a study: an overlay. Every stage but the first trains the ``best`` configs of the one before.

    ``entries`` is plain data in the layout of the YAML.
    """

    name: str
    entries: Mapping[str, Any] = field(default_factory=dict, hash=False)
    best: int = 1

    def to_json(self) -> dict[str, Any]:
        return {"best": self.best, **self.entries}


def _freeze_deep(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _freeze_deep(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_freeze_deep(inner) for inner in value)
    return freeze(value)


def _thaw_deep(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thaw_deep(inner) for key, inner in value.items()}
    return [_thaw_deep(inner) for inner in value] if isinstance(value, tuple) else value
