"""`predict`: new events in, one Parquet file of scores out."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raresearch.data.engines import check_engine
from raresearch.deploy.inputs import Source, open_source
from raresearch.deploy.on_ray import scored_by_ray
from raresearch.deploy.scorer import Scorer
from raresearch.errors import DataError
from raresearch.store.files import make_folder, write_atomic
from raresearch.types import Array

#: ``accepted`` is null where no threshold is fixed
SCORES = pa.schema([("event_id", pa.int64()), ("score", pa.float64()), ("accepted", pa.bool_())])
ROWS = 1 << 18  # of a row group
METADATA = b"raresearch"  # key of the file's metadata: what scored which files


@dataclass(frozen=True)
class Predicted:
    """What was written. ``accepted`` is None where no threshold is fixed; ``dropped`` rows were not finite (`missing: drop`)."""

    path: Path
    events: int
    accepted: int | None
    threshold: float | None
    dropped: int

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path)}


def predict(
    scorer: Scorer,
    files: Sequence[Path | str],
    out: Path | str,
    *,
    mapping: Mapping[str, Any] | None = None,
    threshold: float | None = None,
    engine: Literal["ray", "local"] = "local",
    progress: Callable[[int, int], None] | None = None,
) -> Predicted:
    """Score every event of ``files`` (see `inputs.open_source`) into the Parquet file ``out``: event_id, score, accepted.

    ``threshold`` replaces the ensemble's own, and the file's metadata says so. Rows stand in the order of the files; with
    engine "ray" blocks are read and scored by Ray Data's workers. Raises `DataError` for events that do not fit, ids that
    occur twice or a threshold outside [0, 1], `StoreError` where ``out`` cannot be written; nothing half-written stays.
    """
    check_engine(engine)
    cut = _cut(scorer, threshold)
    source, out = open_source(files, mapping, scorer.inputs), Path(out)
    origin = {**scorer.origin, "threshold in use": cut, "files": source.provenance()}
    blocks = scored_by_ray(scorer, source) if engine == "ray" else _scored_here(scorer, source)
    made = _Writing(cut, progress or (lambda done, total: None), len(source))
    make_folder(out.parent)
    with closing(blocks):
        write_atomic(out, lambda path: made.write(path, blocks, origin))
    return Predicted(out, made.events, None if cut is None else made.accepted, cut, made.dropped)


def _cut(scorer: Scorer, threshold: float | None) -> float | None:
    if threshold is None:
        return scorer.threshold
    if not 0.0 <= threshold <= 1.0:
        raise DataError(f"threshold {threshold:g}", "scores lie in 0 … 1", "give a threshold in that range")
    return float(threshold)


def _scored_here(scorer: Scorer, source: Source) -> Generator[ScoredBlock, None, None]:
    for number in range(len(source)):
        yield score_block(scorer, source, number)


@dataclass(frozen=True)
class ScoredBlock:
    """``event_id`` (N,) int64 and ``score`` (N,) float64 of block ``number``."""

    number: int
    event_id: Array
    score: Array
    dropped: int


def score_block(scorer: Scorer, source: Source, number: int) -> ScoredBlock:
    """Read and score one block, in whatever process."""
    events = source.read(number)
    return ScoredBlock(number, events.event_id, scorer.score(events.inputs), events.dropped)


@dataclass
class _Writing:
    """Puts blocks into one file in their order, whatever the order they come in."""

    cut: float | None
    progress: Callable[[int, int], None]
    total: int
    events: int = 0
    accepted: int = 0
    dropped: int = 0
    _waiting: dict[int, ScoredBlock] = field(default_factory=dict)
    _ids: list[Array] = field(default_factory=list)

    def write(self, path: Path, blocks: Generator[ScoredBlock, None, None], origin: Mapping[str, Any]) -> None:
        schema = SCORES.with_metadata({METADATA: json.dumps(origin, sort_keys=True).encode()})
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for done, block in enumerate(blocks, start=1):
                self._waiting[block.number] = block
                for ready in self._in_order():
                    writer.write_table(self._table(ready).cast(schema), row_group_size=ROWS)
                self.progress(done, self.total)
        _refuse_twice(np.concatenate(self._ids) if self._ids else np.empty(0, np.int64))

    def _in_order(self) -> Generator[ScoredBlock, None, None]:
        while len(self._ids) in self._waiting:
            block = self._waiting.pop(len(self._ids))
            self._ids.append(block.event_id)
            yield block

    def _table(self, block: ScoredBlock) -> pa.Table:
        n = len(block.event_id)
        accepted = pa.nulls(n, pa.bool_()) if self.cut is None else pa.array(block.score >= self.cut)
        self.events, self.dropped = self.events + n, self.dropped + block.dropped
        self.accepted += 0 if self.cut is None else int((block.score >= self.cut).sum())
        return pa.table({"event_id": block.event_id, "score": block.score, "accepted": accepted})


def _refuse_twice(ids: Array) -> None:
    unique = np.unique(ids)
    if len(unique) < len(ids):
        raise DataError(
            "event_id", f"{len(ids) - len(unique)} ids occur more than once", "leave `event_id` out to number the rows"
        )


def origin_of(path: Path | str) -> dict[str, Any]:
    """What a file of scores says of itself: ensemble, threshold in use, files. Raises `DataError` for another file."""
    metadata = pq.read_schema(path).metadata or {}
    if METADATA not in metadata:
        raise DataError(str(path), "is no file of scores that raresearch wrote")
    return dict(json.loads(metadata[METADATA]))
