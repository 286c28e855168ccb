"""What grows with a study's size, and what must not.

    python tests/benchmarks/scale.py [--only driver|alone|loop|busy|reading|watching] [--cells 10000] [--json]

driver   tiny cells through `ray_tune` with two workers: seconds a cell and the driver's memory, by tenths of the run
alone    the same, each cell a trial of its own, which is what a driver has most to do for
loop     the same number of packs through the study and the store alone, in this process, landing without training: what
         raresearch's own driver costs, beside Tune's share of the above
busy     cells of two seconds on two workers: which part of the workers' time is spent in cells
watching `watch` and `status` on 2,000 cells x 100 epochs, one repeat that landed cell by cell and ten that landed together, beside
         starting Python with pyarrow and rich
reading  `status` and `report` on a store of 10^6 epoch rows that `raresearch run` has left (10^4 cells trained for 100 epochs each, and a
         report at the end), beside pyarrow reading one Parquet file of the same rows: the report as the run left it (which only finds
         out that nothing has changed), one made anew, one made again from the kept estimates, and one where 100 of 10^4 cells landed
         since (their files are touched: what they say stays the same)

How it came to be so, with what was predicted. The report, of a store filled without a run, 18.8 s at first, then 11.9 s (seconds of
CPU of one run before and one after while the machine was busy, 21.5 s and 16.6 s in all):

comparisons  figures of merit of all configs on one resample in one call, not 121: predicted a tenth of 2.9 s, seen 0.6 s
figures      `savefig` draws each figure once more before each file, for its layout; without it predicted 26 % less, seen 6.3 -> 4.6 s
             of encoding, part of it from the axes of 24 panels of learning curves, which are shared no longer; in all 8.1 -> 6.0 s
evaluation   the arrays of a list of events made once for all cells, no deep copies: no number was predicted, seen 7.0 -> 6.7 s, next
             to nothing

Of a store that a run has left, on two quiet cores, 15.4 s made anew, then 8.5 s:

evaluation   all cells of a list of events in one matrix, DeLong's variances for all rows at once: predicted 3 s less, seen 5.2 -> 2.1 s
figures      encoded by a process beside this one, the largest first: predicted 6.2 s in all, seen 10.0 s, and 8.1 s with the next
             two; with a second and a third such process, on two cores, 8.3 and 8.9 s; without any 11.3 s
TensorBoard  checksums in C (google-crc32c), which took 0.9 s in Python: predicted 0.8 s less, seen 1.6 -> 0.8 s. Found on the way:
             hyperparameters were written in another order by each process
cost sheet   by numbers of cells instead of names: predicted 0.36 -> 0.02 s, seen 0.13 s
PNG          zlib's level 3 instead of 6 would save 0.27 s and cost a tenth in size: not taken

What is left is flat: imports 1.2 s, gathering and evaluating 2.1 s, drawing 1.5 s, encoding 4.3 s, beside it findings 0.4 s and
TensorBoard 0.8 s. Two seconds are out of reach that way.

The driver, packed: memory 148 -> 224 MiB before. Tune holds several copies of what a trial is given, 2 KiB of JSON a cell: as
compressed text predicted 20 MiB less, seen 20. The watch over landings read all cells at each look, in Arrow and as Python objects:
it reads what is new now and keeps nothing; predicted to be the rest, seen: 142 -> 151 MiB. `alone`: 240 MiB after 3,000 cells
before (20 to 25 KiB each, which were taken for Ray's own and were the same watch), now 171 -> 204 MiB after 10,000. There each
new worker read all landings (3 s among 7,500), from an index of its own now, and each lease listed and sorted them: 24 -> 33 ms a
cell over the run before, now 19 -> 26 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import raresearch as rs
from raresearch.api.run import Progress
from raresearch.execution.base import Source, Waiting
from raresearch.report.kept import FILE as REPORT
from raresearch.store.records import CellRecord, epochs_table
from raresearch.store.store import Store
from raresearch.types import Outcome

TINY = """
study: tiny
experiment: toy
seed: 1
fixed: {{data.events: 60, train.epochs: 1, train.batch_size: 21, model.hidden: [1], train.pack: 'off'}}
space: {{train.learning_rate: {{choice: [0.001]}}}}
repeats: {repeats}
split: {{train: 0.4, validation: 0.4, test: 0.2}}
objective: roc_auc
keep: {{weights: none}}
execution: {{backend: ray_tune, workers: 2}}
"""
SLOW = """
import time
from raresearch.testing.toy import Toy


class Slow(Toy):
    name = "slow"

    def forward(self, model, inputs, config):
        if model.training:
            time.sleep(0.01)  # one batch an epoch, 200 epochs: two seconds a cell
        return super().forward(model, inputs, config)
"""
ROWS = (100, 100, 100)  # configs, repeats, epochs
WATCHED = {"one_repeat": (2000, 1, 100), "ten_repeats": (200, 10, 100)}
OFF = ", train.pack: 'off'"
RARESEARCH = [sys.executable, "-m", "raresearch.cli"]


def memory() -> float:
    """MiB that this process holds for itself."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


