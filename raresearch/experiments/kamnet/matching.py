"""N_hit matching: classes are thinned until their numbers of hits are alike, so that none can be told by its energy.

The paper samples the overlap of the distributions of N_hit without replacement (Sec. VI, Fig. 8); so is it here, with
bins of a chosen width and for every class that takes part. Legend: C classes, B bins of hits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raresearch.types import Array


def overlap(counts: Array, shares: Sequence[float]) -> Array:
    """(B,) events, all classes together, that every bin can give where class c makes up ``shares[c]`` of them.

    ``counts`` (C, B): what there is.

    >>> overlap(np.array([[5, 2, 0], [1, 4, 7]]), [0.5, 0.5])
    array([2., 4., 0.])
    """
    return np.asarray((counts / np.asarray(shares)[:, None]).min(axis=0))


def histogram(hits: Sequence[Array], width: float) -> tuple[Array, list[Array]]:
    """``counts`` (C, B), and the bin of every event of each class."""
    bins = [(h / width).astype(np.int64) for h in hits]
    top = max((int(b.max()) for b in bins if len(b)), default=0) + 1
    return np.stack([np.bincount(b, minlength=top) for b in bins]), bins


def matched(hits: Sequence[Array], numbers: Sequence[int], width: float, rng: np.random.Generator) -> list[Array] | None:
    """Rows of each class, ``numbers[c]`` of them, with the same distribution of hits; None where there are not enough.

    ``hits``: N_hit of the events of each class. The distribution is the overlap; each class then takes its number of
    events by systematic sampling of it, so that bins agree but for the rounding of single events.
    """
    shares = [n / sum(numbers) for n in numbers]
    counts, bins = histogram(hits, width)
    target = overlap(counts, shares)
    if target.sum() < sum(numbers):
        return None
    up_to = np.cumsum(target) / target.sum()
    rows = []
    for mine, number, have in zip(bins, numbers, counts, strict=True):
        wanted = _systematic(up_to, number, have)
        order = rng.permutation(len(mine))
        ordered = order[np.argsort(mine[order], kind="stable")]
        rank = np.arange(len(mine)) - (np.cumsum(have) - have)[mine[ordered]]
        rows.append(np.sort(ordered[rank < wanted[mine[ordered]]]))
    return rows


def _systematic(up_to: Array, number: int, have: Array) -> Array:
    """(B,) events to take of each bin, ``number`` in all, as near to the cumulative distribution as whole numbers are."""
    wanted: Array = np.diff(np.r_[0, np.round(up_to * number)]).astype(np.int64)
    # Rounding may ask one bin for an event more than it has; a neighbour gives it.
    for place in np.flatnonzero(wanted > have):
        surplus = wanted[place] - have[place]
        wanted[place] = have[place]
        for other in np.argsort(np.abs(np.arange(len(have)) - place)):
            given = min(surplus, max(0, have[other] - wanted[other]))
            wanted[other] += given
            surplus -= given
    return wanted
