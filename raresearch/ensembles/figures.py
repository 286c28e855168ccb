"""Figures of merit inside rules, and quick values of many score vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raresearch import plugins
from raresearch.ensembles.forward import blocks, threaded
from raresearch.errors import SpecError
from raresearch.metrics.base import FigureOfMerit, Fom
from raresearch.types import Array, Estimate

#: a name, or {name: {option: value}} as in a study's YAML
FomName = str | Mapping[str, Mapping[str, Any]]


def build_fom(fom: FomName, base_dir: Path | None = None) -> FigureOfMerit:
    """The figure of merit that a rule names; ``./file.py:Name`` starts from ``base_dir`` (None: the current folder).

    `SpecError` where it is neither a name nor one name with options.
    """
    options: dict[str, Any] = {}
    if isinstance(fom, str):
        name = fom
    elif isinstance(fom, Mapping) and len(fom) == 1:
        name, options = next((n, dict(o or {})) for n, o in fom.items())
    else:
        raise SpecError("fom", f"{fom!r} given, one name is needed", "for example fom: {rejection: {acceptance: 0.9}}")
    made: FigureOfMerit = plugins.build("foms", name, options, base_dir)
    return made


def own_fom(rule: Any) -> FigureOfMerit:
    """The figure of merit that ``rule.fom`` names; its file is looked for from the folder of the study that has the rule."""
    return build_fom(rule.fom, getattr(rule, "base_dir", None))


def unit(weight: Array) -> Array | None:
    """The weights, or None where all are 1: figures of merit count faster than they add."""
    return None if (weight == 1.0).all() else weight


def values(fom: FigureOfMerit, scores_MN: Array, label: Array, weight: Array) -> Array:
    """(M,) of ``fom``, as `fom.values`, on all cores."""
    rows = blocks(np.arange(len(scores_MN)), scores_MN.shape[1])
    found = threaded(lambda block: fom.values(scores_MN[block], label, unit(weight)), rows)
    return np.concatenate(found) if found else np.empty(0)


def estimates(fom: FigureOfMerit, scores_MN: Array, label: Array, weight: Array) -> list[Estimate]:
    """``fom`` of every row with its interval: at once where the figure is called as the built-in ones are, else row by row."""
    if isinstance(fom, Fom) and type(fom).__call__ is Fom.__call__:
        return fom.estimates(scores_MN, label, weight)
    return [fom(scores, label, weight) for scores in scores_MN]
