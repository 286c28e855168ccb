"""Every point of a finite space, once."""

from __future__ import annotations

from raresearch.space import Space
from raresearch.types import Config, config_id


class GridSearcher:
    """All points of ``space`` in the order of `Space.grid`. Raises `SpaceError` for a continuous axis."""

    def __init__(self, space: Space) -> None:
        self._points = space.grid()
        self._known: set[str] = set()

    def ask(self) -> Config | None:
        for config in self._points:
            if (key := config_id(config)) not in self._known:
                self._known.add(key)
                return config
        return None

    def tell(self, config: Config, score: float) -> None:
        self._known.add(config_id(config))
