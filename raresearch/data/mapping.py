"""The mapping from a file's columns to an event: what `raresearch ingest` reads as YAML.

    tree: qmc_tree                     # ROOT only, where there are several TTrees
    classes: [noise, pulsar]           # without classes: one class "events", all spectators (unlabelled data)
    signal: [pulsar]
    background: [noise]
    class: {column: label, values: {noise: 0, pulsar: 1}}      # or {file: {noise: "noise_*.npz", pulsar: "pulsar*"}}
    tensors:
      features: {columns: [Mean_IP, SD_IP]}                    # scalars, stacked into (2,)
      img: {column: img, shape: [3, 64, 64], dtype: float32}   # an array column
      jets: {column: Jet_Px, pad: 4, fill: 0.0}                # jagged: padded or cut to (4,)
      njet: {column: Jet_Px, reduce: count}                    # jagged: (1,); count, sum, max, min, mean or first
    observers: [Mean_DM_SNR]           # or {name: column}, or {name: {column: Jet_Px, reduce: max, fill: 0.0}}
    weight: w
    event_id: EventID                  # default: running number over the files in the order given
    one_event_a_file: true             # a folder of PNG or NPZ files; columns: file, image (or the arrays), and those of
    labels: labels.csv                 # a CSV in that folder, whose column `file` names them
    missing: refuse                    # rows with NaN or infinity: refuse, or drop (counted in dataset.json)
    corrupt: refuse                    # files that are truncated or damaged: refuse, or skip (named in dataset.json)

Every mistake is a `DataError` that names the dotted path (``mapping.tensors.jets.pad``) and the nearest right name.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raresearch.data.columns import DTYPES
from raresearch.data.reductions import REDUCTIONS
from raresearch.errors import DataError, nearest
from raresearch.experiment import Schema

KEYS = (
    *("tree", "classes", "signal", "background", "class", "tensors", "observers", "weight", "event_id", "missing", "corrupt"),
    *("one_event_a_file", "labels"),
)
MISSING = ("refuse", "drop")
CORRUPT = ("refuse", "skip")


@dataclass(frozen=True, slots=True)
class Source:
    """How one tensor or observer is made; ``place`` is its dotted path. ``stacked``: scalars side by side."""

    place: str
    columns: tuple[str, ...]
    stacked: bool = False
    shape: tuple[int, ...] | None = None
    dtype: str = "float32"
    pad: int | None = None
    reduce: str | None = None
    fill: float | None = None


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Class numbers from the values of ``column`` (value, number), or from patterns of file names (pattern, number)."""

    column: str = ""
    values: tuple[tuple[Any, int], ...] = ()
    patterns: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """A parsed mapping."""

    tensors: AnyMapping[str, Source]
    observers: AnyMapping[str, Source] = field(default_factory=dict)
    classes: tuple[str, ...] = ("events",)
    signal: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    class_rule: ClassRule | None = None
    tree: str | None = None
    weight: str | None = None
    event_id: str | None = None
    missing: str = "refuse"
    corrupt: str = "refuse"
    one_event_a_file: bool = False
    labels: str | None = None

    @classmethod
    def parse(cls, content: Any) -> Mapping:
        """Check and parse the YAML's content."""
        content = _block(content, "mapping", KEYS)
        if "tensors" not in content:
            raise DataError("mapping.tensors", "is missing", "such as `tensors: {features: {columns: [a, b]}}`")
        classes = _names(content.get("classes", ["events"]), "mapping.classes")
        tensors = _items(content["tensors"], "mapping.tensors")
        missing, corrupt = _one_of(content, "missing", MISSING), _one_of(content, "corrupt", CORRUPT)
        parsed = cls(
            tensors={name: _source(value, f"mapping.tensors.{name}") for name, value in tensors.items()},
            observers=_observers(content.get("observers", [])),
            classes=classes,
            signal=_some_of(content, "signal", classes),
            background=_some_of(content, "background", classes),
            class_rule=_class_rule(content, classes),
            tree=_text(content, "tree"),
            weight=_text(content, "weight"),
            event_id=_text(content, "event_id"),
            missing=missing,
            corrupt=corrupt,
            one_event_a_file=_one_event_a_file(content),
            labels=_text(content, "labels"),
        )
        _refuse_label_as_input(parsed)
        return parsed

    @property
    def columns(self) -> dict[str, str]:
        """Every column that is read → the dotted path that asks for it."""
        asked = {"weight": self.weight, "event_id": self.event_id}
        wanted = {column: f"mapping.{key}" for key, column in asked.items() if column}
        if self.class_rule and self.class_rule.column:
            wanted[self.class_rule.column] = "mapping.class.column"
        if self.class_rule and self.class_rule.patterns and self.one_event_a_file:
            wanted["file"] = "mapping.class.file"
        for source in (*self.tensors.values(), *self.observers.values()):
            for i, column in enumerate(source.columns):
                wanted[column] = f"{source.place}.columns[{i}]" if source.stacked else f"{source.place}.column"
        return wanted


