"""Optuna's samplers: TPE, Gaussian process, CMA-ES, NSGA-II, random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raresearch.errors import SpecError, nearest
from raresearch.searchers.base import Score
from raresearch.searchers.history import History, Observation
from raresearch.searchers.numbers import NumberedSpace
from raresearch.searchers.optuna_samplers import SAMPLERS, SamplerOptions
from raresearch.searchers.random import positive, unseen
from raresearch.searchers.threads import one_thread
from raresearch.searchers.warm_start import Past, read_past
from raresearch.space import Space
from raresearch.types import Config, named_stream

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from raresearch.searchers.trials import Trials


class OptunaSearcher:
    """At most ``configs`` configs from one of Optuna's samplers: tpe, gp, cmaes, nsga2, random. The first ``initial`` are
    random for tpe and gp (default: see `first_random`); ``population`` is the size of a generation of cmaes and nsga2
    (default: Optuna's).

    Optuna's study lives for one proposal: it is built from what is told and what is pending, and the sampler is made anew
    from the study's seed and the number of trials before. So a proposal is a function of what the store holds, whatever the
    order of telling, and a resumed search goes on as if never interrupted. tpe, gp and random are given what is told as
    finished trials, in the order of ids, and what is pending as running ones, for which tpe and gp put in a lie. (tpe's
    preference for recent trials, from the 26th on, so falls on arbitrary ones.) The state of cmaes and nsga2 is more than a
    list of results: see `replay`.

    A failed config counts as bad as the worst success (in cmaes and nsga2, not at all). ``warm_start``, ``score_column``: see
    `read_past`. ``objectives``: 2 for a front (nsga2: Deb et al., IEEE Trans. Evol. Comput. 6, 182, 2002). cmaes searches
    numbers; choices, and axes under a condition, it draws at random.

    Raises `SpecError` for options that are out of range.
    """

    def __init__(
        self,
        space: Space,
        configs: int,
        seed: int,
        sampler: str = "tpe",
        initial: int | None = None,
        population: int | None = None,
        warm_start: str | Path | Sequence[Observation] | None = None,
        score_column: str = "score",
        objectives: int = 1,
    ) -> None:
        positive("optuna.configs", configs, "configs: 150")
        initial = first_random(configs, sampler) if initial is None else initial
        positive("optuna.initial", initial, "initial: 10")
        if sampler not in SAMPLERS:
            raise SpecError("optuna.sampler", f"there is no {sampler!r}", nearest(sampler, SAMPLERS))
        self._kind = SAMPLERS[sampler]
        if population is not None:
            positive("optuna.population", population, "population: 20")
            if population < 2 or not self._kind.generations:
                rule = f"{sampler} has no generations of {population}"
                raise SpecError("optuna.population", rule, "drop it, or take cmaes or nsga2 and a population from 2 up")
        if objectives > 1 and (not self._kind.fronts or warm_start is not None):
            able = ", ".join(name for name, kind in SAMPLERS.items() if kind.fronts)
            rule = f"{sampler} hears one score" if not self._kind.fronts else "another search's scores are of one objective"
            remedy = f"take sampler: {able}" if not self._kind.fronts else "drop warm_start"
            raise SpecError(
                f"optuna.{'warm_start' if self._kind.fronts else 'sampler'}", f"{rule}, and the study has two", remedy
            )
        self.objectives = objectives
        self.past: Past = read_past("optuna.warm_start", warm_start, space, score_column)
        self._space, self._configs, self._seed = space, configs, seed
        self._numbered = NumberedSpace.of(space)
        self._options = SamplerOptions(initial, population, len(space.axes), bool(space.conditions))
        self._history = History.warmed(self.past.observations)

    def ask(self) -> Config | None:
        known = self._history.known
        size = self._space.size()
        if len(known) >= self._configs or (size is not None and len(known) >= size):
            return None
        config = self._propose()
        if config is None:
            rng = np.random.default_rng(self._words("unseen", len(self._history.told), len(self._history.pending)))
            config = unseen(self._space, rng, known)
        return None if config is None else self._history.propose(config)

    def tell(self, config: Config, score: Score) -> None:
        self._history.tell(config, score)

    def expect(self, config: Config) -> None:
        """``config`` is pending since an earlier run (see `Expecting`)."""
        self._history.propose(config)

    def _propose(self) -> Config | None:
        """A config that is not known; None where the sampler offers only such."""
        from raresearch.searchers.replay import replay
        from raresearch.searchers.trials import Trials, silent

        with one_thread(), silent():
            trials = Trials(self._numbered, self.objectives)
            if self._kind.generations:
                return replay(trials, self._at_step, self._history, self._kind.tries)
            return self._sampled(trials)

    def _sampled(self, trials: Trials) -> Config | None:
        for config, score in self._history.observations():
            trials.add(config, score)
        for _, config in sorted(self._history.pending.items()):
            trials.add(config, None)
        for attempt in range(self._kind.tries):
            word = self._word(len(self._history.told), len(self._history.pending), attempt)
            trial, config = trials.ask(self._kind.make(self._options, word))
            if not self._history.knows(config):
                return config
            trials.tell(trial, None)
        return None

    def _at_step(self, number: int) -> BaseSampler:
        return self._kind.make(self._options, self._word("step", number))

    def _words(self, *names: object) -> np.random.SeedSequence:
        return named_stream(self._seed, "searcher", "optuna", *map(str, names))

    def _word(self, *names: object) -> int:
        """A seed as Optuna takes it: 32 bits."""
        return int(self._words(*names).generate_state(1)[0])


def first_random(configs: int, sampler: str) -> int:
    """Random configs before a model where ``initial`` is not given: Optuna's 10, and for tpe a sixth of a small budget.

    Of 30 proposals 10 at random leave the model too few. With 5 the best of 30 was better on each of three problems
    (tests/benchmarks/search.py says how that was found, and on which seeds).

    >>> first_random(30, "tpe"), first_random(150, "tpe"), first_random(30, "gp")
    (5, 10, 10)
    """
    return min(10, max(5, configs // 6)) if sampler == "tpe" else 10
