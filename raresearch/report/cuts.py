"""The cut that figures at an operating point use."""

from __future__ import annotations

from dataclasses import dataclass

from raresearch.report.results import CellResult, Results


@dataclass(frozen=True)
class Cut:
    """A threshold on the score and the figure of merit that chose it on validation."""

    threshold: float
    chosen_by: str


def cut_of(results: Results, cell: CellResult) -> Cut | None:
    """The objective's cut for ``cell``; where the objective takes none, that of the first other figure which does."""
    for name in (results.objective.name, *results.others):
        found = cell.estimates.get(name)
        if found is not None and found.threshold is not None:
            return Cut(found.threshold, name)
    return None