def read_mapping(path: Path | str) -> dict[str, Any]:
    """The content of a mapping's YAML file. Raises `DataError` where it cannot be read or is not YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(Path(path))
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", "check the path") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise DataError(f"{path}: line {line}", f"is not valid YAML: {error.problem}") from error
    except YAMLError as error:
        raise DataError(str(path), f"is not valid YAML: {error}") from error
    return _block(content, str(path), KEYS)


def complete(content: AnyMapping[str, Any], schema: Schema) -> dict[str, Any]:
    """``content`` of an experiment's mapping with what it leaves out taken from the experiment's schema."""
    full: dict[str, Any] = copy.deepcopy(dict(content))
    for key in ("classes", "signal", "background", "observers"):
        full.setdefault(key, list(getattr(schema, key)))
    tensors = full.setdefault("tensors", {})
    if not isinstance(tensors, dict):
        return full  # the parser says what is wrong
    for t in schema.tensors:
        source = tensors.setdefault(t.name, {"columns": list(t.columns)} if t.columns else {"column": t.name})
        if isinstance(source, dict):
            source.setdefault("dtype", t.dtype)
            if "column" in source and not {"pad", "reduce"} & set(source):
                source.setdefault("shape", list(t.shape))
    return full


def _block(content: Any, place: str, known: tuple[str, ...]) -> dict[str, Any]:
    items = _items(content, place)
    for key in items:
        if key not in known:
            raise DataError(f"{place}.{key}", "is not a known key", nearest(key, known))
    return items


def _items(content: Any, place: str) -> dict[str, Any]:
    if not isinstance(content, AnyMapping) or not content:
        raise DataError(place, f"must be `name: value` pairs, not {content!r}")
    for key in content:
        if not isinstance(key, str):
            raise DataError(f"{place}.{key}", f"names are text, not {type(key).__name__}", f"quote it: '{key}'")
    return dict(content)


def _names(content: Any, place: str) -> tuple[str, ...]:
    if not isinstance(content, (list, tuple)) or not content or not all(isinstance(name, str) for name in content):
        raise DataError(place, f"must be a list of names, not {content!r}", "such as [a, b]")
    twice = [name for name in content if list(content).count(name) > 1]
    if twice:
        raise DataError(place, f"names {twice[0]!r} twice", "each name once")
    return tuple(content)


def _text(content: AnyMapping[str, Any], key: str, place: str = "mapping") -> str | None:
    value = content.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise DataError(f"{place}.{key}", f"must be a name, not {value!r}")
    return value


def _one_of(content: AnyMapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = content.get(key, allowed[0])
    if value not in allowed:
        raise DataError(f"mapping.{key}: {value!r}", f"must be {' or '.join(allowed)}", nearest(str(value), allowed))
    return str(value)


def _some_of(content: AnyMapping[str, Any], key: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    value = content.get(key, [])
    names = _names(value, f"mapping.{key}") if value != [] else ()
    for name in names:
        if name not in classes:
            raise DataError(f"mapping.{key}: {name!r}", "is not one of `classes`", nearest(name, classes))
    return names


def _class_rule(content: AnyMapping[str, Any], classes: tuple[str, ...]) -> ClassRule | None:
    if "class" not in content:
        if len(classes) > 1:
            remedy = "such as `class: {column: label, values: {" + ", ".join(f"{c}: {i}" for i, c in enumerate(classes)) + "}}`"
            raise DataError("mapping.class", f"is missing: {len(classes)} classes must be told apart", remedy)
        return None
    rule = _block(content["class"], "mapping.class", ("column", "values", "file"))
    if "classes" not in content:
        raise DataError("mapping.classes", "is missing beside `class`", "list the classes, such as `classes: [noise, pulsar]`")
    if ("file" in rule) == ("column" in rule) or ("column" in rule) != ("values" in rule):
        raise DataError(
            "mapping.class", "takes either `column` and `values`, or `file`", "see `class: {column: …, values: {…}}`"
        )
    if "file" in rule:
        return ClassRule(patterns=_by_class(rule["file"], "mapping.class.file", classes, str))
    values = _by_class(rule["values"], "mapping.class.values", classes, (int, float, str))
    return ClassRule(column=_text(rule, "column", "mapping.class") or "", values=values)


def _by_class(content: Any, place: str, classes: tuple[str, ...], kind: Any) -> tuple[tuple[Any, int], ...]:
    found: dict[Any, int] = {}
    for name, value in _block(content, place, classes).items():
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, kind):
                raise DataError(f"{place}.{name}", f"cannot be {one!r}")
            if one in found:
                raise DataError(f"{place}.{name}", f"{one!r} already means {classes[found[one]]!r}", "one class for each value")
            found[one] = classes.index(name)
    absent = [name for name in classes if classes.index(name) not in found.values()]
    if absent:
        raise DataError(f"{place}.{absent[0]}", "is missing", "every class of `classes` needs an entry")
    return tuple(found.items())


def _one_event_a_file(content: AnyMapping[str, Any]) -> bool:
    value = content.get("one_event_a_file", False)
    if not isinstance(value, bool):
        raise DataError("mapping.one_event_a_file", f"must be true or false, not {value!r}")
    if "labels" in content and not value:
        raise DataError("mapping.labels", "goes with `one_event_a_file: true` only", "elsewhere labels are a column")
    return value


def _refuse_label_as_input(mapping: Mapping) -> None:
    """A class column among the inputs would carry the sealed labels of the test split into the open."""
    for source in (*mapping.tensors.values(), *mapping.observers.values()):
        if mapping.class_rule and mapping.class_rule.column in source.columns:
            raise DataError(
                source.place, f"reads {mapping.class_rule.column!r}, which holds the class", "leave that column out"
            )


def _observers(content: Any) -> dict[str, Source]:
    if content in ([], ()):
        return {}
    if isinstance(content, (list, tuple)):
        names = _names(content, "mapping.observers")
        return {name: Source(f"mapping.observers.{name}", (name,), dtype="float64") for name in names}
    return {name: _observer(value, f"mapping.observers.{name}") for name, value in _items(content, "mapping.observers").items()}


def _observer(content: Any, place: str) -> Source:
    if isinstance(content, str):
        return Source(place, (content,), dtype="float64")
    block = _block(content, place, ("column", "reduce", "fill"))
    return _source({**block, "dtype": "float64"}, place)


def _source(content: Any, place: str) -> Source:
    block = _block(content, place, ("columns", "column", "shape", "dtype", "pad", "reduce", "fill"))
    if ("columns" in block) == ("column" in block):
        raise DataError(place, "takes either `columns` (scalars) or `column`", "such as `columns: [a, b]`")
    stacked = "columns" in block
    single = [key for key in ("shape", "pad", "reduce") if key in block]
    if len(single) > 1 or (stacked and single):
        raise DataError(f"{place}.{single[-1]}", "does not go with " + ("`columns`" if stacked else f"`{single[0]}`"))
    if "fill" in block and not {"pad", "reduce"} & set(block):
        raise DataError(f"{place}.fill", "goes with `pad` or `reduce` only")
    columns = _names(block["columns"], f"{place}.columns") if stacked else (_text(block, "column", place) or "",)
    reduce, dtype = block.get("reduce"), block.get("dtype", "float32")
    if reduce is not None and reduce not in REDUCTIONS:
        raise DataError(f"{place}.reduce: {reduce!r}", "is not a reduction", nearest(str(reduce), REDUCTIONS))
    if dtype not in DTYPES:
        raise DataError(f"{place}.dtype: {dtype!r}", "is not known", nearest(str(dtype), DTYPES))
    shape, pad = (
        _shape(block.get("shape"), f"{place}.shape"),
        _shape([block["pad"]] if "pad" in block else None, f"{place}.pad"),
    )
    return Source(place, columns, stacked, shape, dtype, pad[0] if pad else None, reduce, _fill(block, place))


def _shape(value: Any, place: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    whole = isinstance(value, (list, tuple)) and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in value)
    if not whole or not value:
        raise DataError(place, f"must be positive whole numbers, not {value!r}")
    return tuple(value)


def _fill(block: AnyMapping[str, Any], place: str) -> float | None:
    fill = block.get("fill", 0.0 if "pad" in block else None)
    if fill is not None and (isinstance(fill, bool) or not isinstance(fill, (int, float))):
        raise DataError(f"{place}.fill", f"must be a number, not {fill!r}")
    return fill
