"""Optuna's samplers by name, each made anew for every proposal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class SamplerOptions:
    """``initial``: random trials before a model; ``population``: size of a generation, None for the sampler's own;
    ``axes``: how many there are; ``conditions``: whether some exist under conditions only."""

    initial: int
    population: int | None
    axes: int
    conditions: bool


@dataclass(frozen=True)
class Kind:
    """How to make a sampler from options and a seed, and whether it goes by ``generations``, with state of its own;
    ``fronts``: whether it takes two objectives; ``tries``: how many known configs it may propose in a row before any other is
    drawn (a finite space fills up)."""

    make: Callable[[SamplerOptions, int], BaseSampler]
    generations: bool = False
    fronts: bool = False
    tries: int = 20


def _tpe(options: SamplerOptions, seed: int) -> BaseSampler:
    """Multivariate (Optuna 5's default for one score); with conditions, one estimator for each group of axes that exist
    together (Falkner, Klein & Hutter, arXiv:1807.01774).

    A proposal is the best of candidates drawn from the good trials' density. Optuna draws 24, for any space; the more axes,
    the rarer one that is good along all of them, so here they are 12 for each axis and 24 at least. (On spaces of 2, 6 and 10
    axes better than random search more clearly: tests/benchmarks/search.py.)
    """
    from optuna.samplers import TPESampler

    return TPESampler(
        seed=seed,
        n_startup_trials=options.initial,
        n_ei_candidates=max(24, 12 * options.axes),
        multivariate=True,
        group=options.conditions,
        constant_liar=True,
    )


def _gp(options: SamplerOptions, seed: int) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=options.initial)


def _random(options: SamplerOptions, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _cmaes(options: SamplerOptions, seed: int) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=seed, popsize=options.population, warn_independent_sampling=False)


def _nsga2(options: SamplerOptions, seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    # 50 is Optuna's own default.
    return NSGAIISampler(seed=seed, population_size=options.population or 50)


# Each try of `gp` is a fit.
SAMPLERS: Mapping[str, Kind] = {
    "tpe": Kind(_tpe),
    "gp": Kind(_gp, tries=3),
    "cmaes": Kind(_cmaes, generations=True),
    "nsga2": Kind(_nsga2, generations=True, fronts=True),
    "random": Kind(_random),
}
