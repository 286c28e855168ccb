"""What a training of each config took."""

from __future__ import annotations

import numpy as np

from raresearch.report.findings import Sheet
from raresearch.report.numbers import duration
from raresearch.report.results import Results

TITLE = "What a training takes"


def cost_sheet(results: Results) -> Sheet | None:
    """Epochs and seconds a training by config, in the order of the configs; None where nothing was measured.

    Cells that were read off a longer training cost nothing and are left out.
    """
    epochs = results.epochs
    last: dict[str, int] = {}
    for cell, epoch in zip(epochs["cell"].tolist(), epochs["epoch"].tolist(), strict=True):
        last[cell] = max(epoch, last.get(cell, 0))
    spent: dict[str, list[tuple[int, float]]] = {}
    for found in results.cells:
        if found.seconds > 0 and last.get(found.key, 0):
            spent.setdefault(found.config, []).append((last[found.key], found.seconds))
    rows = tuple(
        (
            label,
            str(len(each)),
            f"{np.mean([n for n, _ in each]):.1f}",
            f"{np.median([seconds / n for n, seconds in each]):.3g}",
            duration(float(np.median([seconds for _, seconds in each]))),
        )
        for config, label in results.labels.items()
        if (each := spent.get(config))
    )
    meanings = (
        "",
        "trainings that were measured",
        "mean number of epochs",
        "median, with the scoring of validation events; of trainings in a pack, each one's share",
        "median",
    )
    caption = "Wall-clock time of a worker on the machine of this study, and of whatever else that did at the time."
    header = ("config", "trainings", "epochs", "seconds an epoch", "a training")
    return Sheet(header, rows, meanings, caption) if rows else None
