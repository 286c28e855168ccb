"""What raresearch itself costs, apart from training.

    python tests/benchmarks/overhead.py [--cells 100] [--json]

Empty cells (a network of one weight, few events, one epoch) through `ray_tune` after start-up, packed and one a trial, beside
Ray Tune alone running functions that do nothing; epoch rows a second into the store, beside one plain Parquet file of the same
rows; the seconds of `import raresearch` beside `import numpy`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import raresearch as rs
from raresearch.store.records import CellRecord
from raresearch.store.store import Store
from raresearch.types import Cell, Outcome

STUDY = """
study: empty
experiment: toy
seed: 1
fixed: {{data.events: 60, train.epochs: 1, train.batch_size: 21, model.hidden: [1], train.pack: {pack}}}
space: {{train.learning_rate: {{choice: [0.001]}}}}
repeats: {repeats}
split: {{train: 0.4, validation: 0.4, test: 0.2}}
objective: roc_auc
execution: {{backend: ray_tune, workers: 2}}
"""


def empty_cells(count: int, pack: str) -> dict[str, float]:
    """Milliseconds a cell: the seconds of a study of five times ``count`` cells less those of one of ``count``, so that the start of
    Ray, of the workers and the end of the study are left out. ``pack``: "auto", or "off" for one cell a trial."""
    _study_seconds(2, pack)  # the first study of a machine pays for cold files
    few, many = (_study_seconds(n, pack) for n in (count, 5 * count))
    return {
        "milliseconds_per_cell": 1e3 * (many - few) / (4 * count),
        "milliseconds_per_cell_with_start": 1e3 * many / (5 * count),
        "cells": 5 * count,
    }


def _study_seconds(count: int, pack: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.yaml"
        path.write_text(STUDY.format(repeats=count, pack=pack))
        started = time.perf_counter()
        study = rs.run(path, out=Path(folder) / "run")
        wall = time.perf_counter() - started
        assert study.done() == count, study.failed()
    return wall


def tune_alone(count: int) -> float:
    """Milliseconds a trial of Ray Tune with reused actors and a function that reports one number."""
    import ray
    from ray import tune

    from raresearch.execution.ray_session import ray_session

    def nothing(config: dict[str, float]) -> None:
        tune.report({"loss": config["x"]})

    with ray_session(None, 2), tempfile.TemporaryDirectory() as folder:
        assert ray.is_initialized()
        tuner = tune.Tuner(
            tune.with_resources(nothing, {"cpu": 1}),
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=count, reuse_actors=True, max_concurrent_trials=2),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[]),
        )
        started = time.perf_counter()
        tuner.fit()
        return 1e3 * (time.perf_counter() - started) / count


def records(cells: int, epochs: int) -> list[CellRecord]:
    rng = np.random.default_rng(0)
    made = []
    for seed in range(cells):
        cell = Cell({"model.hidden": (8,)}, 0, seed, epochs, {"experiment": "none"})
        columns = {name: rng.random(epochs) for name in ("train_loss", "val_loss", "val_accuracy")}
        made.append(CellRecord(cell, Outcome(cell.key, "done", epochs, 1, 0.1, 1.0), columns))
    return made


def epoch_rows(cells: int = 100, epochs: int = 1000) -> dict[str, float]:
    """Rows a second: landed by the store in packs of 100 cells, and as one Parquet file that knows no cells."""
    made = records(cells, epochs)
    rows = cells * epochs
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "store", "benchmark", {})
        started = time.perf_counter()
        store.land(made)
        ours = time.perf_counter() - started
        columns = {n: np.concatenate([r.epochs[n] for r in made]) for n in made[0].epochs}
        started = time.perf_counter()
        pq.write_table(pa.table(columns), Path(folder) / "plain.parquet")
        plain = time.perf_counter() - started
        started = time.perf_counter()
        for record in made:
            Store(store.root).land([CellRecord(**{**record.__dict__, "worker": "alone"})])
        singly = time.perf_counter() - started
    return {"rows_per_second": rows / ours, "rows_per_second_cell_by_cell": rows / singly, "plain_parquet": rows / plain}


def import_seconds(module: str, times: int = 5) -> float:
    """Median seconds of a fresh interpreter importing ``module``, less the interpreter's own start."""

    def run(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    bare = statistics.median(run("pass") for _ in range(times))
    return statistics.median(run(f"import {module}") for _ in range(times)) - bare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    alone = tune_alone(arguments.cells)
    kinds = {
        "empty_cells_in_packs": empty_cells(arguments.cells, "auto"),
        "empty_cells_one_a_trial": empty_cells(arguments.cells // 5, "off"),
    }
    result = {
        "import_raresearch_seconds": import_seconds("raresearch"),
        "import_numpy_seconds": import_seconds("numpy"),
        "epoch_rows": epoch_rows(),
        **{k: {**each, "ratio_to_ray_tune_alone": each["milliseconds_per_cell"] / alone} for k, each in kinds.items()},
        "ray_tune_alone_milliseconds_per_trial": alone,
    }
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
