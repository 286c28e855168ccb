"""What a training of each config took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raresearch.ensembles.table import codes
from raresearch.report.findings import Sheet
from raresearch.report.numbers import NONE, duration
from raresearch.report.results import Results
from raresearch.types import EpochTable

TITLE = "What a training takes"


def cost_sheet(results: Results) -> Sheet | None:
    """Epochs, seconds and peak memory a training by config, in the order of the configs; None where nothing was measured.

    Cells that were read off a longer training cost nothing and are left out.
    """
    last = _last_epochs(results.epochs) if len(results.epochs) else {}
    peaks = {row["cell"]: row["memory"] for row in results.store.cells().select(["cell", "memory"]).to_pylist()}
    spent: dict[str, list[tuple[int, float, float | None]]] = {}
    for found in results.cells:
        if found.seconds > 0 and last.get(found.key):
            spent.setdefault(found.config, []).append((last[found.key], found.seconds, peaks[found.key]))
    rows = tuple(
        (
            label,
            str(len(each)),
            f"{np.mean([n for n, _, _ in each]):.1f}",
            f"{np.median([seconds / n for n, seconds, _ in each]):.3g}",
            duration(float(np.median([seconds for _, seconds, _ in each]))),
            _memory([peak for _, _, peak in each if peak is not None]),
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
        "median of the most that a worker held while it trained one, beyond what it held before: resident memory, or torch's "
        "on a GPU; events not counted where they are in memory before; – where it trained several at once, or did not measure",
    )
    caption = "Wall-clock time of a worker on the machine of this study, and of whatever else that did at the time."
    header = ("config", "trainings", "epochs", "seconds an epoch", "a training", "peak memory")
    return Sheet(header, rows, meanings, caption) if rows else None


def _last_epochs(epochs: EpochTable) -> dict[str, int]:
    """Cell → its last epoch."""
    _, first, cell = np.unique(codes(epochs, "cell"), return_index=True, return_inverse=True)
    last = np.zeros(len(first), dtype=np.int64)
    np.maximum.at(last, cell, epochs["epoch"])
    return dict(zip(epochs["cell"][first].tolist(), last.tolist(), strict=True))


def _memory(peaks: Sequence[float]) -> str:
    """The median of bytes in MiB."""
    return f"{np.median(peaks) / 2**20:.0f} MiB" if peaks else NONE
