"""What lies over a study's document: one named `scale:`, then each `--set PATH=VALUE`.

An overlay names only what it changes. Sections are merged entry by entry; an axis of `space` is replaced as a whole; a
component keeps its options unless another one is named. A fixed value for a name of the space takes it out of the space,
and an axis for a fixed name takes it out of the fixed ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from raresearch.errors import SpecError, nearest
from raresearch.spec.nodes import Node, join, read_yaml
from raresearch.types import PREFIXES

#: sections that are mappings of their own keys, merged entry by entry
SECTIONS = ("fixed", "space", "split", "keep", "execution")
COMPONENTS = ("searcher", "objective", "selection")
VALUES = ("study", "experiment", "seed", "repeats", "folds", "statistic", "figures_of_merit")
OPTIONAL = ("racing", "stopping", "stages")  # no part of a study that does not name them
KEYS = (*VALUES, *SECTIONS, *COMPONENTS, *OPTIONAL)
#: what a stage may change, and how many configs it takes from the stage before
STAGE_KEYS = ("best", *(key for key in KEYS if key not in ("study", "experiment", "stages")))


@dataclass(frozen=True, slots=True)
class Draft:
    """A study's entries while overlays are laid over them; ``held`` names axes that an overlay gave a fixed value.

    A held axis stays among the entries, because conditions of other axes may read it and its labels may name the value.
    """

    entries: dict[str, Node]
    held: frozenset[str] = frozenset()


def document(root: Node) -> tuple[Draft, dict[str, Node]]:
    """The entries of a study, and its overlays by name. Raises `SpecError` for unknown keys."""
    if root.value is None:
        raise root.error("there is nothing in it", "begin with e.g. study: my-study")
    if not isinstance(root.value, dict):
        raise root.error(f"a study is a mapping (key: value), not {root.kind}", "begin with e.g. study: my-study")
    entries = dict(root.value)
    scales = entries.pop("scale", Node({}, root.origin)).mapping
    return Draft(_checked(entries, KEYS)), scales


def apply_scale(draft: Draft, scales: Mapping[str, Node], name: str, origin: str) -> Draft:
    """``draft`` with the overlay ``name`` over it. Raises `SpecError` naming those that exist."""
    if name not in scales:
        remedy = nearest(name, scales) if scales else "this study has none: leave --scale out"
        raise SpecError(origin, f"has no scale {name!r}", remedy)
    return merge(draft, _checked(scales[name].mapping, KEYS))


def apply_set(draft: Draft, assignment: str) -> Draft:
    """``draft`` after one `--set PATH=VALUE`; VALUE is read as YAML. Raises `SpecError`."""
    origin = "--set " + " ".join(assignment.split())  # on one line, as every message
    path, equals, text = (part.strip() for part in assignment.partition("="))
    if not equals or not path or not text:
        raise SpecError(origin, "must be PATH=VALUE", "write e.g. --set repeats=5 (null for no value)")
    head = path.split(".")[0]
    if f"{head}." in PREFIXES:
        path, head = f"fixed.{path}", "fixed"
    if head not in KEYS:
        raise SpecError(origin, f"{head!r} is no place of a study", nearest(head, (*KEYS, *(p.rstrip(".") for p in PREFIXES))))
    return merge(draft, _at_path(draft.entries, path, read_yaml(text, origin, path, lines=False)))


def merge(draft: Draft, patch: Mapping[str, Node]) -> Draft:
    """``patch`` over ``draft``, by the rules of this module."""
    merged = dict(draft.entries)
    for key, node in patch.items():
        old = merged.get(key)
        merged[key] = node if old is None else _merged(key, old, node)
    fixed, axes = _names(patch, "fixed"), _names(patch, "space")
    if "fixed" in merged:
        released = axes - fixed  # a name that one overlay puts into both is left there, for the reader to refuse
        left = {name: node for name, node in flat(merged["fixed"]).mapping.items() if name not in released}
        merged["fixed"] = Node(left, merged["fixed"].origin, merged["fixed"].path)
    return Draft(merged, (draft.held | (fixed & _names(draft.entries, "space"))) - axes)


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
    if key in OPTIONAL and new.value is None:
        return new  # null takes it out
    if key == "stages":
        return _merged_stages(old, new)
    if key == "fixed":
        old, new = flat(old), flat(new)
    same_component = key in COMPONENTS and _component_name(old) == _component_name(new) is not None
    if same_component and isinstance(old.value, dict) and isinstance(new.value, dict):
        (name, before), (_, after) = *old.value.items(), *new.value.items()
        return Node({name: Node({**before.mapping, **after.mapping}, new.origin, after.path)}, new.origin, new.path)
    if key in SECTIONS or key in ("racing", "stopping"):
        return Node({**old.mapping, **new.mapping}, old.origin, old.path)
    return new


def _merged_stages(old: Node, new: Node) -> Node:
    """Stage by stage, each as a document of its own."""
    stages = dict(old.mapping)
    for name, patch in new.mapping.items():
        before = stages[name].mapping if name in stages else {}
        stages[name] = Node(merge(Draft(dict(before)), patch.mapping).entries, patch.origin, patch.path)
    return Node(stages, new.origin, new.path)


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


def _names(entries: Mapping[str, Node], section: str) -> frozenset[str]:
    if section not in entries:
        return frozenset()
    return frozenset((flat(entries[section]) if section == "fixed" else entries[section]).mapping)


def _checked(entries: Mapping[str, Node], known: Iterable[str]) -> dict[str, Node]:
    known = tuple(known)
    for key, node in entries.items():
        if key not in known:
            raise node.error(f"a study has no key {key!r}", nearest(key, known))
    return dict(entries)
