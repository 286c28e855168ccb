"""A against B: configs of a study by name, or choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raresearch.api.choice import Choice
from raresearch.ensembles.base import Per, SelectionRule
from raresearch.errors import SelectionError
from raresearch.metrics.base import FigureOfMerit
from raresearch.statistics.comparison import Comparison, compare, corrected
from raresearch.statistics.panel import Panel, panel
from raresearch.types import ONE_SIGMA

if TYPE_CHECKING:
    from raresearch.api.opened import OpenStudy

Side = tuple[str, Panel]


def compare_sides(
    study: OpenStudy,
    a: str | Choice,
    b: str | Choice,
    fom: str | FigureOfMerit | None = None,
    *,
    rule: str | SelectionRule | None = None,
    per: Per | None = None,
    resamples: int = 200,
    level: float = ONE_SIGMA,
    **options: Any,
) -> Comparison:
    """Compare configs (labels or ids; members by ``rule``, default the study's own) or choices (each by its best config).

    ``fom``: default the study's objective. Raises `SelectionError` for a config that is not there or A equal to B,
    `DataError` where the validation events differ.
    """
    if isinstance(a, str) and isinstance(b, str) and study.config(a) == study.config(b):
        raise SelectionError(f"compare {a!r} {b!r}", "these are the same config", "name two different ones")
    figure = _figure(study, fom)
    left, right = (_side(study, s, rule, per, options) for s in (a, b))
    names = (left[0], right[0]) if left[0] != right[0] else ("A", "B")
    return compare(left[1], right[1], figure, names=names, resamples=resamples, level=level)


def compare_all(
    study: OpenStudy,
    a: str,
    others: Sequence[str] | None = None,
    fom: str | FigureOfMerit | None = None,
    *,
    rule: str | SelectionRule | None = None,
    per: Per | None = None,
    resamples: int = 200,
    correction: str = "holm",
    **options: Any,
) -> list[Comparison]:
    """``a`` against each of ``others`` (default: every other config with done cells), p-values corrected by ``correction``.

    Where ``a`` was picked because it looked best, the comparisons are still too kind to it: see `Choice.optimism`.
    """
    first, figure = study.config(a), _figure(study, fom)
    if others is None:
        done = {str(c) for c in study.epoch_table()["config"]}
        others = [c for c in study.labels if c in done and c != first]
    if not others:
        raise SelectionError("compare", "there is nothing to compare with", "name another config, or run more of the study")
    left = _side(study, a, rule, per, options)
    found = []
    for name in others:
        if study.config(name) == first:
            raise SelectionError(f"compare {a!r} {name!r}", "these are the same config", "name two different ones")
        right = _side(study, name, rule, per, options)
        found.append(compare(left[1], right[1], figure, names=(left[0], right[0]), resamples=resamples))
    return corrected(found, correction)


def _figure(study: OpenStudy, fom: str | FigureOfMerit | None) -> FigureOfMerit:
    if fom is None:
        return study.objective
    if not isinstance(fom, str):
        return fom
    return study.foms[fom] if fom in study.foms else _named(fom)


def _named(fom: str) -> FigureOfMerit:
    from raresearch.ensembles.figures import build_fom

    return build_fom(fom)


def _side(study: OpenStudy, side: str | Choice, rule: str | SelectionRule | None, per: Per | None, options: Any) -> Side:
    choice = study.select(rule, per=per, configs=[side], **options) if isinstance(side, str) else side
    return choice.label, panel(choice.reader or choice._reader, [e for e in choice.ensembles if e.config == choice.config])
