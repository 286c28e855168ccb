"""Fold ensembles: every event is scored by members that did not train on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from raresearch.ensembles.base import Per
from raresearch.ensembles.candidates import whole
from raresearch.ensembles.rules import Goal, TopK, refuse_empty, refuse_test
from raresearch.errors import SelectionError
from raresearch.types import EpochTable, Member


@dataclass(frozen=True)
class FoldEnsemble:
    """The ``k`` best epochs in ``by`` of each fold of a repeat.

    A validation event is scored by its own fold's members, which did not see it (Breiman's cross-validated predictions, doi
    10.1007/BF00117832); a test event by all folds, each with the same weight however many members it has.
    Raises `SelectionError` for data without folds, and where a repeat lacks a fold (one that failed), since its events
    would then go unscored; ``incomplete`` true leaves such repeats out instead.
    """

    k: int = 1
    by: str = "val_loss"
    goal: Goal | None = None
    folds: int | None = None
    incomplete: bool = False
    per: ClassVar[Per] = "repeat"

    def __post_init__(self) -> None:
        refuse_test(self.by)
        whole("k", self.k)
        whole("folds", self.folds, least=2, optional=True)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by, "fold", "seed"})

    @property
    def _best(self) -> TopK:
        return TopK(self.k, self.by, goal=self.goal)

    def keep(self, epochs: EpochTable) -> set[int]:
        return self._best.keep(epochs)

    def choose(self, epochs: EpochTable) -> list[Member]:
        refuse_empty(epochs)
        folds = self._all_folds(epochs)
        members: list[Member] = []
        for _, repeat in epochs.groups("config", "seed"):
            missing = folds - {int(f) for f in np.unique(repeat["fold"])}
            if missing and not self.incomplete:
                place = f"config {repeat['config'][0]}, seed {repeat['seed'][0]}"
                remedy = "train it again (--retry-failed), or set `incomplete: true` to leave the repeat out"
                raise SelectionError(place, f"fold {min(missing)} is missing", remedy)
            if not missing:
                members += self._of_repeat(repeat)
        if not members:
            raise SelectionError("fold_ensemble", "no repeat has all its folds", "train the failed cells again")
        return members

    def _all_folds(self, epochs: EpochTable) -> set[int]:
        there = set(range(self.folds)) if self.folds else {int(f) for f in np.unique(epochs["fold"])}
        if len(there) < 2:
            remedy = "run the study with `folds: 5`, choose per repeat or config, or use best_epoch"
            raise SelectionError("fold_ensemble", "these epochs are of one fold", remedy)
        return there

    def _of_repeat(self, repeat: EpochTable) -> list[Member]:
        chosen = [self._best.choose(fold) for _, fold in repeat.groups("cell")]
        return [replace(m, weight=1.0 / len(members)) for members in chosen for m in members]
