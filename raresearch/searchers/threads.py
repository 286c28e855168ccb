"""How many threads a searcher may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for linear algebra: matrices are small, threads make a proposal slower by far (README.md), and trainings
    beside it need the cores. Also, the order of sums, and with it a replayed search, does not depend on the machine's load."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
