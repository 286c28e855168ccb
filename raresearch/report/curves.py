"""Mean ± std over repeats of what was recorded at every epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.types import Array, EpochTable


@dataclass(frozen=True)
class Curve:
    """Mean and sample std over cells at each epoch, all (E,); ``count``: cells with a number there. Std is NaN below two."""

    epoch: Array
    mean: Array
    std: Array
    count: Array

    def where_most(self) -> Curve:
        """The epochs that at least half of the cells reached.

        Cells stop at different epochs; far out, the mean is that of a few late ones and its jumps mean nothing.
        """
        enough = self.count * 2 >= self.count.max(initial=0)
        return Curve(self.epoch[enough], self.mean[enough], self.std[enough], self.count[enough])


def mean_curve(rows: EpochTable, column: str) -> Curve:
    """The curve of ``column`` over all cells in ``rows``; entries that are not finite are left out."""
    epoch, values = np.asarray(rows["epoch"], dtype=np.int64), np.asarray(rows[column], dtype=np.float64)
    finite = np.isfinite(values)
    epoch, values = epoch[finite], values[finite]
    epochs, place = np.unique(epoch, return_inverse=True)
    count = np.bincount(place, minlength=len(epochs))
    mean = np.bincount(place, values, minlength=len(epochs)) / count
    squares = np.bincount(place, (values - mean[place]) ** 2, minlength=len(epochs))
    std = np.sqrt(np.divide(squares, count - 1, out=np.full(len(epochs), np.nan), where=count > 1))
    return Curve(epochs, mean, std, count)
