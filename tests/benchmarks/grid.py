"""How much faster is a grid with an epoch axis here than as one Ray Tune trial a cell?

    python tests/benchmarks/grid.py --json

Contenders, one after another in this process, on the same simulated XENON1T pictures, folds, budgets and records (losses,
validation accuracy, scores of every validation event after every epoch):

  ours    the cells of the demo grid on Ray Tune's reused actors, budgets read off the longest training, landed in a store
  same    Ray Tune, one trial a cell, reuse_actors=True: a plain loop with the very network of `ours`
  plain   the same with the network as the paper draws it: convolution, leaky ReLU, pooling, pictures as they lie in memory

All start when the first training begins and end with the last. A part of the grid can be taken (`--layers`, `--batches`,
`--folds`), with the demo's five budgets for every training. That is not the ratio of the whole: ours are few long trainings, so of
three on two workers the last one trains while the other worker waits, a quarter of the time; of the demo's 27 it is a 27th.
`--against same` leaves `plain` out.

Seen with two workers, quiet, three depths and two folds (30 cells): 59 s; `same` 177 s, 3.0 times as long; `plain` 339 s, 5.7 times.
So against the very same network only the prefix rule speaks, which at the demo's budgets (5, 10, 15, 20, 25) is 75 epochs for 25, or
3.0; against the network as one would write it, its order in memory does, too: with colours last, as ours has them, the first
convolution of 20 pictures takes 2.1 ms instead of 14.8 on that machine's processor and its pooling 1.0 instead of 11. How much
that is hangs on the processor: on another machine, with an earlier state of this package, `plain` took 3.1 times as long as ours.

Predicted had been 4 against `same`, then 3.0 to 3.4, and 2.1 seen. Looked into with a sampling profiler: a pack of one training went
through the stack all the same (its bits must not hang on the pack's size), where scoring took 27 % of the time instead of 14 %, and
a tenth went into the probes before the first step. Now networks whose convolutions fill a core are told apart by what one step
keeps, and trained alone (raresearch/training/kernels.py): an epoch then takes as long as in the loop of `same` (0.66 to 0.72 s each).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from packs import Packs, Timed, plain
from torch import nn

from raresearch.api.parts import build_parts
from raresearch.api.run import Datasets, Progress
from raresearch.data.residence import Residence
from raresearch.execution.ray_session import ray_session
from raresearch.execution.ray_tune import RayTuneExecutor, share
from raresearch.execution.worker import WorkContext
from raresearch.planner import plan_packs
from raresearch.spec import StudySpec, load
from raresearch.store.store import Store
from raresearch.study import make_cells
from raresearch.training.arrays import FoldData, fold_data
from raresearch.training.lanes import FoldTensors
from raresearch.training.policy import Keep
from raresearch.types import Cell

STUDY = Path(__file__).resolve().parents[2] / "search_spaces" / "xenon1t_grid.yaml"


def chosen(options: argparse.Namespace) -> StudySpec:
    layers = {f"{n}": n for n in range(1, options.layers + 1)}
    batches = dict(zip(("20", "40", "60"), (20, 40, 60), strict=True))
    axes = [
        f"space.model.layers={{choice: {json.dumps(layers)}}}",
        f"space.train.batch_size={{choice: {json.dumps(dict(list(batches.items())[: options.batches]))}}}",
        f"folds={options.folds}",
    ]
    return load(STUDY, scale="demo", sets=axes)


def grid(spec: StudySpec, experiment: Any, fingerprint: str) -> list[Cell]:
    configs = [spec.config(point, experiment) for point in spec.space.grid()]
    return [cell for config in configs for cell in make_cells(spec, experiment, config, fingerprint)]


def ours(spec: StudySpec, experiment: Any, datasets: Datasets, cells: list[Cell], workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as marks:
        Store.create(folder, "benchmark", {})
        handles = Timed(share(datasets.loaded, datasets.root, Residence("resident")), Path(marks))
        context = WorkContext(Path(folder), experiment, handles, spec.seed, spec.folds, Keep(all_scores=True), workers=workers)
        source = Packs(plan_packs(cells, workers))
        RayTuneExecutor(context, workers).run(source)
        first = min(float(p.read_text()) for p in Path(marks).iterdir())
        last = max(p.stat().st_mtime for p in (Path(folder) / "cells").rglob("*.parquet"))
    if source.done != len(cells):
        raise RuntimeError(f"{source.done} of {len(cells)} cells done")
    return last - first


class Drawn(nn.Module):
    """The paper's network as it is drawn, from the parameters of ours."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for convolution in net.convolutions:
            steps += [convolution, nn.LeakyReLU(net.leak), nn.MaxPool2d(2, net.stride)]
        self.body = nn.Sequential(*steps, nn.Dropout(net.rates[0]), nn.Flatten(), net.dense, nn.LeakyReLU(net.leak))
        self.head = nn.Sequential(nn.Dropout(net.rates[1]), net.out)
        self.penalty: Callable[[], torch.Tensor] = net.penalty

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logit: torch.Tensor = self.head(self.body(x / 255.0))
        return torch.cat([logit, self.penalty().expand_as(logit)], dim=1)


