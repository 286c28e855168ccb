"""A study held against its experiment: names, types and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from raresearch.errors import SpecError, nearest
from raresearch.experiment import Experiment, parameters
from raresearch.space import Axis, Choice
from raresearch.types import Value

if TYPE_CHECKING:
    from raresearch.spec.study import StudySpec


def check_study(spec: StudySpec, experiment: Experiment) -> None:
    """Raise `SpecError` at the first name, type or number of ``spec`` that does not fit ``experiment``."""
    known = parameters(experiment)
    for name in spec.fixed:
        if name in spec.space.axes:
            place = spec.place(f"fixed.{name}")
            raise SpecError(
                place, f"{name} is fixed and in the space", f"it is also at {spec.place(f'space.{name}')}; keep one"
            )
    for section, names in (("fixed", spec.fixed), ("space", spec.space.axes)):
        for name in names:
            if name not in known:
                rule = f"experiment {experiment.name!r} has no parameter {name!r}"
                raise SpecError(spec.place(f"{section}.{name}"), rule, nearest(name, known))
    for name, value in spec.fixed.items():
        _check_value(name, value, known[name], spec.place(f"fixed.{name}"))
    for name, axis in spec.space.axes.items():
        for value in _samples(axis):
            _check_value(name, value, known[name], spec.place(f"space.{name}"))
    _check_counts(spec)
    _check_cell_workers(spec, known)
    _check_stopping(spec, {**known, **spec.fixed})
    _check_second(spec)
    if experiment.simulated:
        _check_folds(spec, {**known, **spec.fixed})
        _check_batches(spec, {**known, **spec.fixed})


def fits(default: Value, value: Value) -> bool:
    """Whether ``value`` is of the kind of ``default``: an integer may stand for a float, true is no number, the entries
    of a tuple are like the first entry of the default; a default of None takes anything."""
    if default is None:
        return True
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(fits(default[0], v) for v in value if default)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def as_default(default: Value, value: Value) -> Value:
    """``value``, with integers as floats where ``default`` (or the first entry of a tuple) is a float."""
    if isinstance(default, tuple) and isinstance(value, tuple) and default:
        return tuple(as_default(default[0], v) for v in value)
    return float(value) if isinstance(default, float) and type(value) is int else value


def _check_value(name: str, value: Value, default: Value, place: str) -> None:
    if name not in _OWN_KIND and not fits(default, value):
        raise SpecError(place, f"must be {_kind(default)} like the default {_shown(default)}, not {_shown(value)}")
    if name in _RULES:
        holds, rule = _RULES[name]
        if not holds(value):
            raise SpecError(place, f"must be {rule}, not {_shown(value)}", _nearest_choice(name, value))


def _check_counts(spec: StudySpec) -> None:
    # A file has been through the reader; this holds studies that were made in Python to the same.
    for name, number, least in (("seed", spec.seed, 0), ("repeats", spec.repeats, 1), ("folds", spec.folds, 1)):
        if type(number) is not int or number < least:
            raise SpecError(spec.place(name), f"must be an integer from {least} up, not {number!r}")


def _check_cell_workers(spec: StudySpec, known: Mapping[str, Value]) -> None:
    workers = spec.execution.cell_workers
    axis = spec.space.axes.get("train.micro_batches")
    pieces = _samples(axis) if axis else [{**known, **spec.fixed}["train.micro_batches"]]
    if fewest := [p for p in pieces if isinstance(p, int) and p < workers]:
        rule = f"{workers} workers share the pieces of a batch, and train.micro_batches is {min(fewest)}"
        remedy = f"write fixed: {{train.micro_batches: {workers}}}: batches in {workers} pieces, on any number of workers"
        raise SpecError(spec.place("execution.cell_workers"), rule, remedy)


def _check_stopping(spec: StudySpec, config: Mapping[str, Value]) -> None:
    stopping, epochs, place = spec.stopping, config["train.epochs"], spec.place("stopping")
    if stopping is None:
        return
    if "train.epochs" in spec.space.axes:
        rule = "rungs need one number of epochs for all configs, and train.epochs is an axis of the space"
        raise SpecError(place, rule, "fix train.epochs, or drop stopping")
    if isinstance(epochs, int) and stopping.rungs[-1] >= epochs:
        rule = f"rung {stopping.rungs[-1]} is not below the {epochs} epochs of train.epochs"
        raise SpecError(place, rule, "lower it: at the last epoch there is nothing left to save")
    if spec.racing is not None:
        raise SpecError(place, "a study races over cells or stops at epochs, not both", "keep one of racing and stopping")
    if spec.execution.checkpoint_seconds is None:
        rule = "who goes on does so from a checkpoint, and execution.checkpoint_seconds is null"
        raise SpecError(place, rule, "give seconds, e.g. execution: {checkpoint_seconds: 300}")


def _check_second(spec: StudySpec) -> None:
    if spec.second is not None:
        if spec.racing is not None:
            raise SpecError(spec.place("racing"), "a race is for one objective, and the study has two", "drop one of them")
        if spec.stopping is not None and spec.stopping.by == "objective":
            rule = "a rung judges by one number, and the study has two objectives"
            raise SpecError(spec.place("stopping"), rule, "write by: val_loss or by: val_accuracy")


def _check_folds(spec: StudySpec, config: Mapping[str, Value]) -> None:
    events = config["data.events"]
    if "data.events" in spec.space.axes or not isinstance(events, int):
        return
    parts = {"train": spec.split.train, "validation": spec.split.validation}
    if spec.split.test > 0:
        parts["test"] = spec.split.test
    for part, fraction in parts.items():
        if events * fraction < 2:
            raise SpecError(spec.place("split"), f"{part} gets {events * fraction:.1f} of {events} events", "raise data.events")
    if spec.folds > (most := int(events * (spec.split.train + spec.split.validation) / 2)):
        raise SpecError(
            spec.place("folds"), f"{spec.folds} folds of {events} events leave less than two in each", f"at most {most}"
        )


def _check_batches(spec: StudySpec, config: Mapping[str, Value]) -> None:
    """A batch that no training split will fill; whether the events that come fill it is known when they are there."""
    events, name = config["data.events"], "train.batch_size"
    if "data.events" in spec.space.axes or not isinstance(events, int):
        return
    share = spec.split.train if spec.folds == 1 else (spec.split.train + spec.split.validation) * (1 - 1 / spec.folds)
    section = "space" if name in spec.space.axes else "fixed"
    for size in _samples(spec.space.axes[name]) if section == "space" else (config[name],):
        if isinstance(size, int) and size > events * share:
            rule = f"a batch of {size} is more than the {events * share:.0f} events that train"
            raise SpecError(spec.place(f"{section}.{name}"), rule, "give a smaller batch, or raise data.events")


def _samples(axis: Axis) -> Iterable[Value]:
    # The ends of a range stand for it: every rule below is monotonic.
    return axis.values if isinstance(axis, Choice) else (axis.low, axis.high)


def _is(value: Value, low: float, high: float = float("inf"), above: bool = False) -> bool:
    return isinstance(value, (int, float)) and (low < value if above else low <= value) and value < high


def _power_of_two(value: Value) -> bool:
    return type(value) is int and value > 0 and value & (value - 1) == 0


_CHOICES = {
    "train.optimizer": ("adam", "adamw", "sgd", "rmsprop"),
    "train.scaling": ("none", "minmax", "standard"),
    "train.precision": ("float32", "float64", "bfloat16"),
}
_OWN_KIND = ("train.pack",)  # a number or a word: its rule below says which
_RULES: Mapping[str, tuple[Callable[[Value], bool], str]] = {
    **{name: (lambda v: _is(v, 1), "at least 1") for name in ("data.events", "data.block", "train.epochs", "train.batch_size")},
    "train.patience": (lambda v: _is(v, 0), "at least 0 (0: never stop early)"),
    "train.learning_rate": (lambda v: _is(v, 0, above=True), "above 0"),
    "train.beta1": (lambda v: _is(v, 0, 1), "from 0 to below 1"),
    "train.beta2": (lambda v: _is(v, 0, 1), "from 0 to below 1"),
    "train.weight_decay": (lambda v: _is(v, 0), "at least 0"),
    "train.optimizer": (lambda v: v in _CHOICES["train.optimizer"], "adam, adamw, sgd or rmsprop"),
    "train.scaling": (lambda v: v in _CHOICES["train.scaling"], "none, minmax or standard"),
    "train.precision": (lambda v: v in _CHOICES["train.precision"], "float32, float64 or bfloat16"),
    "train.window": (lambda v: _is(v, 0), "at least 0 (0: all events)"),
    "train.micro_batches": (_power_of_two, "a power of two: 1, 2, 4, 8 …"),
    "train.pack": (lambda v: v in ("auto", "off") or (type(v) is int and v > 0), "auto, off or a whole number above 0"),
}


def _nearest_choice(name: str, value: Value) -> str:
    return nearest(value, _CHOICES[name]) if name in _CHOICES and isinstance(value, str) else ""


def _kind(value: Value) -> str:
    if isinstance(value, tuple) and value:
        return f"a list, each entry {_kind(value[0])},"
    kinds = {bool: "true or false", int: "an integer", float: "a number", str: "text", tuple: "a list"}
    return kinds.get(type(value), "a value")


def _shown(value: Value) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    return {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else repr(value)
