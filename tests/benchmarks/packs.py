"""How much faster are packed cells than the ways a study would be trained otherwise?

    python tests/benchmarks/packs.py --models 4A,4C --repeats 100 --json

Contenders, one after another in this process, on the same simulated PandaX-II events, with the same epochs and the same
record of every epoch (losses, validation accuracy, scores of every validation and test event):

  ours    packs on Ray Tune's reused actors, one worker a core, records landed in a store; from the first pack's start to the
          last landing (`wall` has the actors' start too, as long as a small training)
  tune    Ray Tune, one trial a seed, the plain loop below, reuse_actors=True; from its first trial's start to its last's end
  loop    a plain sequential PyTorch loop, `torch.optim.Adam` as it comes, with one thread and with one a core: the faster counts
  vmap    `torch.func.vmap` of the gradient and one Adam over the stacked parameters, nothing else (for small networks)

The slow ones train some of the repeats only and are scaled by the number of trainings (`--subset`): their time a training
does not depend on how many there are. Numbers are medians over `--rounds` of the ratio within a round. `--growth` prints the
time a member and step against the pack's width instead. On a GPU (`--device cuda`) `ours` and the loop run there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from raresearch.data.dataset import Events
from raresearch.data.residence import Residence
from raresearch.execution.base import Waiting
from raresearch.execution.ray_session import ray_session
from raresearch.execution.ray_tune import RayTuneExecutor, share
from raresearch.execution.worker import WorkContext
from raresearch.experiment import parameters
from raresearch.experiments.pandax2.experiment import PandaX2
from raresearch.planner import plan_packs
from raresearch.store.store import Store
from raresearch.training.arrays import FoldData, Loaded, fold_data
from raresearch.training.lanes import FoldTensors, Lane
from raresearch.training.layers import read_layers
from raresearch.training.mlp import MlpStack
from raresearch.training.policy import Keep
from raresearch.training.scoring import Split
from raresearch.training.single import build_model
from raresearch.types import Cell, Outcome, Pack

MODELS: Mapping[str, tuple[int, ...]] = {
    "4A": (32, 16, 8, 8),
    "4B": (32, 16, 16, 8),
    "4C": (32, 32, 16, 8),
    "4D": (128, 128, 64, 32),
    "4E": (512, 512, 256, 256),
    "5A": (32, 16, 8, 8, 8),
    "5B": (32, 16, 16, 8, 8),
    "5C": (32, 32, 16, 8, 8),
    "5D": (32, 32, 16, 16, 8),
    "5E": (128, 128, 64, 32, 16),
    "5F": (512, 512, 256, 256, 128),
    "6A": (32, 16, 16, 8, 8, 8),
    "6B": (32, 32, 16, 16, 8, 8),
    "6C": (32, 32, 16, 16, 16, 8),
    "7A": (32, 16, 16, 16, 12, 12, 12),
    "7B": (32, 32, 16, 16, 16, 8, 8),
    "7C": (32, 32, 16, 16, 12, 12, 8),
    "7D": (32, 32, 16, 16, 16, 12, 12),
}
EXPERIMENT = PandaX2()


def simulated(count: int) -> Loaded:
    """``count`` events, split 80 : 10 : 10."""
    drawn = EXPERIMENT.simulate(parameters(EXPERIMENT), np.random.default_rng(7), count)
    label = EXPERIMENT.schema().labels(drawn["class"], drawn.get("spectator"))
    bounds = (0, int(0.8 * count), int(0.9 * count), count)

    def part(number: int, sealed: bool = False) -> Events:
        rows = slice(bounds[number], bounds[number + 1])
        n = bounds[number + 1] - bounds[number]
        known = (None, None, None) if sealed else (label[rows], drawn["class"][rows].astype(np.int8), np.ones(n))
        return Events(np.arange(n), {"features": drawn["features"][rows]}, {}, *known)

    return Loaded("benchmark", part(0), part(1), part(2, sealed=True))


def cells(model: str, seeds: range, options: argparse.Namespace) -> list[Cell]:
    config = {
        **parameters(EXPERIMENT),
        "model.hidden": MODELS[model],
        "train.epochs": options.epochs,
        "train.batch_size": options.batch,
        "train.scaling": "minmax",
    }
    identity = {"experiment": EXPERIMENT.name, "data": "benchmark"}
    return [Cell(config, 0, seed, options.epochs, identity) for seed in seeds]


# -- ours


@dataclass
class Packs:
    """A `raresearch.execution.Source` of given packs."""

    waiting: list[Pack]
    running: int = 0
    done: int = 0

    def next_pack(self) -> Pack | Waiting | None:
        if self.waiting:
            self.running += 1
            return self.waiting.pop()
        return Waiting() if self.running else None

    def finished(self, pack: Pack, outcomes: Sequence[Outcome]) -> None:
        self.running -= 1
        self.done += sum(o.state == "done" for o in outcomes)

    def noted(self, text: str) -> None:
        raise RuntimeError(f"not expected here: {text}")

    def crashed(self, pack: Pack, reason: str, refused: object = None) -> None:
        raise RuntimeError(reason)


@dataclass
class Timed:
    """Handles that note when a worker first asks for data."""

    handles: Any
    folder: Path

    def load(self, fingerprint: str) -> Loaded:
        mark = self.folder / f"started-{os.getpid()}"
        if not mark.exists():
            mark.write_text(repr(time.time()))
        loaded: Loaded = self.handles.load(fingerprint)
        return loaded


def ours(model: str, data: Loaded, options: argparse.Namespace, walls: list[float]) -> float:
    """Seconds a training; ``walls`` gets those with the actors' start."""
    chosen = cells(model, range(options.repeats), options)
    gpus = 1.0 if options.device == "cuda" else 0.0
    workers = 1 if gpus else options.workers
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as marks:
        Store.create(folder, "benchmark", {})
        handles = Timed(share({"benchmark": data}, Path(folder), Residence("resident")), Path(marks))
        context = WorkContext(Path(folder), EXPERIMENT, handles, 1, 1, Keep(), workers=workers, gpus=gpus)
        source = Packs(plan_packs(chosen, workers))
        started = time.perf_counter()
        RayTuneExecutor(context, workers, 1, gpus).run(source)
        walls.append((time.perf_counter() - started) / len(chosen))
        first = min(float(p.read_text()) for p in Path(marks).iterdir())
        last = max(p.stat().st_mtime for p in (Path(folder) / "cells").rglob("*.parquet"))
    if source.done != len(chosen):
        raise RuntimeError(f"{source.done} of {len(chosen)} cells done")
    return (last - first) / len(chosen)


