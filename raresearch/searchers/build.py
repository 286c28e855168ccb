"""A searcher from a study's `searcher:`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from raresearch import plugins
from raresearch.errors import SpecError
from raresearch.searchers.base import Searcher
from raresearch.searchers.history import Observation
from raresearch.space import Space
from raresearch.spec import Component

#: searchers whose proposals do not depend on scores
FREE = ("grid", "random", "listed")
#: the folder of another study → its configs and their scores, by the figure of merit of this one
Scored = Callable[[Path], Sequence[Observation]]


def build_searcher(
    component: Component,
    space: Space,
    seed: int,
    base_dir: str | Path | None = None,
    scored: Scored | None = None,
    objectives: int = 1,
) -> Searcher:
    """The searcher that ``component`` names. Raises `PluginError` and `SpecError` for names and options, `SpaceError` for a
    space that it cannot search.

    An option ``warm_start`` that is text is a path from ``base_dir``: a CSV, or the folder of another study, which
    ``scored`` reads (scores need a rule and a figure of merit, which searchers know nothing of). `SpecError` also for a searcher
    that reads scores and does not take as many as there are ``objectives``.
    """
    options = dict(component.options)
    if isinstance(source := options.get("warm_start"), str):
        path = Path(base_dir or ".") / source
        options["warm_start"] = tuple(_of_study(component, path, scored)) if path.is_dir() else str(path)
    given = {"space": space, "seed": seed, "objectives": objectives}
    searcher: Searcher = plugins.build("searchers", component.name, options, base_dir, **given)
    if component.name not in FREE and objectives > getattr(searcher, "objectives", 1):
        rule = f"{component.name} hears one score, and the study has {objectives} objectives"
        raise SpecError("searcher", rule, "take {optuna: {sampler: nsga2, …}}, or name one of them under figures_of_merit")
    return searcher


def _of_study(component: Component, folder: Path, scored: Scored | None) -> Sequence[Observation]:
    place = f"{component.name}.warm_start"
    if scored is None:
        raise SpecError(place, f"{folder} is a folder, and only files can be read here", "give a CSV of axes and scores")
    if not (folder / "study.json").is_file():
        raise SpecError(place, f"{folder} holds no study", "give the folder that `raresearch run` printed, or a CSV")
    return scored(folder)
