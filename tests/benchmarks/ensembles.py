"""How long do questions to a store take, and how does greedy selection compare with others'?

    python tests/benchmarks/ensembles.py --json [--competitors PYTHON] [--only greedy,xi,store] [--store DIR]

Sections, each in a process of its own:

  greedy  25 steps of forward selection on rejection at 90 % acceptance over 3,000 members x 20,000 events (float32 scores in
          memory), against DeepHyper's `GreedySelector` and AutoGluon's `EnsembleSelection` on the same matrix, on log-loss. These
          run in the interpreter given by --competitors (one that has deephyper and autogluon.core; left out otherwise). They
          take minutes, so --competitor-steps of their 25 steps are timed and scaled up: their steps get slower as the
          ensemble grows, so that favours them.
  xi      the figure of merit over 10^6 weighted events
  store   every rule x every figure of merit over 1,800 cells x 100 epochs x 5,000 events of a made-up store: the second time that
          an opened study is asked (warm cache), with the peak memory of the process

Members are logits = a (quality · truth + the config's noise) + the member's noise: 30 configs, 100 repeats of each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raresearch.api.opened import OpenStudy
from raresearch.ensembles.fast_rejection import RejectionEngine
from raresearch.ensembles.forward import forward
from raresearch.ensembles.greedy import Greedy
from raresearch.ensembles.repeats import BestOfRepeats, EverySeed
from raresearch.ensembles.rules import BestEpoch, LastK, TopK
from raresearch.ensembles.stacking import Stacking
from raresearch.metrics import foms
from raresearch.spec import load
from raresearch.store.records import CellRecord
from raresearch.store.store import Store
from raresearch.types import Cell, Outcome, config_id

STEPS = 25
RIVALS = """
import json, sys, time
import numpy as np
matrix, label, steps = np.load(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3])
seconds, cores = {}, {}
from deephyper.ensemble.aggregator import MeanAggregator
from deephyper.ensemble.loss import CategoricalCrossEntropy
from deephyper.ensemble.selector import GreedySelector
both = list(np.stack([1 - matrix, matrix], axis=2))
selector = GreedySelector(CategoricalCrossEntropy(), MeanAggregator(), k=10**9, k_init=1, max_it=steps - 1, early_stopping=False)
start, used = time.perf_counter(), time.process_time()
selector.select(label.astype(int), both)
seconds["deephyper"], cores["deephyper"] = time.perf_counter() - start, time.process_time() - used
del both
from autogluon.core.metrics import log_loss
from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection
selection = EnsembleSelection(ensemble_size=steps, problem_type="binary", metric=log_loss)
start, used = time.perf_counter(), time.process_time()
selection.fit(list(matrix), label.astype(int))
seconds["autogluon"], cores["autogluon"] = time.perf_counter() - start, time.process_time() - used
print(json.dumps([seconds, cores]))
"""


def made_up(members: int, events: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores (M, N) float32 and labels (N,)."""
    rng = np.random.default_rng(seed)
    label = (rng.random(events) < 0.5).astype(np.int8)
    truth = 1.5 * (2 * label - 1) + rng.normal(size=events)
    matrix = np.empty((members, events), dtype=np.float32)
    for start in range(0, members, 100):
        config = truth * rng.uniform(0.6, 1.1) + 0.4 * rng.normal(size=events)
        for row in matrix[start : start + 100]:
            row[:] = rng.uniform(0.8, 1.6) * config + 0.6 * rng.normal(size=events) + 0.2 * rng.normal()
    return 1 / (1 + np.exp(-matrix)), label


def timed(work: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Median seconds on the clock, and of all cores' time; on a machine that others use, the second tells more."""
    clock, cores = [], []
    for _ in range(rounds):
        start, used = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - start)
        cores.append(time.process_time() - used)
    return statistics.median(clock), statistics.median(cores)