# -- the others


def plain(split: Split) -> dict[str, torch.Tensor]:
    """The inputs of all events at once, as a loop of one's own would hold them: no work on them is left for a batch."""
    return {name: column[:] for name, column in split.inputs.items()}


def plain_loop(fold: FoldTensors, hidden: tuple[int, ...], seed: int, epochs: int, batch: int) -> list[Any]:
    """What a physicist would write: one network, mini-batches by index, Adam, scores of every epoch."""
    torch.manual_seed(seed)
    model = network(hidden).to(fold.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_of = nn.BCEWithLogitsLoss()
    (x,), y = plain(fold.train).values(), fold.train.label
    (xv,), (xt,) = plain(fold.validation).values(), plain(fold.test).values()
    yv, counted = fold.validation.label, fold.validation.counted
    record = []
    for _ in range(epochs):
        total = 0.0
        model.train()
        for rows in torch.split(torch.randperm(len(x), device=x.device), batch):
            optimizer.zero_grad()
            loss = loss_of(model(x[rows]).squeeze(-1), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        model.eval()
        with torch.no_grad():
            z, zt = model(xv).squeeze(-1), model(xt).squeeze(-1)
            right = ((z > 0) == (yv > 0.5))[counted].float().mean()
            record.append(
                (float(total), float(loss_of(z[counted], yv[counted])), float(right), z.cpu().numpy(), zt.cpu().numpy())
            )
    return record


def network(hidden: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip((13, *hidden), hidden, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], 1))


def loop(model: str, fold: FoldTensors, options: argparse.Namespace) -> float:
    times = []
    for threads in {1, options.workers}:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        for seed in range(options.subset):
            plain_loop(fold, MODELS[model], seed, options.epochs, options.batch)
        times.append((time.perf_counter() - started) / options.subset)
    return float(min(times))


def tune_one_a_seed(model: str, data: FoldData, options: argparse.Namespace) -> float:
    """Seconds a training, from the start of the first trial to the end of the last: the actors' own start is not counted."""
    import ray
    from ray import tune

    reference, hidden, epochs, batch = ray.put(data), MODELS[model], options.epochs, options.batch
    config = cells(model, range(1), options)[0].config
    trials = max(options.subset, 2 * options.workers)

    def trial(values: dict[str, Any]) -> None:
        started = time.time()
        torch.set_num_threads(1)
        fold = FoldTensors.of(ray.get(reference), config, torch.device("cpu"))
        record = plain_loop(fold, hidden, values["seed"], epochs, batch)
        tune.report({"loss": record[-1][1], "begin": started, "end": time.time()})

    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            param_space={"seed": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=options.workers),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        frame = [r.metrics for r in tuner.fit()]
    return float((max(m["end"] for m in frame) - min(m["begin"] for m in frame)) / trials)


def naive_vmap(model: str, fold: FoldTensors, options: argparse.Namespace) -> float:
    """Seconds a training; two epochs are trained and scaled."""
    members = [network(MODELS[model]) for _ in range(options.repeats)]
    state, _ = torch.func.stack_module_state(members)
    state = {n: t.detach().requires_grad_() for n, t in state.items()}
    optimizer = torch.optim.Adam(state.values(), lr=1e-3)
    (x,), y = plain(fold.train).values(), fold.train.label

    def loss(weights: Any, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        output = torch.func.functional_call(members[0], weights, (inputs,)).squeeze(-1)
        return functional.binary_cross_entropy_with_logits(output, labels)

    started = time.perf_counter()
    for _ in range(2):
        orders = torch.stack([torch.randperm(len(x)) for _ in members])
        for rows in torch.split(orders, options.batch, 1):
            optimizer.zero_grad()
            torch.func.vmap(loss)(state, x[rows], y[rows]).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return float((time.perf_counter() - started) * options.epochs / 2 / options.repeats)


def growth(model: str, data: FoldData, options: argparse.Namespace) -> list[tuple[int, float]]:
    """(members at a time, microseconds a member and step) on one core."""
    torch.set_num_threads(1)
    found = []
    for width in (1, 2, 4, 8, 16, 32, 64, 100):
        chosen = cells(model, range(width), options)
        fold = FoldTensors.of(data, chosen[0].config, torch.device(options.device))
        lanes = [Lane.of(c, fold, 1) for c in chosen]
        models = [build_model(lane, EXPERIMENT, 1) for lane in lanes]
        stack = MlpStack(read_layers(models[0]) or (), lanes, models)
        stack.epoch()
        times = []
        for _ in range(options.rounds):
            started = time.perf_counter()
            stack.epoch()
            times.append(time.perf_counter() - started)
        found.append((width, 1e6 * min(times) / width / -(-len(fold.train) // options.batch)))
    return found


def measured(model: str, data: Loaded, options: argparse.Namespace) -> dict[str, float]:
    """Seconds a training and ratios, medians over the rounds."""
    arrays = fold_data(data, 0, 1, 1)
    fold = FoldTensors.of(arrays, cells(model, range(1), options)[0].config, torch.device(options.device))
    walls: list[float] = []
    contenders: dict[str, Callable[[], float]] = {
        "ours": lambda: ours(model, data, options, walls),
        "loop": lambda: loop(model, fold, options),
    }
    if options.device == "cpu":
        contenders["ray_tune"] = lambda: tune_one_a_seed(model, arrays, options)
        if max(MODELS[model]) <= 64:
            contenders["vmap"] = lambda: naive_vmap(model, fold, options)
    contenders = {name: run for name, run in contenders.items() if name in options.contenders.split(",")}
    rounds = [{name: run() for name, run in contenders.items()} for _ in range(options.rounds)]
    result = {f"seconds_{n}": statistics.median(r[n] for r in rounds) for n in contenders}
    result["seconds_ours_wall"] = statistics.median(walls)
    for other in contenders:
        if other != "ours":
            result[f"speedup_over_{other}"] = statistics.median(r[other] / r["ours"] for r in rounds)
    return {name: float(f"{value:.4g}") for name, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="4A,4C")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--subset", type=int, default=3, help="trainings of the slow contenders")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--contenders", default="ours,loop,ray_tune,vmap")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU at hand: nothing was measured")
    data = simulated(options.events)
    names = options.models.split(",")
    if options.growth:
        result: dict[str, Any] = {m: growth(m, fold_data(data, 0, 1, 1), options) for m in names}
    else:
        with ray_session(None, options.workers):
            result = {m: measured(m, data, options) for m in names}
    result["conditions"] = {
        **{k: getattr(options, k) for k in ("repeats", "epochs", "events", "batch", "subset", "rounds", "workers", "device")},
        "scaled": f"loop and ray_tune trained {options.subset} or a few more of the repeats; vmap two of the epochs",
        "load": os.getloadavg()[0],
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
