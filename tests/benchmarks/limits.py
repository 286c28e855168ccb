"""Seconds for an expected limit on the templates of the PandaX-II search, against pyhf on the same templates in the same run.

    python tests/benchmarks/limits.py [--json] [--models 100] [--pyhf 3]

The figure of merit (cut, limit, 100 resamples) is what a search or a selection pays for one training.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from raresearch.experiments.pandax2 import search
from raresearch.experiments.pandax2.limit import ExpectedLimit
from raresearch.experiments.pandax2.simulator import simulate
from raresearch.metrics.base import on
from raresearch.metrics.limits import expected_limits, toy_cls
from raresearch.metrics.limits.asymptotic import median_limits
from raresearch.metrics.limits.reference import pyhf_expected_limits


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """(seconds a call, the fastest of ``repeats``; the last result)."""
    best, result = np.inf, None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return best, result


def efficiency_maps(models: int) -> np.ndarray:
    """Efficiencies like those of good networks: a tenth of accidentals, most recoils."""
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(low, high, (models, 16)) for low, high in ((0.05, 0.15), (0.8, 0.95), (0.5, 1.0))], axis=1)


def measure(models: int, with_pyhf: int) -> dict[str, float]:
    figure = ExpectedLimit()
    shapes, _ = timed(lambda: search.shapes(figure.mass, figure.mixture))
    maps = efficiency_maps(models)
    made = figure.models(maps)
    one, _ = timed(lambda: expected_limits(figure.models(maps[:1])), 20)
    many, medians = timed(lambda: median_limits(made), 5)
    events = simulate({}, np.random.default_rng(1), 4000)
    scores = np.random.default_rng(2).normal(size=4000) + 2.5 * (events["class"] != 0)
    bound = on(figure, events)
    scored, _ = timed(lambda: bound(1 / (1 + np.exp(-scores)), events["class"]), 10)
    found = {
        "templates_once_s": shapes,
        "limit_with_band_s": one,
        "limit_in_a_batch_s": many / models,
        "figure_of_merit_with_interval_s": scored,
        "asked_s": 2.0,
    }
    found["toys_cls_at_the_limit"], found["toys_error"] = toy_cls(
        figure.models(maps[:1]), float(medians[0]), 10_000, np.random.default_rng(3)
    )
    if with_pyhf:
        found |= against_pyhf(figure, maps[:with_pyhf], medians, one)
    return found


def against_pyhf(figure: ExpectedLimit, maps: np.ndarray, medians: np.ndarray, one: float) -> dict[str, float]:
    seconds, worst = [], 0.0
    for number, efficiency in enumerate(maps):
        model = figure.models(efficiency[None])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            each, reference = timed(partial(pyhf_expected_limits, model))
        seconds.append(each)
        worst = max(worst, abs(reference[0] / medians[number] - 1))
    return {
        "pyhf_limit_s": float(np.median(seconds)),
        "times_faster": float(np.median(seconds)) / one,
        "largest_difference": worst,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--pyhf", type=int, default=3, help="models given to pyhf; 0: none")
    options = parser.parse_args()
    found = measure(options.models, options.pyhf)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, number in found.items():
        print(f"{name:36} {number:.4g}")


if __name__ == "__main__":
    main()
