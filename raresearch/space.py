"""The space of configs that a study searches: named axes, some of which exist only under conditions.

A point of a space is a config: flat names with their values. An axis with a condition (`when:`) exists only where other
axes have certain values; where it does not exist, a point does not have its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raresearch.axes import Axis, Choice, Float, Int, among, axis_from_json, frozen, text, thaw
from raresearch.errors import SpaceError, nearest
from raresearch.types import Config, Value

__all__ = ["Axis", "Choice", "Float", "Int", "Space", "axis_from_json"]


@dataclass(frozen=True)
class Space:
    """Named axes, and the conditions under which some of them exist.

    ``conditions``: axis → {other axis: value, label, or a list of them}: the axis exists only where every other axis named
    has one of its values. Conditions may chain; they read discrete axes only. Afterwards the attribute holds, for each
    other axis, the tuple of values. Two spaces are equal if their axes and conditions are, in whatever order.

    Raises `SpaceError` for unknown names, cycles, and conditions that no value meets.
    """

    axes: Mapping[str, Axis]
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", dict(self.axes))
        resolved = {name: self._condition(name, when) for name, when in self.conditions.items() if when}
        object.__setattr__(self, "conditions", resolved)
        self._order(self.axes)

    def grid(self) -> Iterator[Config]:
        """All points. Axes vary in the order in which they were given (one with a condition after those that it reads), the
        last one fastest; each axis in the order of its own grid. Raises `SpaceError` where an axis is continuous."""
        for name, axis in self.axes.items():
            if axis.size is None:
                raise SpaceError(f"space.{name}", "a continuous axis has no grid", "add e.g. steps: 5, or use searcher: random")
        return self._points(self._order(self.axes), {})

    def size(self) -> int | None:
        """Number of points; None where an axis is continuous."""
        sizes = {name: axis.size for name, axis in self.axes.items()}
        parents = {parent for when in self.conditions.values() for parent in when}
        order = self._order(self.axes)
        total = 0
        # Only axes that others depend on are enumerated; the others just multiply.
        if any(size is None for size in sizes.values()):
            return None
        for head in self._points([n for n in order if n in parents], {}):
            total += math.prod(sizes[n] or 0 for n in order if n not in parents and self._exists(n, head))
        return total

    def sample(self, rng: np.random.Generator) -> Config:
        """One point, each existing axis drawn by itself. The draw does not depend on the order of the axes."""
        drawn: dict[str, Value] = {}
        for name in self._order(sorted(self.axes)):
            if self._exists(name, drawn):
                drawn[name] = self.axes[name].sample(rng)
        return {name: drawn[name] for name in self._order(self.axes) if name in drawn}

    def contains(self, config: Config) -> bool:
        """Whether ``config`` is a point: exactly the axes that exist, each with a value of its own."""
        wanted = {name for name in self.axes if self._exists(name, config)}
        return wanted == set(config) and all(self.axes[name].contains(config[name]) for name in wanted)

    def project(self, config: Config) -> Config:
        """The point that a full ``config`` was made from: the axes that exist, each with its own value for the number that
        the config holds (a choice of 1 became 1.0 where the experiment's default is a float). Raises `SpaceError` for a
        config that no point gives."""
        point: dict[str, Value] = {}
        for name in self._order(self.axes):
            if self._exists(name, point):
                if name not in config or (own := _own_value(self.axes[name], config[name])) is None:
                    given = text(config[name]) if name in config else "nothing"
                    raise SpaceError(f"space.{name}", f"{given} is no value of this axis", _values_of(self.axes[name]))
                (point[name],) = own
        return point

    def label(self, config: Config) -> str:
        """Short text for people, such as "4A" or "4A · dropout=0.2". Numbers are rounded, so it need not be unique."""
        last = [name.rpartition(".")[2] for name in self.axes]
        parts = []
        for name, axis in self.axes.items():
            if name in config:
                short = name.rpartition(".")[2]
                prefix = f"{short if last.count(short) == 1 else name}="
                named = isinstance(axis, Choice) and bool(axis.labels)
                parts.append(("" if named else prefix) + axis.label(config[name]))
        return " · ".join(parts) or "all fixed"

    def given(self, fixed: Config) -> Space:
        """The space that is left when axes are held at the values of ``fixed``: they leave it, and so does every axis whose
        condition those values rule out."""
        gone: set[str] = set()
        conditions: dict[str, dict[str, Any]] = {}
        for name in self._order(self.axes):
            when = self.conditions.get(name, {})
            held = {parent: values for parent, values in when.items() if parent in fixed}
            missing = any(parent in gone and parent not in fixed for parent in when)
            if name in fixed or missing or not all(among(fixed[p], values) for p, values in held.items()):
                gone.add(name)
            conditions[name] = {parent: values for parent, values in when.items() if parent not in held}
        axes = {name: axis for name, axis in self.axes.items() if name not in gone}
        return Space(axes, {name: conditions[name] for name in axes})

    def to_json(self) -> dict[str, Any]:
        """A list of axes rather than a mapping, so that no sorting of keys on the way can change the order of a grid."""
        axes = []
        for name, axis in self.axes.items():
            when = {parent: [thaw(v) for v in values] for parent, values in self.conditions.get(name, {}).items()}
            axes.append({"name": name, **axis.to_json(), **({"when": when} if when else {})})
        return {"axes": axes}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Space:
        axes = {axis["name"]: axis_from_json(axis) for axis in content["axes"]}
        return cls(axes, {axis["name"]: axis.get("when", {}) for axis in content["axes"]})

    def _condition(self, name: str, when: Mapping[str, Any]) -> dict[str, tuple[Value, ...]]:
        for unknown in (n for n in (name, *when) if n not in self.axes):
            raise SpaceError(f"space.{name}.when", f"{unknown!r} is not an axis of the space", nearest(unknown, self.axes))
        return {parent: _alternatives(name, parent, self.axes[parent], allowed) for parent, allowed in when.items()}

    def _exists(self, name: str, config: Config) -> bool:
        when = self.conditions.get(name, {})
        return all(parent in config and among(config[parent], values) for parent, values in when.items())

    def _order(self, names: Iterable[str]) -> tuple[str, ...]:
        """``names``, each moved behind those that its condition reads."""
        ordered: dict[str, None] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                raise SpaceError(
                    f"space.{name}.when", f"goes round in a circle: {' → '.join((*path, name))}", "drop one `when`"
                )
            if name not in ordered:
                for parent in self.conditions.get(name, {}):
                    visit(parent, (*path, name))
                ordered[name] = None

        for name in names:
            visit(name, ())
        return tuple(ordered)

    def _points(self, names: Sequence[str], partial: Config) -> Iterator[Config]:
        if not names:
            yield partial
        elif not self._exists(names[0], partial):
            yield from self._points(names[1:], partial)
        else:
            for value in self.axes[names[0]].grid():
                yield from self._points(names[1:], {**partial, names[0]: value})


def _alternatives(name: str, parent: str, axis: Axis, allowed: Any) -> tuple[Value, ...]:
    """The values of ``parent`` meant by ``allowed``: one value, one label, or a list of them."""
    place = f"space.{name}.when.{parent}"
    if axis.size is None:
        raise SpaceError(place, "a condition cannot read a continuous axis", "give that axis `steps`, or make it a choice")
    one = _as_value(axis, whole := frozen(place, allowed))
    each = [_as_value(axis, value) for value in whole] if isinstance(whole, tuple) else []
    many = bool(each) and None not in each
    if one is not None and many:
        raise SpaceError(place, f"{text(whole)} is a value and a list of values of {parent}", "refer to labels instead")
    if one is not None:
        return one
    if not many:
        raise SpaceError(place, f"{text(whole)} is no value of {parent}, nor a list of its values", _values_of(axis))
    return tuple(value for found in each if found is not None for value in found)


def _as_value(axis: Axis, value: Value) -> tuple[Value] | None:
    if isinstance(axis, Choice) and isinstance(value, str) and value in axis.labels and not axis.contains(value):
        return (axis.labelled(value),)
    return _own_value(axis, value)


def _own_value(axis: Axis, value: Value) -> tuple[Value] | None:
    """The value of ``axis`` that is ``value``, or else the same number as it; in a tuple, because None is a value too."""
    if isinstance(axis, Float):
        return (float(value),) if isinstance(value, (int, float)) and axis.contains(value) else None
    if axis.contains(value):
        return (value,)
    if isinstance(axis, Int):
        return (int(value),) if isinstance(value, float) and value.is_integer() and axis.contains(int(value)) else None
    return next(((own,) for own in axis.values if _same_number(own, value)), None)


def _same_number(one: Value, other: Value) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(_same_number(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return isinstance(one, bool) is isinstance(other, bool) and one == other
    return one == other


def _values_of(axis: Axis) -> str:
    if isinstance(axis, Choice):
        return "it has " + ", ".join(axis.labels or [text(v) for v in axis.values])
    return f"it runs from {axis.low} to {axis.high}"
