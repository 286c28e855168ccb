"""From nodes to the values of a study. Every mistake becomes one line: place, rule, remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from raresearch.errors import SpaceError, SpecError, nearest
from raresearch.space import Axis, Choice, Float, Int, Space
from raresearch.spec.nodes import Node, read_yaml
from raresearch.spec.overlay import STAGE_KEYS, Draft, flat
from raresearch.spec.parts import Component, ExecutionSpec, Racing, Retention, SplitSpec, Stage, Stopping
from raresearch.types import PREFIXES, Value, freeze

_AXES = {"choice": ("choice", "when"), "int": ("int", "log", "when"), "float": ("float", "log", "steps", "when")}


def read(draft: Draft, origin: str) -> dict[str, Any]:
    """The fields of a `StudySpec` by name, those that were not written left out. Raises `SpecError`."""
    entries = draft.entries
    for key, example in (("study", "my-study"), ("experiment", "pandax2")):
        if key not in entries:
            raise SpecError(origin, f"the key {key!r} is missing", f"add e.g. {key}: {example}")
    values = {key: _READERS[key](node) for key, node in entries.items() if key in _READERS}
    values["name"] = values.pop("study")
    values["fixed"], values["space"] = _fixed_and_space(draft)
    if "objective" in entries:
        values["objective"], values["second"] = _objectives(entries["objective"])
    return values


def _objectives(node: Node) -> tuple[Component, Component | None]:
    """One figure of merit, or a list of two."""
    if not isinstance(node.value, tuple):
        return component(node), None
    if len(node.value) != 2:
        raise node.error(
            f"is one figure of merit or a list of two, not of {len(node.value)}", "name others in figures_of_merit"
        )
    first, second = (component(inner) for inner in node.value)
    if first == second:
        raise node.error(f"names {first} twice", "give two figures of merit, or one without a list")
    return first, second


def parse_value(text: str, origin: str = "value") -> Value:
    """One YAML value, such as the VALUE of `--set NAME=VALUE`: number, text, true/false, null or a list. Raises `SpecError`."""
    return _value(read_yaml(text, origin, lines=False))


def component(node: Node) -> Component:
    """A name, or {name: {option: value}}."""
    if isinstance(node.value, dict):
        if len(node.value) != 1:
            raise node.error(f"must be one name with its options, not {len(node.value)} names", "write name: {option: value}")
        name, options = next(iter(node.value.items()))
        return Component(name, {key: inner.plain() for key, inner in options.mapping.items()})
    return Component(text(node))


def text(node: Node) -> str:
    if not isinstance(node.value, str) or not node.value.strip():
        raise node.error(f"must be a name, not {node.kind}", "put it in quotes if it looks like a number")
    return node.value


def integer(node: Node, least: int) -> int:
    if not isinstance(node.value, int) or isinstance(node.value, bool) or node.value < least:
        whole = isinstance(node.value, float) and node.value.is_integer()
        remedy = f"write {int(node.value)}" if whole and isinstance(node.value, float) else f"write e.g. {max(least, 1)}"
        raise node.error(f"must be an integer from {least} up, not {node.kind}", remedy)
    return node.value


def number(node: Node) -> float:
    if not isinstance(node.value, (int, float)) or isinstance(node.value, bool):
        raise node.error(f"must be a number, not {node.kind}")
    return node.value


def one_of(node: Node, *names: str) -> str:
    if not isinstance(node.value, str) or node.value not in names:
        remedy = nearest(node.value, names) if isinstance(node.value, str) else ""
        raise node.error(f"must be one of {', '.join(names)}, not {node.kind}", remedy)
    return node.value


def axis(node: Node) -> Axis:
    """An axis of the space, as {choice: …}, {int: [low, high]} or {float: [low, high]}. Raises `SpecError`."""
    if not isinstance(node.value, dict):
        raise node.error(
            f"an axis is a mapping, not {node.kind}", "write e.g. {choice: [16, 32]}, or put a value under `fixed`"
        )
    entries = node.mapping
    kinds = [key for key in entries if key in _AXES]
    if len(kinds) != 1:
        given = ", ".join(entries) or "nothing"
        raise node.error(
            f"an axis has exactly one of choice, int, float; this one has {given}", "write e.g. {choice: [16, 32]}"
        )
    _known_keys(node, _AXES[kinds[0]])
    inner = entries[kinds[0]]
    try:
        if kinds[0] == "choice":
            return _choice(inner)
        low, high = _bounds(inner, kinds[0])
        log = entries["log"].plain() if "log" in entries else False
        if kinds[0] == "int":
            return Int(low, high, log)
        return Float(low, high, log, entries["steps"].plain() if "steps" in entries else None)
    except SpaceError as error:
        raise SpecError(inner.place, error.rule, error.remedy) from error


def _fixed_and_space(draft: Draft) -> tuple[dict[str, Value], Space]:
    empty = Node({}, "")
    fixed_nodes = flat(draft.entries.get("fixed", empty)).mapping
    axis_nodes = draft.entries.get("space", empty).mapping
    for name, node in (*fixed_nodes.items(), *axis_nodes.items()):
        _check_name(name, node)
    for name in axis_nodes:
        if name in fixed_nodes and name not in draft.held:
            raise fixed_nodes[name].error(
                f"{name} is fixed and in the space", f"it is also at {axis_nodes[name].place}; keep one"
            )
    axes = {name: axis(node) for name, node in axis_nodes.items()}
    fixed = {name: _value(node) for name, node in fixed_nodes.items()}
    for name in draft.held & set(axes):
        fixed[name] = _by_label(axes[name], fixed[name])
    held = {name: value for name, value in fixed.items() if name in draft.held}
    return fixed, _space(axes, axis_nodes).given(held)


def _space(axes: Mapping[str, Axis], nodes: Mapping[str, Node]) -> Space:
    whens = {name: node.mapping["when"] for name, node in nodes.items() if "when" in node.mapping}
    conditions = {name: {other: inner.plain() for other, inner in when.mapping.items()} for name, when in whens.items()}
    try:
        return Space(axes, conditions)
    except SpaceError as error:
        # The error names "space.<axis>.when…"; the axis tells the line.
        guilty = next((when for name, when in whens.items() if error.place.startswith(f"space.{name}.when")), None)
        place = f"{guilty.origin}: {error.place}" if guilty is not None and guilty.origin else error.place
        raise SpecError(place, error.rule, error.remedy) from error


def _choice(node: Node) -> Choice:
    if isinstance(node.value, dict):
        return Choice(tuple(_value(inner) for inner in node.value.values()), tuple(node.value))
    if not isinstance(node.value, tuple):
        raise node.error(f"a choice is a list of values, or {{label: value}}, not {node.kind}", "write e.g. choice: [16, 32]")
    return Choice(tuple(_value(inner) for inner in node.value))


def _bounds(node: Node, kind: str) -> tuple[Any, Any]:
    if not isinstance(node.value, tuple) or len(node.value) != 2:
        raise node.error(f"must be [low, high], not {node.kind}", f"write e.g. {kind}: [1, 4]")
    low, high = node.plain()
    return low, high


def _by_label(axis: Axis, value: Value) -> Value:
    if isinstance(axis, Choice) and isinstance(value, str) and value in axis.labels and not axis.contains(value):
        return axis.labelled(value)
    return value


def _value(node: Node) -> Value:
    try:
        return freeze(node.plain())
    except TypeError as error:
        raise node.error(f"must be a number, text, true/false or a list of them, not {node.kind}") from error


def _check_name(name: str, node: Node) -> None:
    if not any(name.startswith(prefix) and len(name) > len(prefix) for prefix in PREFIXES):
        raise node.error(f"{name!r} is no parameter", f"names begin with {', '.join(PREFIXES)}")


def _known_keys(node: Node, known: tuple[str, ...]) -> dict[str, Node]:
    for key, inner in node.mapping.items():
        if key not in known:
            raise inner.error(f"there is no {key!r} here", nearest(key, known))
    return node.mapping


def _study(node: Node) -> str:
    name = text(node)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        suggestion = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "my-study"
        raise node.error(f"a study's name has a-z, 0-9 and inner hyphens, not {name!r}", f"write {suggestion}")
    return name


def _components(node: Node) -> tuple[Component, ...]:
    if not isinstance(node.value, tuple):
        raise node.error(f"must be a list, not {node.kind}", "write e.g. [roc_auc]")
    return tuple(component(inner) for inner in node.value)


def _split(node: Node) -> SplitSpec:
    entries = _known_keys(node, ("train", "validation", "test"))
    try:
        return SplitSpec(**{key: number(inner) for key, inner in entries.items()})
    except SpecError as error:
        place = node.place if error.place == "split" else error.place
        raise SpecError(place, error.rule, error.remedy) from error


def _keep(node: Node) -> Retention:
    entries = _known_keys(node, ("scores", "weights"))
    allowed = {"scores": ("all", "kept", "best"), "weights": ("kept", "best", "none")}
    values: dict[str, Any] = {key: one_of(inner, *allowed[key]) for key, inner in entries.items()}
    return Retention(**values)


def _execution(node: Node) -> ExecutionSpec:
    entries = _known_keys(node, tuple(_EXECUTION))
    values: dict[str, Any] = {key: _EXECUTION[key](inner) for key, inner in entries.items()}
    return ExecutionSpec(**values)


def _racing(node: Node) -> Racing | None:
    if node.value is None:  # an overlay may end the race
        return None
    entries = _known_keys(node, ("level", "first", "probe"))
    kinds: Mapping[str, Callable[[Node], Any]] = {"level": number, "first": _counting, "probe": _counting}
    try:
        return Racing(**{key: kinds[key](inner) for key, inner in entries.items()})
    except SpecError as error:
        raise SpecError(node.place if error.place == "racing" else error.place, error.rule, error.remedy) from error


def _stopping(node: Node) -> Stopping | None:
    if node.value is None:
        return None
    entries = _known_keys(node, tuple(_STOPPING))
    try:
        return Stopping(**{key: _STOPPING[key](inner) for key, inner in entries.items()})
    except SpecError as error:
        raise SpecError(node.place if error.place == "stopping" else error.place, error.rule, error.remedy) from error


def _rungs(node: Node) -> tuple[int, ...]:
    if not isinstance(node.value, tuple):
        raise node.error(f"must be a list of epochs, not {node.kind}", "write e.g. rungs: [5, 15]")
    return tuple(integer(inner, 1) for inner in node.value)


def _counting(node: Node) -> int:
    return integer(node, 1)


def _stages(node: Node) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for name, inner in node.mapping.items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in _TAKEN:
            raise inner.error(f"a stage cannot be called {name!r}", "its name is a folder: write e.g. refit")
        entries = dict(_known_keys(inner, STAGE_KEYS))
        if "best" in entries and not stages:
            raise entries["best"].error("the first stage has none before it", "give `best` to a later stage")
        best = integer(entries.pop("best"), 1) if "best" in entries else 1
        stages.append(Stage(name, {key: value.plain() for key, value in entries.items()}, best))
    if len(stages) == 1:
        raise node.error("one stage is no sequence", "add a second, or write its entries into the study itself")
    return tuple(stages)


def _power_of_two(node: Node) -> int:
    value = integer(node, 1)
    if value & (value - 1):
        raise node.error(f"must be a power of two, not {value}", f"write {1 << (value.bit_length() - 1)}")
    return value


def _amount(node: Node, zero: bool) -> float:
    amount = number(node)
    if amount < 0 or (amount == 0 and not zero):
        raise node.error(f"must be {'at least' if zero else 'above'} 0, not {amount}")
    return amount


_TAKEN = (
    "cells",
    "events",
    "datasets",
    "report",
    "race",
    "life",
    "index",
    "checkpoints",
)  # folders of the first stage's own store
_EXECUTION: Mapping[str, Callable[[Node], Any]] = {
    "backend": lambda node: one_of(node, "ray_tune", "local"),
    "workers": lambda node: "auto" if node.value == "auto" else integer(node, 1),
    "cpus": lambda node: _amount(node, zero=False),
    "gpus": lambda node: _amount(node, zero=True),
    "retries": lambda node: integer(node, 0),
    "cell_seconds": lambda node: None if node.value is None else _amount(node, zero=False),
    "worker_memory": lambda node: None if node.value is None else _amount(node, zero=False),
    "data": lambda node: one_of(node, "auto", "resident", "mapped", "streamed"),
    "data_memory": lambda node: None if node.value is None else _amount(node, zero=False),
    "cell_workers": lambda node: _power_of_two(node),
    "room_seconds": lambda node: _amount(node, zero=False),
    "checkpoint_seconds": lambda node: None if node.value is None else _amount(node, zero=True),
}
_STOPPING: Mapping[str, Callable[[Node], Any]] = {
    "rule": lambda node: one_of(node, "halving", "median"),
    "rungs": _rungs,
    "keep": number,
    "by": lambda node: one_of(node, "objective", "val_loss", "val_accuracy"),
    "least": lambda node: integer(node, 2),
}
_READERS: Mapping[str, Callable[[Node], Any]] = {
    "study": _study,
    "experiment": text,
    "seed": lambda node: integer(node, 0),
    "searcher": component,
    "repeats": lambda node: integer(node, 1),
    "folds": lambda node: integer(node, 1),
    "split": _split,
    "statistic": lambda node: one_of(node, "mean", "median", "min"),
    "figures_of_merit": _components,
    "selection": component,
    "keep": _keep,
    "execution": _execution,
    "racing": _racing,
    "stopping": _stopping,
    "stages": _stages,
}
