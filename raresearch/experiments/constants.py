"""Simulator constants as dataclass fields that carry unit, meaning and provenance, and that a study may override.

A field ``electron_lifetime`` of one of the frozen dataclasses is the config name ``data.electron_lifetime``; its default and
its line in `Experiment.described` are read off the field, so that they cannot drift apart.
"""

from __future__ import annotations

import math
from dataclasses import Field, field, fields
from typing import Any, TypeVar

from raresearch.errors import SpaceError
from raresearch.types import Config, Value

Model = TypeVar("Model")


def constant(default: float, unit: str, meaning: str, source: str) -> Any:
    """A dataclass field. ``unit`` "fraction" restricts it to [0, 1]; any other quantity must be positive.

    ``source`` is a provenance tag with its reason: [P] paper, [R] public reference, [A] assumption, [T] tuned.
    """
    return field(default=default, metadata={"unit": unit, "meaning": meaning, "source": source})


def defaults(*models: type[Any]) -> dict[str, Value]:
    """``data.<field>`` → default value, for every field of ``models`` (dataclasses)."""
    return {f"data.{f.name}": _default(f) for model in models for f in fields(model)}


def described(*models: type[Any]) -> dict[str, str]:
    """``data.<field>`` → "meaning, unit, provenance", for every field of ``models`` (dataclasses)."""
    return {f"data.{f.name}": _line(f) for model in models for f in fields(model)}


def build(model: type[Model], config: Config) -> Model:
    """``model`` with those of its fields that ``config`` sets; raises `SpaceError` for a value out of its range."""
    given = {f.name: _checked(f, config[f"data.{f.name}"]) for f in fields(model) if f"data.{f.name}" in config}  # type: ignore[arg-type]
    return model(**given)


def _default(item: Field[Any]) -> float:
    return float(item.default)  # type: ignore[arg-type]


def _line(item: Field[Any]) -> str:
    unit = item.metadata["unit"]
    return f"{item.metadata['meaning']} ({unit}) {item.metadata['source']}"


def _checked(item: Field[Any], value: Value) -> float:
    place = f"data.{item.name}: {value!r}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SpaceError(place, "must be a finite number", f"the default is {item.default}")
    if item.metadata["unit"] == "fraction" and not 0.0 <= value <= 1.0:
        raise SpaceError(place, "is a fraction and must lie in [0, 1]", f"the default is {item.default}")
    if item.metadata["unit"] != "fraction" and value <= 0.0:
        raise SpaceError(place, "must be positive", f"the default is {item.default} {item.metadata['unit']}")
    return float(value)
