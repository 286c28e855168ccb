"""What lies over a study's document: one named `scale:`, then each `--set PATH=VALUE`.

An overlay names only what it changes. Sections are merged entry by entry; an axis of `space` is replaced as a whole; a
component keeps its options unless another one is named. A fixed value for a name of the space takes it out of the space,
and an axis for a fixed name takes it out of the fixed ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from raresearch.errors import SpecError, nearest
from raresearch.spec.nodes import Node, join, read_yaml
from raresearch.types import PREFIXES

#: sections that are mappings of their own keys, merged entry by entry
SECTIONS = ("fixed", "space", "split", "keep", "execution")
COMPONENTS = ("searcher", "objective", "selection")
VALUES = ("study", "experiment", "seed", "repeats", "folds", "statistic", "figures_of_merit")
KEYS = (*VALUES, *SECTIONS, *COMPONENTS)


def document(root: Node) -> tuple[dict[str, Node], dict[str, Node]]:
    """The entries of a study, and its overlays by name. Raises `SpecError` for unknown keys."""
    if not isinstance(root.value, dict):
        raise root.error(f"a study is a mapping (key: value), not {root.kind}", "begin with e.g. study: my-study")
    entries = dict(root.value)
    scales = entries.pop("scale", Node({}, root.origin)).mapping
    return _checked(entries, KEYS), scales


def apply_scale(entries: Mapping[str, Node], scales: Mapping[str, Node], name: str, origin: str) -> dict[str, Node]:
    """``entries`` with the overlay ``name`` over them. Raises `SpecError` naming those that exist."""
    if name not in scales:
        remedy = nearest(name, scales) if scales else "this study has none: leave --scale out"
        raise SpecError(origin, f"has no scale {name!r}", remedy)
    return merge(entries, _checked(scales[name].mapping, KEYS))


def apply_set(entries: Mapping[str, Node], assignment: str) -> dict[str, Node]:
    """``entries`` after one `--set PATH=VALUE`; VALUE is read as YAML. Raises `SpecError`."""
    origin = f"--set {assignment}"
    path, equals, text = (part.strip() for part in assignment.partition("="))
    if not equals or not path or not text:
        raise SpecError(origin, "must be PATH=VALUE", "write e.g. --set repeats=5 (null for no value)")
    head = path.split(".")[0]
    if f"{head}." in PREFIXES:
        path, head = f"fixed.{path}", "fixed"
    if head not in KEYS:
        raise SpecError(origin, f"{head!r} is no place of a study", nearest(head, (*KEYS, *(p.rstrip(".") for p in PREFIXES))))
    node = read_yaml(text, origin, path, lines=False)
    return merge(entries, _at_path(entries, path, node))


def merge(entries: Mapping[str, Node], patch: Mapping[str, Node]) -> dict[str, Node]:
    """``patch`` over ``entries``, by the rules of this module."""
    merged = dict(entries)
    for key, node in patch.items():
        old = merged.get(key)
        merged[key] = node if old is None else _merged(key, old, node)
    # A name that the patch gives in one of the two sections leaves the other one; `space` keeps the axis, marked as held,
    # because conditions of other axes may read it (see `reader.space`).
    for name in _names(patch, "space"):
        _drop(merged, "fixed", name)
    return merged


def flat(node: Node) -> Node:
    """``node`` with nested mappings written as dotted names: {train: {epochs: 20}} is {train.epochs: 20}."""
    leaves: dict[str, Node] = {}

    def walk(inner: Node, prefix: str) -> None:
        for key, value in inner.mapping.items():
            name = join(prefix, key)
            if isinstance(value.value, dict):
                walk(value, name)
            elif name in leaves:
                raise value.error(f"{name} is given twice", f"it is also at {leaves[name].place}")
            else:
                leaves[name] = value

    walk(node, "")
    return Node(leaves, node.origin, node.path)


def _merged(key: str, old: Node, new: Node) -> Node:
    if key == "fixed":
        old, new = flat(old), flat(new)
    same_component = key in COMPONENTS and _component_name(old) == _component_name(new) is not None
    if same_component and isinstance(old.value, dict) and isinstance(new.value, dict):
        (name, before), (_, after) = *old.value.items(), *new.value.items()
        return Node({name: Node({**before.mapping, **after.mapping}, new.origin, after.path)}, new.origin, new.path)
    if key in SECTIONS:
        return Node({**old.mapping, **new.mapping}, old.origin, old.path)
    return new


def _component_name(node: Node) -> str | None:
    if isinstance(node.value, dict):
        return next(iter(node.value)) if len(node.value) == 1 else None
    return node.value if isinstance(node.value, str) else None


def _at_path(entries: Mapping[str, Node], path: str, node: Node) -> dict[str, Node]:
    """The overlay that holds ``node`` at ``path``."""
    head, _, rest = path.partition(".")
    if not rest:
        return {head: node}
    if head == "fixed":
        return {head: Node({rest: node}, node.origin, head)}
    if head == "space":
        return {head: Node({**_axis_patch(entries, rest, node)}, node.origin, head)}
    for key in reversed(rest.split(".")):
        node = Node({key: node}, node.origin, path)
    return {head: node}


def _axis_patch(entries: Mapping[str, Node], rest: str, node: Node) -> dict[str, Node]:
    axes = entries["space"].mapping if "space" in entries else {}
    name, _, key = rest.rpartition(".")
    if rest in axes or name not in axes:
        return {rest: node}
    axis = axes[name]  # --set space.train.learning_rate.steps=5 changes one key of an axis that is there
    return {name: Node({**axis.mapping, key: node}, axis.origin, axis.path)}


def _names(entries: Mapping[str, Node], section: str) -> Iterable[str]:
    return tuple(entries[section].mapping) if section in entries else ()


def _drop(entries: dict[str, Node], section: str, name: str) -> None:
    if section in entries:
        left = {key: value for key, value in flat(entries[section]).mapping.items() if key != name}
        entries[section] = Node(left, entries[section].origin, entries[section].path)


def _checked(entries: Mapping[str, Node], known: Iterable[str]) -> dict[str, Node]:
    known = tuple(known)
    for key, node in entries.items():
        if key not in known:
            raise node.error(f"a study has no key {key!r}", nearest(key, known))
    return dict(entries)
