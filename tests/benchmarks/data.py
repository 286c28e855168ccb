"""Images a second that reach a network, by several ways. `python tests/benchmarks/data.py [--json] [--images N] [--rounds N]`

The same images (2 × 64 × 64, uint8, 200 pixels above threshold), the same batch of 256, one thread a process; what counts is a
batch as float32 tensor, every byte of it read. Files are warm in the page cache. Ways take turns; medians over rounds, and
ratios within the run. Asked: resident ≥ 0.8 of the PyArrow scan; streamed, shuffled, ≥ the DataLoader.

Predicted before the first run, from the speed of memory: a batch is 2 MiB gathered (0.7 ms) and 8 MiB written as float32
(2 to 3 ms), so 70,000 images a second resident. PyArrow decodes uint8 from Parquet's int32 pages: 20,000. Streamed: 256 reads
of 8 KiB by another thread cost 1 ms of system calls and hide behind the conversion: as resident. A DataLoader that takes event
by event pays 40 µs each: 20,000 at best with two workers; one that is given batches of numbers does what our mapped way does
and must be as fast, but for what we read ahead.

Seen (40,000 images, 4 rounds, two cores that others used at the same time: rates of a way scatter by up to 4, so only large
ratios mean anything): resident 9.4 × the scan (5,600 images a second; 15,600 and ratio 10 in a quieter run); streamed, shuffled
as a whole, 10 × a DataLoader of events with two workers and 1.27 × the best of the four DataLoaders (no workers, batches of
numbers; 1.8 in the quieter run); Ray Data 1,900 a second. In windows of 2,048: 0.91 × the best DataLoader, 7 × the one of two
workers: of 18 windows the first is waited for, and what is read a window ahead has left the caches. Wrong was the prediction of
system calls that hide: positioned reads of single events fell to 56,000 images a second (0.24 × the best DataLoader), since
each call gives Python's lock away; they now go through the map, only runs of neighbours are read by position.
On quiet cores (36,073 images; two machines): resident 20 and 24 × the scan; streamed 1.32 and 1.48 × the best DataLoader, 8.6 and
12 × the one of events with two workers; in windows 0.97 and 1.02 × the best.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from raresearch.data.columns import tensor_array
from raresearch.data.dataset import Dataset as Events
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.residence import Residence
from raresearch.data.splits import Fractions
from raresearch.data.unpacked import unpack
from raresearch.experiment import Experiment, Schema, TensorField
from raresearch.training.arrays import load
from raresearch.training.batches import batches, epoch_order
from raresearch.training.columns import column

BATCH, WINDOW, HITS = 256, 2048, 200
Way = Callable[[], Iterator[torch.Tensor]]


class Tracks(Experiment):
    """Sparse images."""

    name = "tracks"

    def schema(self) -> Schema:
        return Schema((TensorField("image", (2, 64, 64), "uint8"),), ("b", "s"), ("s",), ("b",))

    def simulate(self, config: Mapping[str, Any], rng: np.random.Generator, n: int) -> dict[str, Any]:
        image = np.zeros((n, 2 * 64 * 64), np.uint8)
        np.put_along_axis(image, rng.integers(0, 8192, (n, HITS)), rng.integers(1, 250, (n, HITS)).astype(np.uint8), 1)
        return {"image": image.reshape(n, 2, 64, 64), "class": rng.integers(0, 2, n)}


class Mapped(Dataset[Any]):
    """A torch dataset over the memory-mapped file; asked for an event, or for a batch of numbers."""

    def __init__(self, path: Path) -> None:
        self.image = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(self.image[rows]))


def ours(dataset: Events, kind: str, window: int = 0) -> Way:
    """As a training gets its batches."""
    values = load(dataset, Residence(kind)).train.tensors["image"]  # type: ignore[arg-type]
    device, rng = torch.device("cpu"), np.random.default_rng(0)
    columns = {"image": column(values, None, torch.float32, device)}

    def way() -> Iterator[torch.Tensor]:
        for _, inputs in batches(columns, epoch_order(rng, len(values), window, BATCH), BATCH, window, device):
            yield inputs["image"]

    return way


def scan(dataset: Events) -> Way:
    """PyArrow's scan of the Parquet files, in their order."""
    source, field = ds.dataset(str(dataset.path / "train")), dataset.schema.tensors[0]

    def way() -> Iterator[torch.Tensor]:
        import pyarrow as pa

        for batch in source.to_batches(columns=["image"], batch_size=BATCH):
            yield torch.from_numpy(tensor_array(pa.chunked_array([batch.column("image")]), field)).float()

    return way


