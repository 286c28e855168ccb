"""KamNet: a training step at the published size beside the floating-point floor of the same step; events simulated a second.

    python tests/benchmarks/kamnet.py [--batch 32] [--steps 1] [--threads 2] [--device cpu] [--small] [--compile] [--json]

The floor is the time that a step's multiplications and additions (counted by torch) would take at the rate of one large
matrix product, measured in the same run: an element-wise operation, a copy or a gap is above it. Memory is the process'
largest so far, in the order of the rows; each row of one process is at least what the one before needed.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from raresearch.experiment import Batch
from raresearch.experiments.kamnet.experiment import KamNet
from raresearch.experiments.kamnet.simulator import Settings, accepted
from raresearch.types import Config

Row = dict[str, object]
SMALL: Config = {
    "model.temporal": "pointwise",
    "model.input": "hits",
    "model.join_slices": 2,
    "model.hidden": (4,),
    "model.features": (6, 8),
    "model.bandwidths": (3, 2),
    "model.dense": (16,),
}


def peak(device: torch.device) -> float:
    """Floating-point operations a second of one large float32 product, the best of five."""
    size = 2048 if device.type == "cpu" else 8192
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    best = min(timed(lambda: a @ b, device) for _ in range(5))
    return 2 * size**3 / best


def timed(work: object, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()  # type: ignore[operator]
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def steps(config: Config, name: str, arguments: argparse.Namespace, rate: float) -> Row:
    """A step: forward, loss, backward, optimiser."""
    device = torch.device(arguments.device)
    experiment = KamNet()
    config = {**experiment.defaults, **config}
    found = experiment.simulate(
        {"data.match_bin": 40.0, "data.mix": ("0vbb:0.5", "C10:0.5")}, np.random.default_rng(1), arguments.batch
    )
    inputs = {n: torch.tensor(found[n].astype(np.float32), device=device) for n in ("cell", "charge")}
    label = torch.tensor((found["class"] == 0).astype(np.float32), device=device)
    torch.manual_seed(0)
    model = experiment.model(config).to(device)
    run = torch.compile(model) if arguments.compile else model
    optimizer = torch.optim.RMSprop(model.parameters(), 4e-5, momentum=0.78)

    def step() -> None:
        optimizer.zero_grad()
        output = experiment.forward(run, inputs, config)  # type: ignore[arg-type]
        experiment.loss(output, Batch(inputs, label, torch.ones_like(label)), config).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()  # also the first call, which compiles
    spent = [timed(step, device) for _ in range(arguments.steps)]
    operations = counter.get_total_flops()
    memory = (
        torch.cuda.max_memory_allocated()
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {
        "network": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "batch": arguments.batch,
        "seconds": min(spent),
        "gigaflop": operations / 1e9,
        "floor": operations / rate,
        "times_floor": min(spent) / (operations / rate),
        "gigabytes": memory / 1e9,
    }


def simulated() -> Iterator[Row]:
    """Accepted events a second of processor time, before matching."""
    settings = Settings.of({}, KamNet.classes, ("0vbb:1",))
    for name in ("0vbb", "C10", "Bi214", "electron"):
        stream = accepted(name, settings, np.random.default_rng(1), KamNet.room)
        next(stream)
        started, number = time.process_time(), 0
        while number < 3000:
            number += len(next(stream))
        yield {"class": name, "accepted_per_second": number / (time.process_time() - started)}


def rows(arguments: argparse.Namespace) -> Iterator[Row]:
    yield from simulated()
    rate = peak(torch.device(arguments.device))
    yield {"product": "float32", "gigaflop_per_second": rate / 1e9, "threads": torch.get_num_threads()}
    yield steps({"model.network": "cnn"}, "cnn", arguments, rate)
    yield steps(SMALL, "demo", arguments, rate)
    if not arguments.small:
        yield steps({"model.recompute": True}, "published, gates recomputed", arguments, rate)
        yield steps({"model.recompute": False}, "published, gates kept", arguments, rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    for name, default in (("batch", 32), ("steps", 1), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    for name in ("small", "compile", "json"):
        parser.add_argument(f"--{name}", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for row in rows(arguments):
        shown = "  ".join(f"{n} {v:.4g}" if isinstance(v, float) else f"{n} {v}" for n, v in row.items())
        print(json.dumps(row) if arguments.json else shown, flush=True)


if __name__ == "__main__":
    main()
