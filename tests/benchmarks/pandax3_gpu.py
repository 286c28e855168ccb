"""PandaX-III on a GPU: images a second in training and in scoring, and whether data keeps the GPU waiting.

    python tests/benchmarks/pandax3_gpu.py [--network EfficientNetB4] [--pixels 128] [--batch 256] [--steps 100] [--compile]
                                           [--device cuda] [--out FOLDER] [--json]

Needs neither Ray nor numba: pictures are random tracks of as many pixels as the simulator's; network, mirrors, loop and columns are
the package's own (bfloat16, channels last). Asked on one H100: EfficientNetB4 at 128 × 128 ≥ 5,000 images a second in training and
≥ 30,000 in scoring, the GPU busy ≥ 90 % (the paper's two V100s: 560 in training).

floor      forward, backward and step on one batch that stays on the device, by plain torch: what no data pipeline can beat
resident   the package's loop, pictures as bytes on the device
streamed   the same, pictures on disk, read ahead, windows of 8,192
scoring    one pass without gradients, resident and streamed, beside its own floor

``busy``: part of the time in which a kernel ran, as `nvidia-smi` samples it while a loop trains; ``over_floor``: the loop's rate over
the floor's, which says the same without a sampler. `--out` keeps the table as JSON, and torch's profile of 20 steps of the resident loop.

Not measured: no GPU has been at hand. On a processor (`--device cpu --network tiny --pixels 64`) it only shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raresearch.data.dataset import Dataset
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.residence import Kind, Residence
from raresearch.data.splits import Fractions
from raresearch.experiment import Batch, parameters
from raresearch.experiments.pandax3.detector import SIDE
from raresearch.experiments.pandax3.experiment import PandaX3
from raresearch.training.arrays import fold_data, load
from raresearch.training.crew import Solo
from raresearch.training.lanes import FoldTensors, Lane
from raresearch.training.pieces import InPieces
from raresearch.types import Array, Cell, Config

HITS, WINDOW, SCORED = 250, 8192, 256
Row = dict[str, Any]


class Tracks(PandaX3):
    """PandaX-III's network and loop on random pixels."""

    name = "tracks"

    def simulate(self, config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
        image = np.zeros((n, 2 * SIDE * SIDE), np.uint8)
        places = rng.integers(0, 2 * SIDE * SIDE, (n, HITS))
        np.put_along_axis(image, places, rng.integers(5, 250, (n, HITS)).astype(np.uint8), 1)
        observers = {name: np.ones(n) for name in ("energy", "hits", "contained")}
        return {"image": image.reshape(n, 2, SIDE, SIDE), "class": rng.integers(0, 3, n), **observers}


def settings(options: argparse.Namespace) -> Config:
    own = {"model.network": options.network, "model.pixels": options.pixels, "model.top_channels": options.channels}
    loop = {"train.batch_size": options.batch, "train.precision": "bfloat16", "train.channels_last": True}
    return {**parameters(Tracks()), **own, **loop, "train.epochs": 1, **({"train.compile": True} if options.compile else {})}


def training(dataset: Dataset, kind: Kind, config: Config, device: torch.device) -> InPieces:
    """The package's loop before its first step."""
    values = {**config, **({"train.window": WINDOW} if kind == "streamed" else {})}
    events = FoldTensors.of(fold_data(load(dataset, Residence(kind)), 0, 1, 1), values, device)
    return InPieces.join(Lane.of(Cell(values, 0, 0, 1, {"data": dataset.fingerprint}), events, 1), Tracks(), 1, Solo())


def floor(made: InPieces, config: Config, steps: int) -> tuple[float, float]:
    """Images a second of training and of scoring on one batch that stays where it is, by plain torch."""
    lane, model, size = made.lane, made.model, made.lane.batch_size
    device, train = lane.events.device, lane.events.train
    image = train.inputs["image"][:size].contiguous(memory_format=torch.channels_last)
    batch = Batch({"image": image}, train.label[:size], train.weight[:size])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=device.type == "cuda")

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            output = model(image)
        made.experiment.loss(output.float(), batch, config).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.no_grad()
    def score() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            model(image[:SCORED])

    model.train()
    trained = size / each(step, steps, device)
    model.eval()
    return trained, min(SCORED, size) / each(score, steps, device)


