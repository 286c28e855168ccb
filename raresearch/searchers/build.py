"""A searcher from a study's `searcher:`."""

from __future__ import annotations

from pathlib import Path

from raresearch import plugins
from raresearch.searchers.base import Searcher
from raresearch.space import Space
from raresearch.spec import Component


def build_searcher(component: Component, space: Space, seed: int, base_dir: str | Path | None = None) -> Searcher:
    """The searcher that ``component`` names. Raises `PluginError` and `SpecError` for names and options, `SpaceError` for a
    space that it cannot search."""
    searcher: Searcher = plugins.build("searchers", component.name, component.options, base_dir, space=space, seed=seed)
    return searcher
