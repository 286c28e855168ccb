"""What a searcher knows: what it was told, what it has proposed, what another study found."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from raresearch.searchers.base import Score
from raresearch.types import Config, config_id

Observation = tuple[Config, float]


@dataclass
class History:
    """Configs by their id. `observations` does not depend on the order of telling: a resumed study tells in another.

    ``warm``: observations of another study. They are no configs of this study: neither counted nor known, so that what was
    best there can be proposed here; told here, a config's own score replaces them.
    """

    warm: dict[str, Observation] = field(default_factory=dict)
    told: dict[str, tuple[Config, Score]] = field(default_factory=dict)
    pending: dict[str, Config] = field(default_factory=dict)

    @classmethod
    def warmed(cls, observations: Iterable[Observation]) -> History:
        return cls({config_id(config): (dict(config), score) for config, score in observations})

    def propose(self, config: Config) -> Config:
        """``config`` is pending from now on; returns a copy for the study to own."""
        self.pending[config_id(config)] = dict(config)
        return dict(config)

    def tell(self, config: Config, score: Score) -> None:
        key = config_id(config)
        self.pending.pop(key, None)
        self.told[key] = (dict(config), tuple(map(float, score)) if isinstance(score, tuple) else float(score))

    def knows(self, config: Config) -> bool:
        """Whether ``config`` was told or is pending."""
        key = config_id(config)
        return key in self.told or key in self.pending

    @property
    def known(self) -> set[str]:
        """Ids of what was told or is pending."""
        return {*self.told, *self.pending}

    def observations(self) -> list[Observation]:
        """Every config told with one score, warm ones too, in the order of ids, with finite scores.

        A failed config (its score is not finite) counts as bad as the worst that succeeded: the search learns to avoid its
        neighbourhood without a number from nowhere. Empty where none has succeeded.
        """
        single = {key: (config, score) for key, (config, score) in self.told.items() if not isinstance(score, tuple)}
        both = sorted({**self.warm, **single}.items())
        finite = [score for _, (_, score) in both if math.isfinite(score)]
        if not finite:
            return []
        return [(config, score if math.isfinite(score) else min(finite)) for _, (config, score) in both]
