"""The parameter set that the paper takes of a hundred: the one of highest ER efficiency (4C), or highest significance (4Cu, 4Eu)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from raresearch.errors import SelectionError
from raresearch.experiments.pandax2.figures import AtTheCut, BelowMedianSignificance, ElectronEfficiency, check_choice
from raresearch.experiments.pandax2.limit import ExpectedLimit
from raresearch.metrics.base import on
from raresearch.types import Array, EpochTable, Member

FIGURES: Mapping[str, type[AtTheCut]] = {
    "er_efficiency": ElectronEfficiency,
    "significance": BelowMedianSignificance,
    "expected_limit": ExpectedLimit,
}


class _Library(Protocol):
    @property
    def events(self) -> str: ...
    @property
    def rows(self) -> Array: ...
    @property
    def logits(self) -> Array: ...
    @property
    def label(self) -> Array: ...
    @property
    def weight(self) -> Array: ...


class _Scores(Protocol):
    """What gives validation scores, and the validation events' columns by the name of their list."""

    def libraries(self, epochs: EpochTable) -> Sequence[_Library]: ...
    def events(self, name: str, scored: int) -> Any: ...


@dataclass(frozen=True)
class SelectedParameters:
    """Of all repeats of a config, at their epochs of lowest validation loss, the one that is best in ``by`` on validation:
    "er_efficiency", "significance" (both as large as can be) or "expected_limit" (as small).

    Only repeats whose significance is no lower than their median take part: the paper looks for "both high discrimination power and
    high efficiency for ER events", and a training that has collapsed keeps every ER. Of equal ones the higher significance wins,
    then the earlier cell.

    A selection rule with scores (`raresearch.ensembles.base.ScoredRule`). The best of many repeats on validation is optimistic by
    construction: unseal before quoting it.
    """

    by: Literal["er_efficiency", "significance", "expected_limit"] = "er_efficiency"
    per: ClassVar[str] = "config"
    needs_scores: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"val_loss"})

    def __post_init__(self) -> None:
        check_choice("selected_parameters: by", self.by, tuple(FIGURES))

    def keep(self, epochs: EpochTable) -> set[int]:
        """The epoch of lowest validation loss so far."""
        return {int(epochs["epoch"][_best(epochs)])} if len(epochs) else set()

    def choose(self, epochs: EpochTable) -> list[Member]:
        """Always `SelectionError`: columns alone do not say what is kept of ER."""
        raise SelectionError(
            "rule SelectedParameters", "needs the scores of the validation events", "choose from a study's own epochs"
        )

    def choose_scored(self, epochs: EpochTable, scores: _Scores) -> list[Member]:
        """The one member. Raises `SelectionError` where there are no epochs, `DataError` as the figures do."""
        if not len(epochs):
            raise SelectionError("epochs", "there are none to choose from", "wait for a cell to be done (raresearch status)")
        best = [(cell, int(_best(cell))) for _, cell in epochs.groups("cell")]
        members = [Member(str(cell["cell"][row]), int(cell["epoch"][row])) for cell, row in best]
        mine = set(zip((m.cell for m in members), (m.epoch for m in members), strict=True))
        wanted = np.asarray([(str(c), int(e)) in mine for c, e in zip(epochs["cell"], epochs["epoch"], strict=True)])
        candidates = epochs.where(wanted)
        ranks: dict[tuple[str, int], tuple[float, float]] = {}
        for library in scores.libraries(candidates):
            for row, rank in zip(library.rows, self._ranks(library, scores), strict=True):
                ranks[(str(candidates["cell"][row]), int(candidates["epoch"][row]))] = rank
        least = float(np.median([significance for _, significance in ranks.values()]))
        able = [m for m in members if ranks[(m.cell, m.epoch)][1] >= least]
        return [max(able, key=lambda m: ranks[(m.cell, m.epoch)])]

    def _ranks(self, library: _Library, scores: _Scores) -> list[tuple[float, float]]:
        """(value, higher is better; significance) of each row of the library."""
        table = scores.events(library.events, library.logits.shape[1])
        probability = 1.0 / (1.0 + np.exp(-library.logits.astype(np.float64)))
        found = []
        for figure in (FIGURES[self.by](), BelowMedianSignificance()):
            columns = {name: table[name].to_numpy() for name in figure.needs}
            sign = 1.0 if figure.goal == "max" else -1.0
            found.append(sign * on(figure, columns).values(probability, library.label, library.weight))
        return list(zip(*(f.tolist() for f in found), strict=True))


def _best(epochs: EpochTable) -> int:
    loss = np.asarray(epochs["val_loss"], dtype=np.float64)
    return int(np.argmin(np.where(np.isnan(loss), np.inf, loss)))
