"""The kinds of axis that a study can vary: a choice, an integer range, a range of numbers.

Each can `sample(rng)`, say what it `contains`, list its `grid()`, `label(value)` a value for people, and go to JSON and
back. Values are compared by their JSON text, so 1, 1.0 and true are three values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from raresearch.errors import SpaceError
from raresearch.types import Value, canonical, freeze

#: an axis with more integers than this cannot be scanned by a grid
LONGEST_GRID = 100_000
_LARGEST_INT = 2**62  # numpy draws 64-bit integers


@dataclass(frozen=True, slots=True)
class Choice:
    """One of ``values`` (lists are tuples); ``labels``, if given, name them in tables and figures.

    Raises `SpaceError` for no values, equal values, values that are not finite, and labels that do not match.
    """

    values: tuple[Value, ...]
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(frozen("choice", v) for v in self.values))
        object.__setattr__(self, "labels", tuple(self.labels))
        if not self.values:
            raise SpaceError("choice", "needs at least one value", "write e.g. choice: [16, 32]")
        if (twice := _repeated([canonical(v) for v in self.values])) is not None:
            raise SpaceError("choice", f"has the value {twice} twice", "list each value once")
        if self.labels and len(self.labels) != len(self.values):
            raise SpaceError(
                "choice", f"has {len(self.values)} values and {len(self.labels)} labels", "give each value one label"
            )
        if (twice := _repeated(self.labels)) is not None:
            raise SpaceError("choice", f"has the label {twice!r} twice", "give each value its own label")

    @property
    def size(self) -> int | None:
        return len(self.values)

    def sample(self, rng: np.random.Generator) -> Value:
        return self.values[int(rng.integers(len(self.values)))]

    def contains(self, value: Value) -> bool:
        return among(value, self.values)

    def grid(self) -> tuple[Value, ...]:
        """The values in the order in which they were given."""
        return self.values

    def label(self, value: Value) -> str:
        """The label of ``value``, or its text where there are no labels."""
        for label, known in zip(self.labels, self.values, strict=False):
            if canonical(known) == canonical(value):
                return label
        return text(value)

    def labelled(self, label: str) -> Value | None:
        """The value that carries ``label``; None where none does."""
        return self.values[self.labels.index(label)] if label in self.labels else None

    def to_json(self) -> dict[str, Any]:
        labels = {"labels": list(self.labels)} if self.labels else {}
        return {"choice": [thaw(v) for v in self.values], **labels}


@dataclass(frozen=True, slots=True)
class Int:
    """An integer from ``low`` to ``high``, both included; with ``log`` each factor is equally likely to be drawn."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        for bound in (self.low, self.high):
            if not _is_int(bound) or abs(bound) > _LARGEST_INT:
                raise SpaceError("int", f"bounds must be integers up to 2^62, not {bound!r}", "write e.g. int: [1, 4]")
        _check_range("int", self.low, self.high, self.log)

    @property
    def size(self) -> int | None:
        return self.high - self.low + 1

    def sample(self, rng: np.random.Generator) -> Value:
        if not self.log:
            return int(rng.integers(self.low, self.high, endpoint=True))
        # Half a unit on both sides, so that the ends are as likely as their neighbours on the log scale.
        drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(max(round(drawn), self.low), self.high)

    def contains(self, value: Value) -> bool:
        return isinstance(value, int) and _is_int(value) and self.low <= value <= self.high

    def grid(self) -> tuple[Value, ...]:
        """Every integer in rising order. Raises `SpaceError` beyond `LONGEST_GRID` values."""
        if self.high - self.low >= LONGEST_GRID:
            raise SpaceError("int", f"has more than {LONGEST_GRID} values", "list some as a `choice`, or use searcher: random")
        return tuple(range(self.low, self.high + 1))

    def label(self, value: Value) -> str:
        return text(value)

    def to_json(self) -> dict[str, Any]:
        return {"int": [self.low, self.high], **({"log": True} if self.log else {})}


