"""The order of an epoch, and its batches, read ahead where events lie on disk.

Legend: N training events, B events of a batch, W of a window.

The order is drawn before anything is read: how many threads read, and from where, cannot change it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from raresearch.data.ondisk import Rows
from raresearch.training.columns import Column, Packed
from raresearch.types import Array

RUN = 64  # neighbours that a windowed order takes along: half a megabyte of 64 × 64 images, what a disk reads at full speed
READERS = 2  # threads, and so lots under way besides the one in use
T = TypeVar("T")
R = TypeVar("R")


def whole_batches(window: int, size: int) -> int:
    """``window`` rounded up to whole batches of ``size``.

    >>> whole_batches(1000, 256)
    1024
    """
    return -(-window // size) * size


def epoch_order(rng: np.random.Generator, events: int, window: int = 0, size: int = 1) -> Array:
    """A permutation of N ``events`` (N,) int64.

    ``window`` 0, or one that holds all events: uniform. Else runs of `RUN` neighbours in random order, whose events are
    shuffled within windows of W events: a window is read in runs and not event by event.
    """
    wide = whole_batches(window, size)
    if not window or wide >= events:
        return rng.permutation(events)
    runs = rng.permutation(-(-events // RUN))
    order = (runs[:, None] * RUN + np.arange(RUN)).reshape(-1)
    order = order[order < events]
    for start in range(0, events, wide):
        rng.shuffle(order[start : start + wide])
    return order


def ahead(work: Callable[[T], R], items: Sequence[T], readers: int) -> Iterator[R]:
    """``work`` of each item, in their order, begun by ``readers`` threads before it is asked for."""
    pool = ThreadPoolExecutor(readers, thread_name_prefix="raresearch-read")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > readers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def all_of(events: int) -> slice:
    """A batch of ``events``, whole."""
    return slice(0, events)


def batches(
    columns: Mapping[str, Column],
    order: Array,
    size: int,
    window: int,
    device: torch.device,
    readers: int = READERS,
    share: Callable[[int], slice] = all_of,
) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """(rows (B,), inputs) of each batch of ``size`` in ``order`` (N,); rows are numbers on ``device``.

    ``share``: a batch's number of events → those whose inputs are wanted; the others, which another worker has, are not read.
    """
    rows = torch.from_numpy(order).to(device)
    whole = torch.split(rows, size)
    files = _on_disk(columns)
    if not files:
        for some in whole:
            yield some, {n: c[some[share(len(some))]] for n, c in columns.items()}
        return
    lot = (whole_batches(window, size) if window else size) // size
    parts = [part[share(len(part))] for part in (order[start : start + size] for start in range(0, len(order), size))]
    lots = [parts[start : start + lot] for start in range(0, len(parts), lot)]
    raw = ahead(lambda mine: list(_read(files, mine)), lots, readers)
    for some, read in zip(whole, (batch for lot in raw for batch in lot), strict=True):
        mine = some[share(len(some))]
        yield some, {n: c.ready(read[n]) if isinstance(c, Packed) and n in read else c[mine] for n, c in columns.items()}


def in_turn(
    columns: Mapping[str, Column], starts: Sequence[int], size: int, readers: int = READERS
) -> Iterator[dict[str, torch.Tensor]]:
    """Inputs of the ``size`` events from each of ``starts`` on."""
    files, events = _on_disk(columns), len(next(iter(columns.values())))
    slices = [slice(start, min(start + size, events)) for start in starts]
    if not files:
        for some in slices:
            yield {n: c[some] for n, c in columns.items()}
        return
    numbers = [np.arange(some.start, some.stop) for some in slices]
    for some, read in zip(slices, ahead(lambda mine: next(_read(files, [mine])), numbers, readers), strict=True):
        yield {n: c.ready(read[n]) if isinstance(c, Packed) and n in read else c[some] for n, c in columns.items()}


def _on_disk(columns: Mapping[str, Column]) -> dict[str, Rows]:
    return {n: c.values for n, c in columns.items() if isinstance(c, Packed) and isinstance(c.values, Rows)}


def _read(files: Mapping[str, Rows], parts: Sequence[Array]) -> Iterator[dict[str, Array]]:
    """The stored rows of each of ``parts``, read together."""
    for read in zip(*(each.pieces(parts) for each in files.values()), strict=True):
        yield dict(zip(files, read, strict=True))
