"""Values of axes as numbers, for searchers that calculate with them: exact, one axis at a time.

A choice and a number with `steps` are numbered in the order of their grid; other integers and numbers stand for themselves.
An axis that does not exist in a config has no number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raresearch.axes import Axis, Choice, Float, Int
from raresearch.space import Space
from raresearch.types import Config, Value, canonical

Numbers = Mapping[str, "int | float"]


@dataclass(frozen=True)
class Range:
    """The numbers that an axis runs through: from ``low`` to ``high``, whole ones only or all, on a log scale or not.

    ``grid`` are the values that the numbers count, where they count; ``unordered`` where their order means nothing.
    """

    low: int | float
    high: int | float
    whole: bool
    log: bool
    grid: tuple[Value, ...] | None = None
    unordered: bool = False

    @classmethod
    def of(cls, axis: Axis) -> Range:
        if isinstance(axis, Int):
            return cls(axis.low, axis.high, True, axis.log)
        if isinstance(axis, Float) and axis.steps is None:
            return cls(axis.low, axis.high, False, axis.log)
        grid = axis.grid()
        return cls(0, len(grid) - 1, True, False, grid, isinstance(axis, Choice))

    def number(self, value: Value) -> int | float:
        """The number of ``value``, a value of the axis."""
        if self.grid is None:
            return int(value) if self.whole else float(value)  # type: ignore[arg-type]
        texts = [canonical(v) for v in self.grid]
        text = canonical(value)
        return texts.index(text if text in texts else canonical(float(value)))  # type: ignore[arg-type]

    def value(self, number: int | float) -> Value:
        """The value of ``number``, which may lie a rounding outside the range."""
        if self.whole:
            whole = min(max(int(number), int(self.low)), int(self.high))
            return whole if self.grid is None else self.grid[whole]
        return min(max(float(number), float(self.low)), float(self.high))


@dataclass(frozen=True)
class NumberedSpace:
    """A space in numbers. ``ranges``: each axis, those that a condition reads before those that it rules.

    ``when``: axis → ((other axis, its numbers that let the axis exist), …).
    """

    ranges: Mapping[str, Range]
    when: Mapping[str, tuple[tuple[str, frozenset[float]], ...]]
    order: tuple[str, ...]

    @classmethod
    def of(cls, space: Space) -> NumberedSpace:
        ranges = {name: Range.of(space.axes[name]) for name in _parents_first(space)}
        when = {
            name: tuple((other, frozenset(ranges[other].number(v) for v in values)) for other, values in conditions.items())
            for name, conditions in space.conditions.items()
        }
        return cls(ranges, when, tuple(space.axes))

    def exists(self, name: str, numbers: Numbers) -> bool:
        """Whether axis ``name`` exists beside ``numbers``, which hold every existing axis before it."""
        return all(numbers.get(other) in allowed for other, allowed in self.when.get(name, ()))

    def numbers(self, config: Config) -> dict[str, int | float]:
        """The numbers of a point of the space."""
        return {name: span.number(config[name]) for name, span in self.ranges.items() if name in config}

    def config(self, numbers: Numbers) -> Config:
        """The point that ``numbers`` of the existing axes stand for, its names in the order of the space."""
        return {name: self.ranges[name].value(numbers[name]) for name in self.order if name in numbers}


def _parents_first(space: Space) -> list[str]:
    ordered: list[str] = []
    while len(ordered) < len(space.axes):
        ordered += [
            name for name in space.axes if name not in ordered and all(o in ordered for o in space.conditions.get(name, {}))
        ]
    return ordered