def loader(dataset: Events, workers: int, whole: bool) -> Way:
    """torch's DataLoader on the mapped file, shuffled; ``whole``: it is given batches of numbers, not events."""
    mapped = Mapped(unpack(dataset) / "train-image.npy")

    def way() -> Iterator[torch.Tensor]:
        if whole:
            sampler = BatchSampler(RandomSampler(mapped), BATCH, drop_last=False)
            made: DataLoader[Any] = DataLoader(mapped, sampler=sampler, batch_size=None, num_workers=workers)
        else:
            made = DataLoader(mapped, batch_size=BATCH, shuffle=True, num_workers=workers)
        for batch in made:
            yield batch.float()

    return way


def ray_data(dataset: Events) -> Way:
    """Ray Data as it comes, with its local shuffle."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False

    def way() -> Iterator[torch.Tensor]:
        source = ray.data.read_parquet(str(dataset.path / "train"), columns=["image"])
        for batch in source.iter_torch_batches(batch_size=BATCH, local_shuffle_buffer_size=WINDOW):
            yield batch["image"].float()

    return way


def rate(way: Way, images: int) -> float:
    """Images a second of one pass, which must bring all of them."""
    started, seen = time.perf_counter(), 0
    for batch in way():
        seen += len(batch)
    assert seen == images, (seen, images)
    return seen / (time.perf_counter() - started)


def measured(dataset: Events, rounds: int, with_ray: bool) -> dict[str, Any]:
    """Way → median of its rates, and the two ratios that are asked for."""
    ways = {
        "ours, resident": ours(dataset, "resident"),
        "ours, mapped": ours(dataset, "mapped"),
        "ours, streamed": ours(dataset, "streamed"),
        "ours, streamed, window": ours(dataset, "streamed", WINDOW),
        "PyArrow scan, not shuffled": scan(dataset),
        "DataLoader, events, 0 workers": loader(dataset, 0, whole=False),
        "DataLoader, events, 2 workers": loader(dataset, 2, whole=False),
        "DataLoader, batches, 0 workers": loader(dataset, 0, whole=True),
        "DataLoader, batches, 2 workers": loader(dataset, 2, whole=True),
    }
    if with_ray:
        ways["Ray Data, local shuffle"] = ray_data(dataset)
    images = dataset.size("train")
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            found = rate(way, images)
            if number:  # the first round warms caches
                rates[name].append(found)
    median = {name: statistics.median(values) for name, values in rates.items()}
    best = max(value for name, value in median.items() if name.startswith("DataLoader"))
    usual = median["DataLoader, events, 2 workers"]
    return {
        "images": images,
        "images_per_second": median,
        "spread": {name: [min(values), max(values)] for name, values in rates.items()},
        "resident_over_scan": median["ours, resident"] / median["PyArrow scan, not shuffled"],
        "streamed_over_usual_loader": median["ours, streamed"] / usual,
        "streamed_over_best_loader": median["ours, streamed"] / best,
        "windowed_over_best_loader": median["ours, streamed, window"] / best,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-ray", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="raresearch-data-") as folder:
        plan = DataPlan(Tracks(), {"data.events": options.images, "data.block": 2000}, 1, Fractions(0.9, 0.1, 0.0))
        dataset = prepare(plan, Path(folder), engine="local")
        found = measured(dataset, options.rounds, not options.no_ray)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found["images_per_second"].items():
        low, high = found["spread"][name]
        print(f"{name:32s} {value:10,.0f} images/s  [{low:,.0f}, {high:,.0f}]")
    for name in ("resident_over_scan", "streamed_over_usual_loader", "streamed_over_best_loader", "windowed_over_best_loader"):
        print(f"{name:32s} {found[name]:10.2f}")


if __name__ == "__main__":
    main()
