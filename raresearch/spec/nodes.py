"""YAML 1.2 text as a tree that knows where each value was written.

Read by ruamel.yaml's parser, with scalars resolved here by the core schema of YAML 1.2.2 (section 10.3.2): 1e-3 is a
number, `no` and 2020-01-01 are text. One document, plain data: tags, directives, repeated keys, several documents and
numbers that are not finite are refused; anchors and aliases are read.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.tokens import DirectiveToken, TagToken

from raresearch.errors import SpecError

Scalar: TypeAlias = "bool | int | float | str | None"

#: aliases can multiply a short text into billions of values; a study needs far fewer than this
MOST_VALUES = 100_000
_CONSTANTS: dict[str, Scalar] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place: ``origin`` is "file:line" (or the `--set` that gave it), ``path`` its dotted path."""

    value: Scalar | tuple[Node, ...] | dict[str, Node]
    origin: str
    path: str = ""

    @property
    def place(self) -> str:
        return _place(self.origin, self.path)

    @property
    def mapping(self) -> dict[str, Node]:
        """The entries of a mapping; nothing written (null) counts as an empty one. Raises `SpecError` otherwise."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.error(f"must be a mapping (key: value), not {self.kind}")
        return self.value

    @property
    def kind(self) -> str:
        """What it is, in words, for messages."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, tuple):
            return "a list"
        if self.value is None:
            return "nothing (null)"
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return f"the text {self.value!r}" if isinstance(self.value, str) else f"the number {self.value}"

    def error(self, rule: str, remedy: str = "") -> SpecError:
        return SpecError(self.place, rule, remedy)

    def plain(self) -> Any:
        """Dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: inner.plain() for key, inner in self.value.items()}
        return [inner.plain() for inner in self.value] if isinstance(self.value, tuple) else self.value


def wrap(content: Any, origin: str = "", path: str = "") -> Node:
    """Plain data (as from JSON) as nodes."""
    if isinstance(content, Mapping):
        return Node({str(key): wrap(inner, origin, join(path, str(key))) for key, inner in content.items()}, origin, path)
    if isinstance(content, (list, tuple)):
        return Node(tuple(wrap(inner, origin, f"{path}[{n}]") for n, inner in enumerate(content)), origin, path)
    return Node(content, origin, path)


def join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def read_yaml(text: str, origin: str, path: str = "", lines: bool = True) -> Node:
    """The one document of ``text``; empty text is null. Raises `SpecError` with line, path and rule.

    With ``lines`` the origin of each value is "origin:line".
    """
    try:
        _refuse_tags(text, origin, lines)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML allows it: the later one counts
            root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
        if root is None:
            return Node(None, _at(origin, None, lines), path)
        return _Builder(origin, lines).build(root, path, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        rule = f"is not one YAML document: {what}"
        raise SpecError(_at(origin, mark, lines), rule, "one file is one study: check brackets and indentation") from error
    except YAMLError as error:
        raise SpecError(origin, f"is not YAML: {str(error).splitlines()[0]}", "remove that character") from error
    except RecursionError as error:
        raise SpecError(origin, "is nested too deeply", "a study needs no more than a few levels") from error


def dump(content: Mapping[str, Any]) -> str:
    """Plain data as YAML that `read_yaml` reads back to the same: keys in their order, innermost lists on one line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = None
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.allow_unicode = True
    yaml.width = 120
    yaml.representer.ignore_aliases = lambda data: True
    stream = io.StringIO()
    yaml.dump(dict(content), stream)
    return stream.getvalue()


def _refuse_tags(text: str, origin: str, lines: bool) -> None:
    for token in YAML(typ="safe", pure=True).scan(io.StringIO(text)):
        if isinstance(token, (TagToken, DirectiveToken)):
            what = "tags (!name)" if isinstance(token, TagToken) else "directives (%NAME)"
            raise SpecError(_at(origin, token.start_mark, lines), f"{what} are not read", "remove it: a study is plain data")


class _Builder:
    """Turns ruamel's nodes into ours; counts them, and knows which aliases are being followed."""

    def __init__(self, origin: str, lines: bool) -> None:
        self.origin, self.lines, self.count = origin, lines, 0

    def build(self, node: Any, path: str, above: tuple[int, ...]) -> Node:
        self.count += 1
        here = _at(self.origin, node.start_mark, self.lines)
        if self.count > MOST_VALUES or id(node) in above:
            rule = "contains itself" if id(node) in above else f"holds more than {MOST_VALUES} values"
            raise SpecError(_place(here, path), rule, "write the values out instead of using aliases")
        inside = (*above, id(node))
        if isinstance(node, ScalarNode):
            return Node(_scalar(node, _place(here, path)), here, path)
        if isinstance(node, SequenceNode):
            return Node(tuple(self.build(n, f"{path}[{i}]", inside) for i, n in enumerate(node.value)), here, path)
        entries = {key: self.build(value, join(path, key), inside) for key, value in self.entries(node, path)}
        return Node(entries, here, path)

    def entries(self, node: MappingNode, path: str) -> Iterator[tuple[str, Any]]:
        """Keys are their text, so that labels such as 4, 1e3 or no need no quotes."""
        first: dict[str, int] = {}
        for key, value in node.value:
            place = _at(self.origin, key.start_mark, self.lines)
            if not isinstance(key, ScalarNode):
                raise SpecError(_place(place, path), "a key must be text, not a list or a mapping")
            name = str(key.value)
            if name == "<<":
                raise SpecError(_place(place, path), "merge keys (<<) are not YAML 1.2", "repeat the values, or use `scale:`")
            if name in first:
                rule = f"is given twice (first on line {first[name]})"
                raise SpecError(_place(place, join(path, name)), rule, "remove one of the two")
            first[name] = key.start_mark.line + 1
            yield name, value


def _scalar(node: ScalarNode, place: str) -> Scalar:
    text = str(node.value)
    if node.style:  # in quotes, or a block: text
        return text
    try:
        value = _resolved(text)
    except ValueError as error:
        raise SpecError(place, f"is a number of {len(text)} digits", "no parameter needs one") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(place, f"must be a finite number, not {text}", "leave the key out where there is no limit")
    return value


def _resolved(text: str) -> Scalar:
    """What text without quotes means in YAML's core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


def _as_written(representer: Any, text: str) -> Any:
    # ruamel quotes what its own resolver would take for a number; ours takes more for one, such as .0E0. And it writes the
    # next-line character as it is, which its scanner folds to a space; in double quotes it is escaped. Inside braces its
    # scanner takes ?text for a key that was marked with "?".
    meant = bool(_INTEGER.fullmatch(text) or _NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text) or text in _CONSTANTS)
    style = '"' if meant or "\x85" in text or text.startswith("?") else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


class _Representer(SafeRepresenter):
    """Plain data only; see `_as_written`."""


_Representer.add_representer(str, _as_written)


def _at(origin: str, mark: Any, lines: bool) -> str:
    return f"{origin}:{mark.line + 1 if mark is not None else 1}" if lines else origin


def _place(origin: str, path: str) -> str:
    return ": ".join(part for part in (origin, path) if part)
