"""Racing: every config gets its first cells; further folds and seeds go to those that could still be the best.

The value of config c in round r (its r-th cell: the folds of the first seed, then of the next) is taken as μ_c + β_r + ε, with
ε of one variance, which is estimated from the configs that have two rounds or more (two-way layout, Scheffé 1959, ch. 4). A
config leaves when, on the rounds that both have, another is better by more than t·σ·√(2/m): t is Student's quantile at
``level``, shared equally among the looks and the configs compared (Bonferroni), so that the truly best config is lost with at
most that probability. Pairing removes β, as in F-Race (Birattari et al., GECCO 2002). Knows numbers only; decides nothing twice
differently from the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy

from raresearch.types import Array


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a config left: on ``rounds`` common rounds, ``against`` is better by ``difference``, more than ``margin``."""

    config: str
    rounds: int
    against: str
    difference: float
    margin: float


@dataclass
class Race:
    """``rounds``: cells of a config that stays to the end; ``first``: cells that every config gets; ``probe``: configs that go
    on before the noise is known. Values are "higher is better"; one that is not finite (a failed cell) ends its config's race.
    """

    rounds: int
    level: float = 0.05
    first: int = 1
    probe: int = 4
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def heard(self, config: str, values: Iterable[float]) -> None:
        """``config`` has ``values`` in its first rounds."""
        self.values[config] = tuple(values)

    def sigma(self) -> tuple[float, int]:
        """Standard deviation of ε and its degrees of freedom; (NaN, 0) where no config pair has two rounds."""
        squares, degrees = 0.0, 0
        for matrix in self._blocks():
            configs, rounds = matrix.shape
            free = (configs - 1) * (rounds - 1)
            if free:
                residual = matrix - matrix.mean(axis=1, keepdims=True) - matrix.mean(axis=0) + matrix.mean()
                squares += float((residual**2).sum())
                degrees += free
        return (math.sqrt(squares / degrees), degrees) if degrees else (math.nan, 0)

    def _blocks(self) -> list[Array]:
        """(configs, rounds) for each number of rounds from two up: rounds are begun in order, so each is complete."""
        by_rounds: dict[int, list[tuple[float, ...]]] = {}
        for _, values in sorted(self._sound().items()):
            by_rounds.setdefault(len(values), []).append(values)
        return [np.asarray(rows) for rounds, rows in sorted(by_rounds.items()) if rounds > 1]

    def _sound(self) -> Mapping[str, tuple[float, ...]]:
        return {c: v for c, v in self.values.items() if v and all(map(math.isfinite, v))}

    def decide(self, waiting: Iterable[str]) -> tuple[list[str], list[Verdict]]:
        """(configs that go on, configs that leave) of those ``waiting`` for their next round; the rest wait on.

        While the noise is unknown the best ``probe`` of them go on, and nobody leaves but for a failed cell.
        """
        sound = self._sound()
        asked = sorted(waiting)
        failed = [Verdict(c, len(self.values[c]), c, math.inf, 0.0) for c in asked if c not in sound]
        runners = [c for c in asked if c in sound]
        sigma, degrees = self.sigma()
        if not degrees:
            # Of every config, not only of those waiting: what went on before says how many probes there are already.
            ahead = sum(len(v) > self.first for v in sound.values())
            best = sorted(runners, key=lambda c: -float(np.mean(sound[c])))
            return best[: max(self.probe - ahead, 2)], failed
        leaders = self._leaders(sound)
        verdicts = [self._against(c, sound, leaders, sigma, degrees) for c in runners]
        out = [v for v in verdicts if v.difference > v.margin]
        gone = {v.config for v in out}
        return [c for c in runners if c not in gone], [*failed, *out]

    @staticmethod
    def _leaders(sound: Mapping[str, tuple[float, ...]]) -> dict[int, tuple[float, str]]:
        """Number of rounds m → the best mean over the first m, and whose it is."""
        most = max(len(v) for v in sound.values())
        return {
            m: max((float(np.mean(v[:m])), c) for c, v in sound.items() if len(v) >= m) for m in range(1, most + 1)
        }  # a tie goes to the greater id: any rule will do that is always the same

    def _against(
        self,
        config: str,
        sound: Mapping[str, tuple[float, ...]],
        leaders: Mapping[int, tuple[float, str]],
        sigma: float,
        degrees: int,
    ) -> Verdict:
        values = sound[config]
        mean, leader = leaders[len(values)]
        looks = max(self.rounds - self.first, 1) * max(len(sound) - 1, 1)
        quantile = -float(scipy.special.stdtrit(degrees, self.level / looks))
        margin = quantile * sigma * math.sqrt(2 / len(values))
        return Verdict(config, len(values), leader, mean - float(np.mean(values)), margin)