@dataclass(frozen=True, slots=True)
class Float:
    """A number from ``low`` to ``high``; with ``log`` uniform in its logarithm.

    ``steps`` makes the axis discrete: that many equidistant points (on the log scale with ``log``), both ends included,
    for drawing as well as for the grid.
    """

    low: float
    high: float
    log: bool = False
    steps: int | None = None

    def __post_init__(self) -> None:
        for bound in (self.low, self.high):
            if not _is_number(bound) or not math.isfinite(bound):
                raise SpaceError("float", f"bounds must be finite numbers, not {bound!r}", "write e.g. float: [0.0, 0.5]")
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        _check_range("float", self.low, self.high, self.log)
        if self.low == self.high or not math.isfinite(self.high - self.low):
            raise SpaceError("float", f"cannot span [{self.low}, {self.high}]", "widen it, or put the value under `fixed`")
        if self.steps is not None and not (_is_int(self.steps) and 2 <= self.steps <= LONGEST_GRID):
            raise SpaceError("float", f"steps must be an integer from 2 to {LONGEST_GRID}, not {self.steps!r}")
        if self.steps is not None and len(set(self.grid())) < self.steps:
            raise SpaceError("float", f"{self.steps} steps do not fit between {self.low} and {self.high}", "use fewer steps")

    @property
    def size(self) -> int | None:
        """Number of points; None for a continuous axis."""
        return self.steps

    def sample(self, rng: np.random.Generator) -> Value:
        if self.steps is not None:
            return self.grid()[int(rng.integers(self.steps))]
        if not self.log:
            return float(rng.uniform(self.low, self.high))
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)  # exp(log(x)) may miss x by one rounding

    def contains(self, value: Value) -> bool:
        if not isinstance(value, (int, float)) or not _is_number(value) or not self.low <= value <= self.high:
            return False
        return self.steps is None or float(value) in self.grid()

    def grid(self) -> tuple[Value, ...]:
        """The ``steps`` points in rising order. Raises `SpaceError` without ``steps``."""
        if self.steps is None:
            raise SpaceError("float", "a continuous axis has no grid", "add e.g. steps: 5, or use searcher: random")
        spaced = np.geomspace if self.log else np.linspace
        inner = spaced(self.low, self.high, self.steps)[1:-1]
        return (self.low, *(float(v) for v in inner), self.high)

    def label(self, value: Value) -> str:
        return text(value)

    def to_json(self) -> dict[str, Any]:
        steps = {"steps": self.steps} if self.steps is not None else {}
        return {"float": [self.low, self.high], **({"log": True} if self.log else {}), **steps}


Axis: TypeAlias = Choice | Int | Float


def axis_from_json(content: Mapping[str, Any]) -> Axis:
    """The axis that ``to_json`` of any axis wrote."""
    if "choice" in content:
        return Choice(tuple(content["choice"]), tuple(content.get("labels", ())))
    kind = "int" if "int" in content else "float"
    low, high = content[kind]
    if kind == "int":
        return Int(low, high, content.get("log", False))
    return Float(low, high, content.get("log", False), content.get("steps"))


def _check_range(kind: str, low: float, high: float, log: object) -> None:
    if low > high:
        raise SpaceError(kind, f"the range [{low}, {high}] is upside down", f"write {kind}: [{high}, {low}]")
    if not isinstance(log, bool):
        raise SpaceError(kind, f"log must be true or false, not {log!r}")
    if log and low <= 0:
        raise SpaceError(kind, f"a logarithmic range must start above zero, not at {low}", "raise the lower end or drop log")


def frozen(place: str, value: Any) -> Value:
    """``value`` as a config may hold it; raises `SpaceError` at ``place`` for NaN, infinity and anything but plain data."""
    try:
        result = freeze(value)
        canonical(result)
    except (TypeError, ValueError) as error:
        raise SpaceError(place, f"cannot hold {value!r}", "use finite numbers, text, true/false and lists of them") from error
    return result


def among(value: Value, values: Iterable[Value]) -> bool:
    """Whether ``value`` is one of ``values``, by their JSON text."""
    key = _key(value)
    return key is not None and any(key == canonical(v) for v in values)


def _key(value: Value) -> str | None:
    try:
        return canonical(value)
    except ValueError:  # NaN and infinity are no values of any axis
        return None


def _repeated(texts: Sequence[str]) -> str | None:
    return next((one for n, one in enumerate(texts) if one in texts[:n]), None)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def thaw(value: Value) -> Any:
    """Tuples as lists, for JSON and YAML."""
    return [thaw(v) for v in value] if isinstance(value, tuple) else value


def text(value: Value) -> str:
    """A value for people: four digits of a number, a list as in YAML."""
    if isinstance(value, tuple):
        return "[" + ", ".join(text(v) for v in value) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else canonical(value)