def each(work: Callable[[], None], times: int, device: torch.device) -> float:
    """Seconds of one call, after three that are not counted."""
    for _ in range(3):
        work()
    settled(device)
    started = time.perf_counter()
    for _ in range(times):
        work()
    settled(device)
    return (time.perf_counter() - started) / times


def settled(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def loop(made: InPieces) -> Row:
    """One pass that trains and one that scores, each after one that is not counted (it compiles, and warms what is cached)."""
    device = made.lane.events.device
    found: Row = {}
    for name, split, work in (
        ("training", made.lane.events.train, made._pass),
        ("scoring", made.lane.events.validation, lambda: made._outputs("validation")),
    ):
        work()
        settled(device)
        with busy(device) as samples:
            started = time.perf_counter()
            work()
            settled(device)
            seconds = time.perf_counter() - started
        found[f"{name}_images_per_second"] = len(split) / seconds
        found[f"{name}_busy"] = float(np.mean(samples)) / 100 if samples else None
    if device.type == "cuda":
        found["peak_GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return found


@contextmanager
def busy(device: torch.device) -> Iterator[list[float]]:
    """Utilisation of the first GPU in per cent, sampled five times a second; nothing on a processor."""
    samples: list[float] = []
    if device.type != "cuda":
        yield samples
        return
    asked = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as sampler:
        assert sampler.stdout is not None
        lines = sampler.stdout
        reader = threading.Thread(target=lambda: samples.extend(float(line) for line in lines if line.strip()), daemon=True)
        reader.start()
        try:
            yield samples
        finally:
            sampler.terminate()
            reader.join()


def profile(made: InPieces, steps: int) -> str:
    """Torch's table of where ``steps`` steps of the loop spend their time."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if made.lane.events.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    rows = torch.arange(made.lane.batch_size, device=made.lane.events.device)
    inputs = {n: t[rows] for n, t in made.lane.events.train.inputs.items()}
    with torch.profiler.profile(activities=activities) as found:
        for _ in range(steps):
            made._step(rows, inputs)
        settled(made.lane.events.device)
    by = "self_cuda_time_total" if len(activities) > 1 else "self_cpu_time_total"
    return str(found.key_averages().table(sort_by=by, row_limit=40))


def measured(options: argparse.Namespace, folder: Path) -> Mapping[str, Any]:
    config, device = settings(options), torch.device(options.device)
    images = options.batch * options.steps
    plan = DataPlan(Tracks(), {**config, "data.events": 2 * images, "data.block": 4096}, 1, Fractions(0.5, 0.5, 0.0))
    dataset = prepare(plan, folder, engine="local")
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(0) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
    }
    made = training(dataset, "resident", config, device)
    found["parameters"] = sum(p.numel() for p in made.model.parameters())
    trained, scored = floor(made, config, options.steps)
    found["floor"] = {"training_images_per_second": trained, "scoring_images_per_second": scored}
    for kind in ("resident", "streamed"):
        row = loop(training(dataset, kind, config, device))
        row["training_over_floor"] = row["training_images_per_second"] / trained
        row["scoring_over_floor"] = row["scoring_images_per_second"] / scored
        found[kind] = row
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "pandax3_gpu_profile.txt").write_text(profile(made, min(20, options.steps)))
    return {**found, "conditions": {n: v for n, v in vars(options).items() if n not in ("out", "json")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="EfficientNetB4")
    for name, default in (("pixels", 128), ("batch", 256), ("steps", 100), ("channels", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path)
    for name in ("compile", "json"):
        parser.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU at hand: nothing was measured (--device cpu shows that it runs)")
    with tempfile.TemporaryDirectory(prefix="raresearch-gpu-") as folder:
        found = measured(options, Path(folder))
    text = json.dumps(found, indent=None if options.json else 1)
    if options.out:
        (options.out / "pandax3_gpu.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
