"""The axes along which the configs of a study lie, as figures need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raresearch.report.labels import differing, value_text
from raresearch.report.results import Results
from raresearch.types import Array, canonical


@dataclass(frozen=True)
class StudyAxis:
    """One name that differs between configs. ``levels``: its values in order (rising where numeric), ``texts`` as printed.

    ``log``: the study searched its logarithm, or the levels rise by factors.
    """

    name: str
    levels: tuple[Any, ...]
    texts: tuple[str, ...]
    numeric: bool
    log: bool

    @property
    def short(self) -> str:
        """The name without its prefix: ``learning rate``."""
        return self.name.split(".")[-1].replace("_", " ")

    def place(self, config: Mapping[str, Any]) -> float:
        """Where ``config`` lies: the value of a numeric axis, else the number of its level; NaN where it has none."""
        if self.name not in config:
            return float("nan")
        value = config[self.name]
        if self.numeric:
            return float(value)
        return float([canonical(v) for v in self.levels].index(canonical(value)))

    def places(self, configs: Sequence[Mapping[str, Any]]) -> Array:
        """(C,) of `place`."""
        return np.asarray([self.place(c) for c in configs], dtype=np.float64)


def study_axes(results: Results) -> list[StudyAxis]:
    """The axes of the study's space first, in its order, then whatever else differs; only configs that are done count."""
    configs = [results.configs[c] for c in results.ranked()]
    if len(configs) < 2:
        return []
    listed = {axis["name"]: axis for axis in (results.about.get("spec", {}).get("space") or {}).get("axes", ())}
    names = differing(configs)
    ordered = [n for n in listed if n in names] + [n for n in names if n not in listed]
    return [_axis(name, listed.get(name, {}), configs) for name in ordered]


def _axis(name: str, spec: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> StudyAxis:
    values = {canonical(c[name]): c[name] for c in configs if name in c}
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values.values())
    named = dict(zip([canonical(v) for v in spec.get("choice", ())], spec.get("labels", ()), strict=False))
    order = [canonical(v) for v in spec.get("choice", ())]
    if numeric:
        levels = sorted(values.values())
    else:
        levels = [values[k] for k in sorted(values, key=lambda k: (order.index(k) if k in order else len(order), k))]
    texts = tuple(value_text(v) if numeric else str(named.get(canonical(v), value_text(v))) for v in levels)
    return StudyAxis(name, tuple(levels), texts, numeric, numeric and _is_log(spec, levels))


def _is_log(spec: Mapping[str, Any], levels: Sequence[float]) -> bool:
    """What a range says; of a list, whether positive levels span a factor of ten: evenly spaced, small ones fall together."""
    if "int" in spec or "float" in spec:
        return bool(spec.get("log"))
    return len(levels) > 1 and levels[0] > 0 and levels[-1] >= 10 * levels[0]


def is_grid(results: Results) -> bool:
    """Whether the study's searcher is the grid. Without a spec, it is."""
    searcher = results.about.get("spec", {}).get("searcher", "grid")
    return (searcher if isinstance(searcher, str) else next(iter(searcher), "grid")) == "grid"
