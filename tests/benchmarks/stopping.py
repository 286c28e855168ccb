"""What early stopping saves and what it costs, beside Ray Tune's ASHA and Optuna's pruners on the same learning curves.

    python tests/benchmarks/stopping.py [--seeds 300] [--json FILE]

27 configs of 45 epochs; a curve is final × (1 − exp(−t/τ)) + noise, final ~ N(0.8, 0.05), noise ~ N(0, 0.005). Two kinds: all
with τ = 5 epochs (ranks stay), and τ uniform from 5 to 15 (curves cross: a slow config may win in the end). Rungs at 5 and 15
epochs, a third goes on; the values are the best so far. "together": all configs are judged at once, as of a grid; "in turn":
one after another, as of a search. ASHA runs four trials at a time, epoch by epoch in turn; Optuna's pruners one after another.
Regret: final value of the truly best config minus that of the one that is chosen (the best mean of the last five epochs of
those that ran to the end). No figure here is a threshold; which one is best depends on the curves.

What was expected before the first run: with ranks that stay, all rules find the best with a third to a half of the epochs;
where curves cross, all of them lose it often, the more the fewer epochs they spend.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna

from raresearch.stopping import Rungs

CONFIGS, EPOCHS, RUNGS, KEEP = 27, 45, (5, 15), 1 / 3
SLOWEST = {"ranks stay": 5.0, "curves cross": 15.0}
#: (values (C, T) as trained) → epochs spent on each config (C,)
Stopper = Callable[[np.ndarray], np.ndarray]


def curves(seed: int, slowest: float) -> tuple[np.ndarray, np.ndarray]:
    """Values (C, T) and true final values (C,)."""
    rng = np.random.default_rng(seed)
    final, scale = rng.normal(0.8, 0.05, CONFIGS), rng.uniform(5, slowest, CONFIGS)
    truth = final[:, None] * (1 - np.exp(-np.arange(1, EPOCHS + 1) / scale[:, None]))
    return truth + rng.normal(0, 0.005, truth.shape), truth[:, -1]


def everything(values: np.ndarray) -> np.ndarray:
    return np.full(len(values), EPOCHS)


def together(keep: float | None) -> Stopper:
    def run(values: np.ndarray) -> np.ndarray:
        rungs, spent = Rungs(RUNGS, keep, least=2), everything(values)
        alive = [f"{c:03d}" for c in range(len(values))]
        for rung, epochs in enumerate(RUNGS):
            for config in alive:
                rungs.heard(config, rung, float(values[int(config), :epochs].max()))
            alive, out = rungs.decide(dict.fromkeys(alive, rung))
            spent[[int(stop.config) for stop in out]] = epochs
        return spent

    return run


def in_turn(keep: float | None) -> Stopper:
    def run(values: np.ndarray) -> np.ndarray:
        rungs, spent = Rungs(RUNGS, keep), everything(values)
        for config in range(len(values)):
            for rung, epochs in enumerate(RUNGS):
                rungs.heard(name := f"{config:03d}", rung, float(values[config, :epochs].max()))
                if rungs.decide({name: rung})[1]:
                    spent[config] = epochs
                    break
        return spent

    return run


def pruned(make: Callable[[], optuna.pruners.BasePruner]) -> Stopper:
    def run(values: np.ndarray) -> np.ndarray:
        study, spent = optuna.create_study(direction="maximize", pruner=make()), everything(values)
        for config, row in enumerate(np.maximum.accumulate(values, axis=1)):
            trial = study.ask()
            for epoch, value in enumerate(row, 1):
                trial.report(float(value), epoch)
                if epoch < EPOCHS and trial.should_prune():
                    spent[config] = epoch
                    break
            stopped = spent[config] < EPOCHS
            study.tell(trial, None if stopped else float(row[-1]), optuna.trial.TrialState.PRUNED if stopped else None)
        return spent

    return run


def asha(at_once: int = 4) -> Stopper:
    def run(values: np.ndarray) -> np.ndarray:
        from ray.tune.schedulers import ASHAScheduler, TrialScheduler

        scheduler = ASHAScheduler(
            time_attr="t", metric="value", mode="max", max_t=EPOCHS, grace_period=RUNGS[0], reduction_factor=3
        )
        best, spent = np.maximum.accumulate(values, axis=1), np.zeros(len(values), dtype=int)
        waiting: Iterator[int] = iter(range(len(values)))
        running: list[tuple[int, Any]] = []
        while True:
            while len(running) < at_once and (config := next(waiting, None)) is not None:
                trial = SimpleNamespace(trial_id=str(config), status="RUNNING", is_finished=lambda: False)
                scheduler.on_trial_add(None, trial)
                running.append((config, trial))
            if not running:
                return spent
            for config, trial in list(running):
                spent[config] += 1
                result = {"t": int(spent[config]), "value": float(best[config, spent[config] - 1])}
                if scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP or spent[config] == EPOCHS:
                    running.remove((config, trial))

    return run


STOPPERS: dict[str, Stopper] = {
    "no stopping": everything,
    "halving, together": together(KEEP),
    "halving, in turn": in_turn(KEEP),
    "median, together": together(None),
    "median, in turn": in_turn(None),
    "Ray Tune ASHA": asha(),
    "Optuna SuccessiveHalving": pruned(
        lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=RUNGS[0], reduction_factor=3)
    ),
    "Optuna Median": pruned(lambda: optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=RUNGS[0] - 1)),
}


def chosen(values: np.ndarray, spent: np.ndarray) -> int:
    """The config that looks best of those that ran to the end, or else of all."""
    means = np.array([row[max(0, n - 5) : n].mean() for row, n in zip(values, spent, strict=True)])
    return int(np.where(spent == spent.max(), means, -np.inf).argmax())


def compare(seeds: int) -> list[dict[str, Any]]:
    rows = []
    for kind, slowest in SLOWEST.items():
        for name, stopper in STOPPERS.items():
            share, regret, missed = [], [], 0
            for seed in range(seeds):
                values, truth = curves(seed, slowest)
                spent = stopper(values)
                pick = chosen(values, spent)
                share.append(float(spent.mean() / EPOCHS))
                regret.append(float(truth.max() - truth[pick]))
                missed += pick != int(truth.argmax())
            error = float(np.std(regret) / np.sqrt(seeds))
            row = {"curves": kind, "stopper": name, "epochs": float(np.mean(share)), "regret": float(np.mean(regret))}
            rows.append(row | {"regret_error": error, "missed": missed / seeds})
            shown = f"regret {row['regret']:.5f} ± {error:.5f}  best missed {missed / seeds:6.1%}"
            print(f"{kind:13} {name:26} epochs {row['epochs']:6.1%}  {shown}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    result: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count(), "seeds": given.seeds}
    result["stopping"] = compare(given.seeds)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
