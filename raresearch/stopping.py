"""Early stopping of whole configs: at rungs of epochs, those that are behind train no further.

*halving*: of the configs that have reached a rung, the best ``keep`` go on (successive halving: Jamieson & Talwalkar, AISTATS
2016). *median*: a config leaves where its value is below the median of the others' at that rung (Golovin et al., KDD 2017,
who compare with running averages; here, as in the median pruners of today, with the others' values themselves).

Both are functions of the values that the configs have at a rung and of nothing else. Where proposals do not wait for scores,
all configs reach a rung before any is judged, so that no worker's speed decides. Where they do, a config is judged when it
gets there, beside those that were there before (the promotion rule of Li et al., MLSys 2020, in its stopping form): one
config at a time that is again a function of what the store holds; with several, the verdicts are kept and not made again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a config trains no further than ``epochs``: of ``reached`` configs there, ``value`` fell below ``bar``.

    Values are "higher is better". A value equal to the bar leaves by its id: of equal configs, too, only so many go on.
    """

    config: str
    epochs: int
    value: float
    bar: float
    reached: int


@dataclass
class Rungs:
    """``epochs``: of the rungs, rising; ``keep``: fraction that goes on, None for the median rule; ``least``: nobody leaves a
    rung that fewer configs have reached."""

    epochs: Sequence[int]
    keep: float | None = 1 / 3
    least: int = 4
    values: dict[int, dict[str, float]] = field(default_factory=dict)

    def heard(self, config: str, rung: int, value: float) -> None:
        """``config`` has reached rung number ``rung`` with ``value``; one that is not finite is the worst of all."""
        self.values.setdefault(rung, {})[config] = value if math.isfinite(value) else -math.inf

    def knows(self, config: str, rung: int) -> bool:
        """Whether ``config`` was heard at ``rung``."""
        return config in self.values.get(rung, {})

    def decide(self, waiting: Mapping[str, int]) -> tuple[list[str], list[Stop]]:
        """(configs that go on, configs that stop) of those ``waiting``, each at its rung, all of them heard there."""
        verdicts = [self._against(name, rung) for name, rung in sorted(waiting.items())]
        out = [v for v in verdicts if v is not None]
        gone = {v.config for v in out}
        return [name for name in sorted(waiting) if name not in gone], out

    def _against(self, config: str, rung: int) -> Stop | None:
        there = self.values[rung]
        if len(there) < max(self.least, 2):
            return None
        value = there[config]
        if self.keep is None:
            bar = median(v for name, v in there.items() if name != config)
            stays = value >= bar
        else:
            ranked = sorted(there, key=lambda name: (-there[name], name))
            # A third of nine is three, whatever the last bit of 1/3 makes of it.
            kept = max(1, math.ceil(self.keep * len(ranked) - 1e-9))
            bar = there[ranked[kept - 1]]
            stays = config in ranked[:kept]
        return None if stays else Stop(config, self.epochs[rung], value, bar, len(there))
