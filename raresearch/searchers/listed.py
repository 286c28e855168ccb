"""Configs that somebody has listed: a later stage of a study, or a few settings to be trained again."""

from __future__ import annotations

from collections.abc import Sequence

from raresearch.errors import SpaceError, SpecError
from raresearch.space import Space
from raresearch.types import Config, config_id


class ListedSearcher:
    """The points ``configs`` of the space, in their order, each once. Raises `SpecError` for one that is no point of it."""

    def __init__(self, space: Space, configs: Sequence[Config]) -> None:
        self._points: dict[str, Config] = {}
        for number, config in enumerate(configs):
            try:
                point = space.project(config)
            except SpaceError as error:
                raise SpecError(f"listed.configs[{number}]", error.rule, error.remedy) from error
            self._points.setdefault(config_id(point), point)
        self._told: set[str] = set()
        self._proposed: set[str] = set()

    def ask(self) -> Config | None:
        for key, point in self._points.items():
            if key not in self._told | self._proposed:
                self._proposed.add(key)
                return dict(point)
        return None

    def tell(self, config: Config, score: float) -> None:
        self._told.add(config_id(config))
