"""Rules over the repeats of a config: one member of each, or the best of all."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from raresearch.ensembles.base import Per, ScoreSource, refuse_missing, without_scores
from raresearch.ensembles.candidates import Candidates, member, whole
from raresearch.ensembles.combine import additive, finish
from raresearch.ensembles.figures import FomName, own_fom, values
from raresearch.ensembles.rules import BestEpoch, Goal, badness, members_of, refuse_empty, refuse_test
from raresearch.errors import SelectionError
from raresearch.metrics.base import FigureOfMerit, on
from raresearch.types import EpochTable, Member


@dataclass(frozen=True)
class EverySeed:
    """One member of every cell, its epoch with the best ``by``: the ensemble of all repeats (deep ensemble, arXiv:1612.01474).

    Makes one ensemble of a config unless told otherwise (``per``).
    """

    by: str = "val_loss"
    goal: Goal | None = None
    per: ClassVar[Per] = "config"

    def __post_init__(self) -> None:
        refuse_test(self.by)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by})

    def keep(self, epochs: EpochTable) -> set[int]:
        return BestEpoch(self.by, self.goal).keep(epochs)

    def choose(self, epochs: EpochTable) -> list[Member]:
        refuse_empty(epochs)
        best = BestEpoch(self.by, self.goal)
        return [m for _, cell in epochs.groups("cell") for m in best.choose(cell)]


@dataclass(frozen=True)
class BestOfRepeats:
    """The one best parameter set among all repeats of a config, as PandaX-II selected its 4C (JINST 18 T06002, Sec. 4).

    By a column (``by``) alone, or, with ``fom``, by a figure of merit on the validation scores of the best ``epochs`` of each
    cell in ``by``. Of equal ones the better ``by`` wins, then the earlier cell and epoch. The best of N repeats on
    validation is optimistic by construction: see `raresearch.statistics.optimism`.
    """

    by: str = "val_loss"
    goal: Goal | None = None
    fom: FomName | None = None
    epochs: int = 1
    base_dir: InitVar[Path | None] = None  # from where a figure's file is looked for; no option, and not what the rule is
    per: ClassVar[Per] = "config"

    def __post_init__(self, base_dir: Path | None) -> None:
        object.__setattr__(self, "base_dir", base_dir)
        refuse_test(self.by)
        whole("epochs", self.epochs)
        if self.fom is not None:
            own_fom(self)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by})

    @property
    def needs_scores(self) -> bool:
        return self.fom is not None

    @property
    def _candidates(self) -> Candidates:
        return Candidates(self.epochs, None, self.by, self.goal)

    def keep(self, epochs: EpochTable) -> set[int]:
        return self._candidates.keep(epochs)

    def choose(self, epochs: EpochTable) -> list[Member]:
        if self.needs_scores:
            refuse_empty(epochs)
            raise without_scores(self)
        refuse_empty(epochs)
        return members_of(epochs, np.argmin(badness(epochs, self.by, self.goal), keepdims=True))

    def choose_scored(self, epochs: EpochTable, scores: ScoreSource) -> list[Member]:
        refuse_missing(self, epochs)
        refuse_empty(epochs)
        if self.fom is None:
            return self.choose(epochs)
        fom, candidates = own_fom(self), self._candidates.table(epochs)
        found: dict[int, float] = {}
        for library in scores.libraries(candidates):
            each = finish("scores", additive("scores", library.logits))
            for row, value in zip(
                library.rows, values(on(fom, library.columns), each, library.label, library.weight), strict=True
            ):
                found[int(row)] = float(value)
        return [member(candidates, best_row(fom, found))]


def best_row(fom: FigureOfMerit, found: dict[int, float]) -> int:
    """The row with the best value, the lowest of equal ones; `SelectionError` where no value is a number."""
    sign = 1.0 if fom.goal == "max" else -1.0
    good = {row: sign * value for row, value in found.items() if not np.isnan(value)}
    if not good:
        raise SelectionError(f"fom {fom.name}", "is not a number for any candidate", "choose another figure of merit")
    return min(good, key=lambda row: (-good[row], row))