def one_cell(cell: Cell, data: FoldData, experiment: Any, drawn: bool) -> list[Any]:
    """A plain loop over one cell, with the record of every epoch."""
    from raresearch.experiment import Batch

    fold = FoldTensors.of(data, cell.config, torch.device("cpu"))
    torch.manual_seed(cell.seed)
    model = experiment.model(cell.config)
    model = Drawn(model) if drawn else model
    optimizer = torch.optim.Adam(model.parameters(), lr=float(str(cell.config["train.learning_rate"])))
    train, validation, record = plain(fold.train), plain(fold.validation), []
    for _ in range(cell.epochs):
        total = 0.0
        model.train()
        for rows in torch.split(torch.randperm(len(fold.train.label)), int(str(cell.config["train.batch_size"]))):
            inputs = {n: t[rows] for n, t in train.items()}
            optimizer.zero_grad()
            output = experiment.forward(model, inputs, cell.config)
            loss = experiment.loss(output, Batch(inputs, fold.train.label[rows], fold.train.weight[rows]), cell.config)
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        model.eval()
        with torch.no_grad():
            output = torch.cat([experiment.forward(model, part, cell.config) for part in _parts(validation)])
            judged = Batch(validation, fold.validation.label, fold.validation.weight)
            loss = experiment.loss(output, judged, cell.config)
            right = ((output[:, 0] > 0) == (fold.validation.label > 0.5)).float().mean()
        record.append((total, float(loss), float(right), output[:, 0].numpy().copy()))
    return record


def _parts(inputs: Any, size: int = 512) -> list[dict[str, torch.Tensor]]:
    n = len(next(iter(inputs.values())))
    return [{name: t[start : start + size] for name, t in inputs.items()} for start in range(0, n, size)]


def tune_one_a_cell(
    spec: StudySpec, experiment: Any, datasets: Datasets, cells: list[Cell], workers: int, drawn: bool
) -> float:
    import ray
    from ray import tune

    (loaded,) = datasets.loaded.values()
    folds = [ray.put(fold_data(loaded, fold, spec.folds, spec.seed)) for fold in range(spec.folds)]

    def trial(values: dict[str, Any]) -> None:
        started = time.time()
        torch.set_num_threads(1)
        cell = cells[values["cell"]]
        record = one_cell(cell, ray.get(folds[cell.fold]), experiment, drawn)
        tune.report({"loss": record[-1][1], "begin": started, "end": time.time()})

    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            param_space={"cell": tune.grid_search(list(range(len(cells))))},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=workers),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        frame = [r.metrics for r in tuner.fit()]
    return float(max(m["end"] for m in frame) - min(m["begin"] for m in frame))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2, help="depths 1 … LAYERS")
    parser.add_argument("--batches", type=int, default=1)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--against", nargs="+", choices=["same", "plain"], default=["same", "plain"])
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    spec = chosen(options)
    parts = build_parts(spec)
    with ray_session(None, options.workers), tempfile.TemporaryDirectory() as folder:
        datasets = Datasets(spec, parts, Path(folder), "local", Progress().preparing)
        fingerprint = datasets.fingerprint(spec.config(next(iter(spec.space.grid())), parts.experiment))
        cells = grid(spec, parts.experiment, fingerprint)
        common = (spec, parts.experiment, datasets, cells, options.workers)
        contenders: dict[str, Callable[[], float]] = {
            "ours": lambda: ours(*common),
        }
        for other in options.against:
            contenders[other] = partial(tune_one_a_cell, *common, drawn=other == "plain")
        rounds = [{name: run() for name, run in contenders.items()} for _ in range(options.rounds)]
    result: dict[str, Any] = {f"seconds_{n}": statistics.median(r[n] for r in rounds) for n in contenders}
    for other in options.against:
        result[f"speedup_over_tune_{other}"] = statistics.median(r[other] / r["ours"] for r in rounds)
    result["conditions"] = {**vars(options), "cells": len(cells), "load": os.getloadavg()[0]}
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
