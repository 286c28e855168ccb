"""The page's sections in the order of a reader's questions, and the figures of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raresearch.report.figures import (
    by_config,
    classes,
    confusion,
    cut,
    difference,
    efficiency,
    front,
    grid,
    hyperparameters,
    learning,
    members,
    repeats,
    roc,
    search,
    seeds,
)
from raresearch.report.figures.style import Drawing
from raresearch.report.results import Results

Draw = Callable[[Results], Drawing | None]


@dataclass(frozen=True)
class Section:
    """``figures``: each with the reason to print where it is missing ("" where its absence needs none)."""

    name: str
    title: str
    figures: Sequence[tuple[Draw, str]]


#: between these and around them the page has tables: results first, comparison and variance under ``certainty``
SECTIONS: Sequence[Section] = (
    Section("results", "Results", ((by_config.draw, ""),)),
    Section("certainty", "How sure", ((repeats.draw, ""), (seeds.draw, ""))),
    Section(
        "selection",
        "Selection and cut",
        (
            (cut.draw, "Determination of the cut: not drawn, the objective takes no cut."),
            (confusion.draw, "Confusion matrix: not drawn, no figure of merit takes a cut."),
            (members.draw, ""),
        ),
    ),
    Section("curves", "Curves", ((roc.roc, ""), (roc.precision_recall, ""))),
    Section("scores", "Score spectra", ((classes.spectra, ""),)),
    Section(
        "efficiencies",
        "Efficiencies",
        ((efficiency.efficiencies, "Efficiency by class: not drawn, it needs a cut and an observer in the schema."),),
    ),
    Section("training", "Training", ((learning.draw, ""),)),
    Section(
        "space",
        "The space",
        (
            (grid.draw, ""),
            (grid.heat_map, ""),
            (difference.draw, ""),
            (front.draw, ""),
            (search.convergence, ""),
            (search.parallel, ""),
            (hyperparameters.importance, ""),
            (hyperparameters.dependence, ""),
        ),
    ),
)
