"""Does the search for two objectives cover more of the plane than random search does?

    python tests/benchmarks/fronts.py [--seeds 30] [--asks 200] [--json FILE]

Hypervolume that is dominated after some proposals, over seeds, by `nsga2` (population 20) against random search: one-sided
Wilcoxon signed-rank test over seeds, which both share. Objectives are minimised in the papers and told with the sign turned.

- Fonseca & Fleming (Evol. Comput. 3, 1, 1995) in 3 dimensions; reference (1, 1), the front's ends are below it.
- ZDT1 (Zitzler, Deb & Thiele, Evol. Comput. 8, 173, 2000) in 10 dimensions; reference (1.1, 6): random points lie at 4 to 6.

A proposal of the searcher is a replay of all before it: 200 of them take half a minute. So `Onward` takes the searcher's own
steps in one Optuna study that lives on; that both propose the same is asserted over the first three generations of each run.

Expected before the first run: no gain on Fonseca's three dimensions within two generations, a clear one after ten; on ZDT1 a
clear gain after five.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from raresearch.searchers.numbers import NumberedSpace
from raresearch.searchers.optuna import OptunaSearcher
from raresearch.searchers.random import RandomSearcher
from raresearch.searchers.trials import Trials, silent
from raresearch.space import Float, Space
from raresearch.statistics.front import hypervolume
from raresearch.types import Config, config_id

Costs = Callable[[np.ndarray], tuple[float, float]]
MARKS = (40, 100, 200)
POPULATION = 20


def fonseca(x: np.ndarray) -> tuple[float, float]:
    shift = 1 / np.sqrt(len(x))
    return float(1 - np.exp(-((x - shift) ** 2).sum())), float(1 - np.exp(-((x + shift) ** 2).sum()))


def zdt1(x: np.ndarray) -> tuple[float, float]:
    g = 1 + 9 * x[1:].mean()
    return float(x[0]), float(g * (1 - np.sqrt(x[0] / g)))


PROBLEMS: dict[str, tuple[Costs, int, tuple[float, float], tuple[float, float]]] = {
    "Fonseca-Fleming": (fonseca, 3, (-4.0, 4.0), (1.0, 1.0)),
    "ZDT1": (zdt1, 10, (0.0, 1.0), (1.1, 6.0)),
}


class Onward:
    """The steps of an `OptunaSearcher` without replaying those before."""

    def __init__(self, space: Space, asks: int, seed: int) -> None:
        self.searcher = OptunaSearcher(space, asks, seed, sampler="nsga2", population=POPULATION, objectives=2)
        with silent():
            self.trials, self.step = Trials(NumberedSpace.of(space), 2), 0
        self.known: dict[str, tuple[float, float]] = {}

    def ask(self) -> Config:
        while True:
            with silent():
                self.trial, config = self.trials.ask(self.searcher._at_step(self.step))
            self.step += 1
            if (key := config_id(config)) not in self.known:
                return config
            self.trials.tell(self.trial, self.known[key])  # a child that is its parent costs no training

    def tell(self, config: Config, score: tuple[float, float]) -> None:
        self.known[config_id(config)] = score
        self.trials.tell(self.trial, score)


def told(searcher: Any, costs: Costs, asks: int) -> np.ndarray:
    """(asks, 2) negative costs, in the order of asking."""
    found = []
    for _ in range(asks):
        config = searcher.ask()
        assert config is not None
        first, second = costs(np.array(list(config.values()), dtype=np.float64))
        searcher.tell(config, (-first, -second))
        found.append((-first, -second))
    return np.array(found)


def compare(seeds: int, asks: int) -> list[dict[str, Any]]:
    rows = []
    for name, (costs, dimensions, (low, high), (a, b)) in PROBLEMS.items():
        space = Space({f"model.x{i:02d}": Float(low, high) for i in range(dimensions)})
        runs: dict[str, list[np.ndarray]] = {"random": [], "nsga2": []}
        for seed in range(seeds):
            runs["random"].append(told(RandomSearcher(space, asks, seed), costs, asks))
            runs["nsga2"].append(told(Onward(space, asks, seed), costs, asks))
        replayed = Onward(space, asks, 0).searcher
        assert (told(replayed, costs, 3 * POPULATION) == runs["nsga2"][0][: 3 * POPULATION]).all()
        for mark in (m for m in MARKS if m <= asks):
            volume = {s: np.array([hypervolume(r[:mark], (-a, -b)) for r in each]) for s, each in runs.items()}
            p = float(wilcoxon(volume["nsga2"], volume["random"], alternative="greater").pvalue)
            medians = {s: float(np.median(v)) for s, v in volume.items()}
            rows.append({"problem": name, "asks": mark, "medians": medians, "p": p})
            print(
                f"{name:16} {mark:4} asks: random {medians['random']:.4f}  nsga2 {medians['nsga2']:.4f}  p {p:.1e}", flush=True
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--asks", type=int, default=200)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count(), "seeds": given.seeds}
    result["fronts"] = compare(given.seeds, given.asks)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
