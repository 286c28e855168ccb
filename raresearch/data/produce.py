"""Run the blocks, check the whole, write the manifest, land."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from raresearch.data.blocks import Blocks
from raresearch.data.columns import check_schema
from raresearch.data.dataset import FORMAT, MANIFEST, Dataset
from raresearch.data.engines import Engine, Progress, check_engine, run_blocks
from raresearch.data.landing import disk_errors, landing
from raresearch.data.splits import SPLITS, Fractions
from raresearch.data.writing import BlockReport, BlockWriter, make_folders, write_manifest
from raresearch.errors import DataError
from raresearch.experiment import Schema
from raresearch.types import Config


@dataclass(frozen=True)
class Origin:
    """Where a dataset comes from, as its manifest tells it. ``provenance`` says "simulated by" or lists the files."""

    fingerprint: str
    experiment: str
    version: str
    provenance: dict[str, Any]
    config: Config
    seed: int
    fractions: Fractions


def existing(root: Path, fingerprint: str) -> Dataset | None:
    """The landed dataset of this fingerprint, if there is one."""
    path = root / fingerprint
    return Dataset.open(path) if path.exists() else None


def produce(blocks: Blocks, origin: Origin, root: Path, engine: Engine, progress: Progress | None) -> Dataset:
    """Write the dataset of ``origin`` under ``root``. Raises `DataError`, `StoreError`; nothing half-written stays."""
    check_engine(engine)
    schema = blocks.schema
    check_schema(schema)
    with landing(root, origin.fingerprint) as folder:
        with disk_errors(root):
            make_folders(folder)
        reports = run_blocks(BlockWriter(blocks, folder), engine, progress)
        _refuse_one_class(reports, schema, origin.experiment)
        with disk_errors(root):
            write_manifest(folder / MANIFEST, _manifest(reports, blocks, origin))
    return Dataset.open(root / origin.fingerprint)


def _refuse_one_class(reports: list[BlockReport], schema: Schema, name: str) -> None:
    if not schema.signal and not schema.background:
        return  # unlabelled events: to be scored, not to be trained on
    labels = np.sum([r.labels for r in reports], axis=0)
    for split in ("train", "validation"):
        background, signal = labels[SPLITS.index(split)]
        if not background or not signal:
            raise DataError(
                f"{name}: {split}",
                f"has {signal} signal and {background} background events, needs both",
                "use more events or other fractions",
            )


def _manifest(reports: list[BlockReport], blocks: Blocks, origin: Origin) -> dict[str, Any]:
    schema = blocks.schema
    counts = np.sum([r.counts for r in reports], axis=0)
    return {
        "format": FORMAT,
        "fingerprint": origin.fingerprint,
        "experiment": {"name": origin.experiment, "version": origin.version},
        "schema": schema.to_json(),
        "provenance": origin.provenance,
        "config": dict(origin.config),
        "seed": origin.seed,
        "fractions": origin.fractions.to_json(),
        "counts": {s: dict(zip(schema.classes, map(int, counts[i]), strict=True)) for i, s in enumerate(SPLITS)},
        "dropped": sum(r.dropped for r in reports),
        "skipped": list(blocks.skipped),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "raresearch": _version(),
    }


def _version() -> str:
    try:
        return version("raresearch")
    except PackageNotFoundError:
        return "not installed"  # run from a checkout