@dataclass
class Meter:
    """(seconds, cells in, MiB, seconds of this process's CPU) at every change."""

    points: list[tuple[float, int, float, float]] = field(default_factory=list)

    def __call__(self, counts: Any) -> None:
        self.points.append((time.perf_counter(), counts.done + counts.failed, memory(), time.process_time()))

    def tenths(self, total: int) -> dict[str, Any]:
        """Milliseconds a cell in each tenth of the run; the first cells, which pay for the workers' start, left out."""
        start = max(20, total // 100)
        edges = np.linspace(start, total, 11)
        done = np.array([n for _, n, _, _ in self.points])
        at = [self.points[int(np.searchsorted(done, edge))] for edge in edges]
        cost = [1e3 * (b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(at)]
        held = [1024 * (b[2] - a[2]) / (b[1] - a[1]) for a, b in pairwise(at)]
        own = [1e3 * (b[3] - a[3]) / (b[1] - a[1]) for a, b in pairwise(at)]
        return {
            "cells": total,
            "milliseconds_per_cell": [round(c, 2) for c in cost],
            "last_over_first": cost[-1] / cost[0],
            "driver_cpu_milliseconds_per_cell": [round(c, 2) for c in own],
            "driver_cpu_last_over_first": own[-1] / own[0],
            "memory_first_MiB": at[1][2],
            "memory_last_MiB": at[-1][2],
            "KiB_per_cell_by_tenths": [round(c, 1) for c in held],
            "KiB_per_cell": 1024 * (at[-1][2] - at[1][2]) / (at[-1][1] - at[1][1]),
        }


def through_tune(cells: int, folder: Path, packed: bool) -> dict[str, Any]:
    text = TINY.format(repeats=cells)
    (folder / "tiny.yaml").write_text(text.replace(OFF, "") if packed else text)
    meter = Meter()
    study = rs.run(folder / "tiny.yaml", out=folder / "tune", progress=Progress(changed=meter))
    assert study.done() == cells, study.failed()[:3]
    return meter.tenths(cells)


@dataclass
class Landing:
    """An executor that lands a finished record for every cell and trains nothing."""

    store: Store

    def run(self, source: Source) -> None:
        scores = np.zeros((1, 4), np.float32)
        while (pack := source.next_pack()) is not None:
            assert not isinstance(pack, Waiting)
            outcomes = [Outcome(c.key, "done", 1, 1, 0.5, 0.1) for c in pack.cells]
            columns = {n: np.array([0.5]) for n in ("train_loss", "val_loss", "val_accuracy")}
            self.store.land(
                [
                    CellRecord(c, o, columns, {"v": (np.array([1]), scores)}, validation_events="v", test_events="v")
                    for c, o in zip(pack.cells, outcomes, strict=True)
                ]
            )
            source.finished(pack, outcomes)


def landing_only(cells: int, folder: Path) -> dict[str, Any]:
    from raresearch.api.parts import build_parts
    from raresearch.searchers.build import build_searcher
    from raresearch.spec import load
    from raresearch.study import Study

    (folder / "tiny.yaml").write_text(TINY.format(repeats=cells))
    spec = load(folder / "tiny.yaml")
    parts, store, meter = build_parts(spec), Store.create(folder / "loop", "loop", {}), Meter()
    searcher = build_searcher(spec.searcher, spec.space, spec.seed, spec.base_dir, lambda _: [])
    study = Study(spec, parts.experiment, store, searcher, parts.rule, parts.objective, lambda config: "f", on_change=meter)
    study.start()
    Landing(store).run(study)
    return meter.tenths(cells)


def busy(folder: Path, cells: int = 24) -> dict[str, Any]:
    (folder / "slow.py").write_text(SLOW)
    text = TINY.format(repeats=cells).replace("experiment: toy", "experiment: ./slow.py").replace("study: tiny", "study: slow")
    text = text.replace("train.epochs: 1,", "train.epochs: 200,")
    (folder / "slow.yaml").write_text(text)
    meter = Meter()
    study = rs.run(folder / "slow.yaml", out=folder / "busy", progress=Progress(changed=meter))
    seconds = study.cells()["seconds"].to_numpy()
    # From the landing of the first cells on: before that, workers start.
    done = [(t, n) for t, n, *_ in meter.points if n >= 2]
    wall, counted = done[-1][0] - done[0][0], done[-1][1] - done[0][1]
    return {"cells": cells, "seconds_per_cell": float(seconds.mean()), "part_in_cells": counted * seconds.mean() / (2 * wall)}


def reading(folder: Path) -> dict[str, Any]:
    """A study run by the command line, then looked at by it."""
    (folder / "wide.yaml").write_text(_wide(ROWS).replace("weights: none", "scores: all, weights: none"))
    started = _seconds([*RARESEARCH, "run", str(folder / "wide.yaml"), "--out", str(folder / "wide")])
    store = Store.open(folder / "wide")
    pq.write_table(store.epochs(), folder / "one.parquet")
    rows = pq.ParquetFile(folder / "one.parquet").metadata.num_rows
    assert rows == np.prod(ROWS)
    times = {"run": started, **{name: _command(name, store.root) for name in ("status", "report")}}
    again = {f"{name}_again": _command(name, store.root) for name in ("status", "report")}
    again["report_anew"] = _command("report", store.root, "--anew")
    (store.root / "index" / REPORT).unlink()
    again["report_from_kept_estimates"] = _command("report", store.root)
    _touch(next(iter(store.landings())))
    again["report_after_one_landing"] = _command("report", store.root)
    code = f"import pyarrow.parquet as q; q.ParquetFile({str(folder / 'one.parquet')!r}).read()"
    return {"epoch_rows": rows, **times, **again, "pyarrow_reads_one_file": _seconds([sys.executable, "-c", code])}


def watching(folder: Path) -> dict[str, Any]:
    """For each store the first commands without index and remembered values, and the median of five later ones."""
    code = "import pyarrow.parquet, pyarrow.compute, rich.live, click"
    start = float(np.median([_seconds([sys.executable, "-c", code]) for _ in range(5)]))
    found: dict[str, Any] = {"python_with_pyarrow_and_rich": start}
    for shape, rows in WATCHED.items():
        store = _store(_fresh(folder, shape), rows)
        first = {f"{name}_first": _command(name, store.root) for name in ("watch", "status")}
        later = {name: float(np.median([_command(name, store.root) for _ in range(5)])) for name in ("watch", "status")}
        found[shape] = {**first, **later, **{f"{name}_over_start": later[name] / start for name in later}}
    return found


def _store(folder: Path, rows: tuple[int, int, int]) -> Store:
    """A filled store of (configs, repeats, epochs); a config lands at once."""
    (folder / "wide.yaml").write_text(_wide(rows).replace("ray_tune", "local"))
    return _filled(folder, rows)


def _wide(rows: tuple[int, int, int]) -> str:
    """A study of (configs, repeats, epochs)."""
    configs, repeats, epochs = rows
    text = TINY.format(repeats=repeats).replace("{choice: [0.001]}", f"{{choice: {[1e-4 * (i + 1) for i in range(configs)]}}}")
    return text.replace("train.epochs: 1", f"train.epochs: {epochs}").replace(OFF, "")


def _filled(folder: Path, rows: tuple[int, int, int]) -> Store:
    from raresearch.api.parts import about, build_parts, identity
    from raresearch.api.run import Datasets
    from raresearch.spec import load
    from raresearch.study import make_cells
    from raresearch.training.arrays import validation_name
    from raresearch.types import config_id

    spec = load(folder / "wide.yaml")
    parts = build_parts(spec)
    data = Datasets(spec, parts, folder / "wide" / "datasets", "local", lambda done, total: None)
    full = [spec.config(p, parts.experiment) for p in spec.space.grid()]
    fingerprint = data.fingerprint(full[0])
    store = Store.create(
        folder / "wide", identity(spec, parts), about(spec, parts, {config_id(c): str(i) for i, c in enumerate(full)})
    )
    data.keep_events(store)
    validation, test = validation_name(fingerprint, 0, 1), f"{fingerprint}-test"
    sizes = {name: store.events(name).num_rows for name in (validation, test)}
    rng, numbers = np.random.default_rng(1), np.arange(1, rows[2] + 1)
    for config in full:
        records = []
        for cell in make_cells(spec, parts.experiment, config, fingerprint):
            loss = np.sort(rng.random(rows[2]))[::-1]
            columns = {"train_loss": loss, "val_loss": loss + 0.01, "val_accuracy": 1 - loss}
            scores = {n: (numbers, rng.normal(size=(rows[2], size)).astype(np.float32)) for n, size in sizes.items()}
            outcome = Outcome(cell.key, "done", rows[2], rows[2], float(loss[-1]), 1.0)
            records.append(
                CellRecord(cell, outcome, columns, scores, validation_events=validation, test_events=test, pack=cell.key)
            )
        store.land(records)
    assert len(epochs_table(records)) == rows[1] * rows[2]
    return store


def _touch(landing: Path) -> None:
    """As if what lies there had just landed."""
    for path in landing.iterdir():
        path.touch()


def _command(name: str, folder: Path, *options: str) -> float:
    return _seconds([*RARESEARCH, name, str(folder), *options])


def _seconds(line: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _fresh(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["driver", "alone", "loop", "busy", "reading", "watching"])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {
            "loop": lambda: landing_only(asked.cells, folder),
            "driver": lambda: through_tune(asked.cells, _fresh(folder, "driver"), packed=True),
            "alone": lambda: through_tune(asked.cells, _fresh(folder, "alone"), packed=False),
            "busy": lambda: busy(folder),
            "reading": lambda: reading(_fresh(folder, "reading")),
            "watching": lambda: watching(_fresh(folder, "watching")),
        }
        for part in [asked.only] if asked.only else list(parts):
            results[part] = parts[part]()
            if not asked.json:
                print(part, json.dumps(results[part], indent=1), flush=True)
    if asked.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
