"""Blocks scored by Ray Data: each task reads a block, scores it, and sends back ids and scores."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from raresearch.data.engines import quiet_ray_data
from raresearch.errors import DataError, PluginError, StoreError, UserError

if TYPE_CHECKING:
    from raresearch.deploy.inputs import Source
    from raresearch.deploy.predict import ScoredBlock
    from raresearch.deploy.scorer import Scorer

_CROSSING: dict[str, type[UserError]] = {kind.__name__: kind for kind in (DataError, StoreError, PluginError)}


def scored_by_ray(scorer: Scorer, source: Source) -> Generator[ScoredBlock, None, None]:
    """The blocks of ``source``, as they are done. Raises what scoring raises, at the first block that fails."""
    import ray
    import ray.data

    from raresearch.deploy.predict import ScoredBlock

    shared = ray.put((scorer, source))  # once for the cluster, not once for each task

    def score(batch: dict[str, Any]) -> dict[str, Any]:
        rows = [_outcome(shared, int(number)) for number in batch["id"]]
        return {key: np.array([row[key] for row in rows], dtype=object) for key in ("report", "ids", "scores")}

    n = len(source)
    with quiet_ray_data():
        blocks = ray.data.range(n, override_num_blocks=n).map_batches(score, batch_size=1)
        with closing(iter(blocks.iter_rows())) as rows:
            for row in rows:
                report = json.loads(row["report"])
                if "error" in report:
                    raise _CROSSING[report["error"]](*report["message"])
                ids, scores = np.frombuffer(row["ids"], np.int64), np.frombuffer(row["scores"], np.float64)
                yield ScoredBlock(report["number"], ids, scores, report["dropped"])


@lru_cache(maxsize=1)
def _fetched(shared: Any) -> tuple[Scorer, Source]:
    """A worker's own copy: networks are built and sessions opened once a process, which Ray uses for many blocks."""
    import ray

    return ray.get(shared)  # type: ignore[no-any-return]


def _outcome(shared: Any, number: int) -> dict[str, Any]:
    from raresearch.deploy.predict import score_block

    # A bad block is a value, not an exception: Ray Data would wrap it in pages of traceback.
    try:
        block = score_block(*_fetched(shared), number)
    except (DataError, StoreError, PluginError) as error:
        content = {"error": type(error).__name__, "message": [error.place, error.rule, error.remedy]}
        return {"report": json.dumps(content), "ids": b"", "scores": b""}
    report = json.dumps({"number": number, "dropped": block.dropped})
    return {"report": report, "ids": block.event_id.astype(np.int64).tobytes(), "scores": block.score.tobytes()}
