"""Blocks are made by a loop in this process or by Ray Data on a cluster; both call the same function.

"auto" makes the first block here and takes Ray Data for the rest where that is worth the start of its workers.
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from raresearch.data.writing import BlockReport, BlockWriter
from raresearch.errors import DataError, StoreError, Unreadable, UserError, WriteFailed, nearest


@dataclass(frozen=True)
class OnDemand:
    """As "auto", with Ray started by ``session`` only where it is worth it."""

    session: Callable[[], AbstractContextManager[object]]


Engine: TypeAlias = Literal["ray", "local", "auto"] | OnDemand
Progress: TypeAlias = Callable[[int, int], None]

#: what Ray Data takes to start its workers and their imports on two cores; less work than this is done sooner here
START_SECONDS = 10.0

_CROSSING: dict[str, type[UserError]] = {kind.__name__: kind for kind in (DataError, Unreadable, StoreError, WriteFailed)}


def check_engine(engine: Engine) -> None:
    """Raise `UserError` for an unknown engine, or for "ray" and "auto" where Ray has not been initialised."""
    if isinstance(engine, OnDemand):
        return
    if engine not in ("ray", "local", "auto"):
        raise UserError(f"engine {engine!r}", "does not exist", nearest(engine, ("ray", "local", "auto")))
    if engine != "local":
        import ray

        if not ray.is_initialized():
            raise UserError(f"engine {engine!r}", "Ray is not running", "call ray.init() first, or use engine 'local'")


def run_blocks(writer: BlockWriter, engine: Engine, progress: Progress | None = None) -> list[BlockReport]:
    """Make and write every block; ``progress(done, total)`` is called after each. Reports come back ordered by number.

    Raises what `BlockWriter` raises, at the first block that fails; blocks that run then are cancelled.
    """
    reports: list[BlockReport] = []
    with closing(_blocks(writer, engine)) as finished:
        for report in finished:
            reports.append(report)
            if progress is not None:
                progress(len(reports), len(writer))
    return sorted(reports, key=lambda r: r.number)


def _by_loop(writer: BlockWriter, first: int = 0) -> Generator[BlockReport, None, None]:
    for number in range(first, len(writer)):
        yield writer(number)


def _blocks(writer: BlockWriter, engine: Engine) -> Generator[BlockReport, None, None]:
    if engine == "local":
        return _by_loop(writer)
    if engine == "ray":
        return _by_ray(writer)
    return _by_either(writer, engine.session if isinstance(engine, OnDemand) else nullcontext)


def _by_either(
    writer: BlockWriter, session: Callable[[], AbstractContextManager[object]]
) -> Generator[BlockReport, None, None]:
    begun = time.monotonic()
    yield writer(0)
    here = (time.monotonic() - begun) * (len(writer) - 1)
    if here < START_SECONDS:
        yield from _by_loop(writer, 1)
        return
    with session():
        yield from _by_ray(writer, 1)


def _by_ray(writer: BlockWriter, first: int = 0) -> Generator[BlockReport, None, None]:
    import ray.data

    def make(batch: dict[str, Any]) -> dict[str, Any]:
        return {"report": np.array([_outcome(writer, first + int(number)) for number in batch["id"]], dtype=object)}

    n = len(writer) - first
    with quiet_ray_data():
        blocks = ray.data.range(n, override_num_blocks=n).map_batches(make, batch_size=1)
        with closing(iter(blocks.iter_rows())) as rows:
            for row in rows:
                yield BlockReport(**crossed(row["report"]))


def _outcome(writer: BlockWriter, number: int) -> str:
    return crossing(lambda: writer(number).to_json())


def crossing(make: Callable[[], dict[str, Any]]) -> str:
    """What ``make`` gives, or the user's error that it raises, as JSON that `crossed` understands in another process."""
    # A bad block is a value, not an exception: Ray would wrap it in pages of traceback.
    try:
        return json.dumps(make())
    except (DataError, StoreError) as error:
        return json.dumps({"error": type(error).__name__, "message": [error.place, error.rule, error.remedy]})


def crossed(text: str) -> dict[str, Any]:
    """The content of `crossing`; raises the error that it carries."""
    content: dict[str, Any] = json.loads(text)
    if "error" in content:
        raise _CROSSING[content["error"]](*content["message"])
    return content


@contextmanager
def quiet_ray_data() -> Iterator[None]:
    """Ray Data prints bars and log lines of its own; the caller's one live line is enough."""
    from ray.data import DataContext

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Ray 2.60's context warns of its own default fields
        context = DataContext.get_current()
    logger = logging.getLogger("ray.data")
    level, bars = logger.level, context.enable_progress_bars
    logger.setLevel(logging.ERROR)
    context.enable_progress_bars = False
    try:
        yield
    finally:
        logger.setLevel(level)
        context.enable_progress_bars = bars
