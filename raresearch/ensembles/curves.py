"""Efficiencies as functions of an observer column: energy, radius, the size of a light signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raresearch.ensembles.evaluation import Labelled
from raresearch.ensembles.operating import Species, as_estimate, mask
from raresearch.errors import DataError, SpecError, nearest
from raresearch.metrics.efficiency import efficiency
from raresearch.types import ONE_SIGMA, Array, Estimate


@dataclass(frozen=True)
class Curve:
    """The fraction kept in each bin. ``edges`` (B+1,); ``estimates``: one a bin, None where no event lies in it.

    ``outside``: events beyond the edges, which no bin counts.
    """

    observer: str
    species: str
    threshold: float
    edges: tuple[float, ...]
    estimates: tuple[Estimate | None, ...]
    outside: int

    def rows(self) -> list[dict[str, float | None]]:
        """One row a bin: from, to, efficiency, low, high, events (effective)."""
        bins = zip(self.edges[:-1], self.edges[1:], self.estimates, strict=True)
        names = ("value", "low", "high", "n_effective")
        return [{"from": a, "to": b} | {n: getattr(e, n) if e else None for n in names} for a, b, e in bins]


def efficiency_curve(
    sample: Labelled,
    observer: str,
    bins: int | Sequence[float],
    threshold: float,
    species: Species = "signal",
    classes: tuple[str, ...] = (),
    level: float = ONE_SIGMA,
) -> Curve:
    """The fraction of ``species`` with score >= ``threshold`` in bins of ``observer``, each with Clopper–Pearson's interval.

    ``bins``: edges in rising order (the last bin includes its upper edge), or how many bins with equal numbers of events.
    Weighted events enter with the number of trials that a weighted fraction is worth. Raises `DataError` for an unknown
    column, one without finite values, and `SpecError` for bins that do not rise.
    """
    if observer not in sample.observers:
        raise DataError(f"column {observer!r}", "the events do not have it", nearest(observer, sample.observers))
    chosen = mask(sample, species, classes) & (sample.weight > 0) & np.isfinite(sample.observers[observer])
    values, kept, weights = sample.observers[observer][chosen], sample.scores[chosen] >= threshold, sample.weight[chosen]
    if not len(values):
        raise DataError(f"column {observer!r}", f"has no finite value for {species}", "choose another column or class")
    edges = _edges(bins, values)
    place = np.searchsorted(edges, values, side="right") - 1
    place[values == edges[-1]] = len(edges) - 2
    estimates = []
    for number in range(len(edges) - 1):
        mine = place == number
        estimates.append(as_estimate(efficiency(kept[mine], weights[mine]), level, threshold) if mine.any() else None)
    outside = int(((place < 0) | (place > len(edges) - 2)).sum())
    return Curve(observer, str(species), float(threshold), tuple(edges.tolist()), tuple(estimates), outside)


def _edges(bins: int | Sequence[float], values: Array) -> Array:
    if isinstance(bins, bool) or (isinstance(bins, int) and bins < 1):
        raise SpecError(f"bins {bins!r}", "at least one bin is needed", "for example bins=10, or edges [0, 20, 40]")
    if isinstance(bins, int):
        return (
            np.unique(np.quantile(values, np.linspace(0, 1, bins + 1))) if np.ptp(values) else values[0] + np.array([-0.5, 0.5])
        )
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise SpecError(f"bins {list(bins)!r}", "edges must rise, at least two of them", "for example [0, 20, 40]")
    return edges