def greedy(arguments: argparse.Namespace) -> dict[str, float]:
    """Ours, and the others' where there is an interpreter for them."""
    matrix, label = made_up(arguments.members, arguments.events)

    def ours() -> None:
        forward(RejectionEngine(matrix, label), np.arange(len(matrix)), STEPS, 1, len(label))

    clock, cores = timed(ours, arguments.rounds)
    found = {"greedy_rejection_seconds": clock, "greedy_rejection_core_seconds": cores}
    if not arguments.competitors:
        return found
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/matrix.npy", matrix)
        np.save(f"{folder}/label.npy", label)
        command = [
            arguments.competitors,
            "-c",
            RIVALS,
            f"{folder}/matrix.npy",
            f"{folder}/label.npy",
            str(arguments.competitor_steps),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    for kind, times in zip(("", "core_"), json.loads(done.stdout.splitlines()[-1]), strict=True):
        for name, seconds in times.items():
            theirs = found[f"{name}_log_loss_{kind}seconds"] = seconds * STEPS / arguments.competitor_steps
            found[f"{kind}times_faster_than_{name}"] = theirs / found[f"greedy_rejection_{kind}seconds"]
    return found


def xi(arguments: argparse.Namespace) -> dict[str, float]:
    """One million weighted events."""
    rng = np.random.default_rng(0)
    label = (rng.random(10**6) < 0.3).astype(np.int8)
    scores, weights = rng.normal(size=10**6) + label, rng.exponential(size=10**6)
    clock, cores = timed(lambda: foms.Xi()(scores, label, weights), arguments.rounds)
    return {"xi_million_weighted_seconds": clock, "xi_million_weighted_core_seconds": cores}


YAML = """
study: made-up
experiment: toy
fixed: {{train.epochs: {epochs}}}
space: {{model.hidden: {{choice: [{choices}]}}}}
repeats: {repeats}
objective: {{significance: {{n_signal: 976, n_background: 976}}}}
selection: {{best_epoch: {{by: val_loss}}}}
"""


def build_store(folder: Path, cells: int, epochs: int, events: int) -> Store:
    """18 configs with equally many repeats, a hundred cells a landing; nothing is written where the store is there."""
    if (folder / "run" / "study.json").exists():
        return Store.open(folder / "run")
    configs = 18
    repeats = cells // configs
    folder.mkdir(parents=True, exist_ok=True)
    choices = ", ".join(f"[{8 + n}]" for n in range(configs))
    (folder / "study.yaml").write_text(YAML.format(epochs=epochs, choices=choices, repeats=repeats))
    spec = load(folder / "study.yaml")
    rng = np.random.default_rng(0)
    label = (rng.random(events) < 0.5).astype(np.int8)
    truth = 1.5 * (2 * label - 1) + rng.normal(size=events)
    noise = rng.standard_normal((epochs, events), dtype=np.float32)
    hidden = [(8 + n,) for n in range(configs)]
    names = [config_id({"model.hidden": h, "train.epochs": epochs}) for h in hidden]
    about = {
        "spec": spec.to_json(),
        "labels": [[n, str(i)] for i, n in enumerate(names)],
        "figures_of_merit": [],
        "schema": {"classes": ["b", "s"]},
    }
    store = Store.create(folder / "run", "made-up", about)
    for number, width in enumerate(hidden):
        config = truth * rng.uniform(0.6, 1.1) + 0.4 * rng.normal(size=events)
        for start in range(0, repeats, 100):
            seeds = range(start, min(start + 100, repeats))
            store.land(
                [_record({"model.hidden": width, "train.epochs": epochs}, s, config, label, noise, [number, s]) for s in seeds]
            )
    columns = {"event_id": np.arange(events), "class": label, "label": label, "weight": np.ones(events)}
    store.put_events("validation", pa.table(columns))
    return store


def _record(config: Any, seed: int, truth: np.ndarray, label: np.ndarray, noise: np.ndarray, stream: list[int]) -> CellRecord:
    rng, epochs = np.random.default_rng(stream), len(noise)
    learned = (1 - np.exp(-np.arange(1, epochs + 1) / 15.0)).astype(np.float32)[:, None]
    noise = np.roll(noise, (seed % epochs, 37 * seed), axis=(0, 1))  # drawing it anew would take most of the building
    logits = learned * (truth + 0.5 * rng.normal(size=len(truth))).astype(np.float32) + 0.3 * noise
    loss = np.log1p(np.exp(-np.where(label == 1, 1, -1).astype(np.float32) * logits)).mean(axis=1)
    columns = {"train_loss": loss, "val_loss": loss, "val_accuracy": ((logits > 0) == (label == 1)).mean(axis=1)}
    cell = Cell(config, 0, seed, epochs, {"data": "made-up"})
    outcome = Outcome(cell.key, "done", epochs, epochs, float(loss.min()))
    return CellRecord(
        cell, outcome, columns, {"validation": (np.arange(1, epochs + 1), logits)}, validation_events="validation"
    )


@dataclass
class Memory:
    """Most KiB of this process's own and of its mapped files, looked at every few milliseconds within a `with` block."""

    own: int = 0
    mapped: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> None:
        self._ended.clear()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.own = max(self.own, int(status["RssAnon"].split()[0]))
            self.mapped = max(self.mapped, int(status["RssFile"].split()[0]))
            if self._ended.wait(0.005):
                return


def store(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every rule x every figure of merit: seconds to choose and to give the best config's figure with its interval."""
    folder = Path(arguments.store or tempfile.mkdtemp())
    cells, epochs, events = arguments.cells, arguments.epochs, arguments.store_events
    start = time.perf_counter()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # its memory is not the questions'
        pool.submit(_build, folder, cells, epochs, events).result()
    found: dict[str, Any] = {"store_build_seconds": time.perf_counter() - start}
    start = time.perf_counter()
    study = OpenStudy(Store.open(folder / "run"))
    study.epoch_table()
    found["store_first_look_seconds"] = time.perf_counter() - start
    seconds, memory, first = {}, Memory(), (0.0, "")
    for fom in (getattr(foms, name)() for name in arguments.foms.split(",")):
        rules = {
            "best_epoch": BestEpoch(), "top_k": TopK(3, "val_loss", {"val_accuracy": 0.001}), "last_k": LastK(10),
            "every_seed": EverySeed(), "best_of_repeats": BestOfRepeats(fom=_named(fom)),
            "greedy": Greedy(fom=_named(fom)), "stacking": Stacking(),
        }  # fmt: skip
        for name, rule in rules.items():

            def ask(rule: Any = rule, fom: Any = fom) -> None:
                choice = study.select(rule)
                object.__setattr__(choice, "objective", fom)  # the best config by the figure that is asked for
                choice.estimate(fom)

            with memory:
                begun = time.perf_counter()
                ask()
                first = max(first, (time.perf_counter() - begun, f"{name} x {fom.name}"))
            seconds[f"{name} x {fom.name}"] = timed(ask, arguments.rounds)
    slowest = max(seconds, key=lambda name: seconds[name][0])
    found |= {"rule_fom_seconds_max": seconds[slowest][0], "rule_fom_slowest": slowest}
    found |= {"rule_fom_first_ask_seconds_max": first[0], "rule_fom_first_ask_slowest": first[1]}
    # The scores are mapped: their pages are the system's cache, which it takes back when it needs the memory.
    found |= {"rule_fom_own_gib": memory.own / 2**20, "rule_fom_mapped_gib": memory.mapped / 2**20}
    found["rule_fom_core_seconds_max"] = max(cores for _, cores in seconds.values())
    return found | {f"seconds, core seconds: {name}": value for name, value in seconds.items()}


def _build(folder: Path, cells: int, epochs: int, events: int) -> None:
    build_store(folder, cells, epochs, events)


def _named(fom: Any) -> str:
    return str(fom.name)


def _section(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    return {"greedy": greedy, "xi": xi, "store": store}[name](arguments)


def main() -> None:
    """Run the sections and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="greedy,xi,store")
    parser.add_argument("--competitors", help="a Python interpreter that has deephyper and autogluon.core")
    parser.add_argument("--competitor-steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--members", type=int, default=3000)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument(
        "--foms", default=",".join(foms.__all__), help="class names of `raresearch.metrics.foms`, for the store"
    )
    parser.add_argument("--store", help="folder of the made-up store; made there if it is not, and kept")
    parser.add_argument("--cells", type=int, default=1800)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--store-events", type=int, default=5000)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0]}
    for name in arguments.only.split(","):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found |= pool.submit(_section, name, arguments).result()
    found["load_after"] = os.getloadavg()[0]
    print(json.dumps(found) if arguments.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
