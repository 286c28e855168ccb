"""Optuna's samplers, asked by define-by-run in the order of the space's conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raresearch.errors import SpecError, nearest
from raresearch.searchers.history import History, Observation
from raresearch.searchers.numbers import NumberedSpace
from raresearch.searchers.optuna_samplers import SAMPLERS, Sampler
from raresearch.searchers.random import positive, unseen
from raresearch.searchers.threads import one_thread
from raresearch.searchers.trials import add, ask, empty_study
from raresearch.searchers.warm_start import Past, read_past
from raresearch.space import Space
from raresearch.types import Config, config_id, named_stream

if TYPE_CHECKING:
    import optuna

_TRIES = 20  # proposals in a row that are known already before any other config is drawn


class OptunaSearcher:
    """At most ``configs`` configs from one of Optuna's samplers: tpe, gp, cmaes, nsga2, random. The first ``initial`` are
    random for tpe and gp; ``population`` is that of cmaes and nsga2 (default: the sampler's own).

    Optuna's study lives for one proposal: it is built from what is told and what is pending, with a sampler seeded by (study
    seed, number of trials before it). So a proposal is a function of what the store holds, and a resumed search goes on as if
    never interrupted. Samplers without generations (tpe, gp, random) are given all that is told as finished trials, in the
    order of ids, and what is pending as running ones, which tpe and gp take for lies. (So tpe's preference of recent trials,
    which begins at the 26th, has no meaning here.) Samplers with generations (cmaes, nsga2) hold state that a list of
    results does not give back; the search is replayed from its first step, see `_replayed`.

    A failed config counts as bad as the worst success. ``warm_start``, ``score_column``: see `read_past`. cmaes searches
    numbers only: choices, and axes under a condition, it draws at random. Raises `SpecError` for options out of range.
    """

    def __init__(
        self,
        space: Space,
        configs: int,
        seed: int,
        sampler: str = "tpe",
        initial: int = 10,
        population: int | None = None,
        warm_start: str | Path | Sequence[Observation] | None = None,
        score_column: str = "score",
    ) -> None:
        positive("optuna.configs", configs, "configs: 150")
        positive("optuna.initial", initial, "initial: 10")
        if sampler not in SAMPLERS:
            raise SpecError("optuna.sampler", f"there is no {sampler!r}", nearest(sampler, SAMPLERS))
        if population is not None and not SAMPLERS[sampler].generations:
            raise SpecError("optuna.population", f"{sampler} has no population", "drop it")
        if population is not None and (type(population) is not int or population < 2):
            raise SpecError("optuna.population", f"must be an integer from 2 up, not {population!r}")
        self.past: Past = read_past("optuna.warm_start", warm_start, space, score_column)
        self._space, self._configs, self._seed = space, configs, seed
        self._numbered = NumberedSpace.of(space)
        self._kind = SAMPLERS[sampler]
        self._options = Sampler(initial, population, bool(space.conditions))
        self._history = History.warmed(self.past.observations)

    def ask(self) -> Config | None:
        known = self._history.known
        size = self._space.size()
        if len(known) >= self._configs or (size is not None and len(known) >= size):
            return None
        with one_thread(), _silent():
            config = self._replayed() if self._kind.generations else self._sampled()
        if config is None:
            rng = np.random.default_rng(self._words("unseen", len(self._history.told), len(self._history.pending)))
            config = unseen(self._space, rng, known)
        return None if config is None else self._history.propose(config)

    def tell(self, config: Config, score: float) -> None:
        self._history.tell(config, score)

    def expect(self, config: Config) -> None:
        """``config`` is pending since an earlier run (see `Expecting`)."""
        self._history.propose(config)

    def _words(self, *names: object) -> np.random.SeedSequence:
        return named_stream(self._seed, "searcher", "optuna", *map(str, names))

    def _reseed(self, study: optuna.Study, *names: object) -> None:
        # Optuna takes 32 bits.
        study.sampler = self._kind.make(self._options, int(self._words(*names).generate_state(1)[0]))

    def _sampled(self) -> Config | None:
        """A config from a sampler that learns from a set of trials; None where it offers known ones only."""
        study = empty_study()
        for config, score in self._history.observations():
            add(study, self._numbered, config, score)
        for _, config in sorted(self._history.pending.items()):
            add(study, self._numbered, config, None)
        for attempt in range(_TRIES):
            self._reseed(study, len(self._history.told), len(self._history.pending), attempt)
            trial, config = ask(study, self._numbered)
            if not self._history.knows(config):
                return config
            study.tell(trial, state=_failed())
        return None

    def _replayed(self) -> Config | None:
        """A config from a sampler that goes by generations.

        The search is repeated from an empty study. A proposal that is told is told again at once, one that is pending stays
        so, and the first that is neither is the answer. With one config at a time that is, step by step, what happened.
        Otherwise (several at once, a warm start) the sampler may propose something else before all that is told has come by:
        the rest is then put in as if it had proposed it, in the order of ids, and the search goes on from there.
        """
        study = empty_study()
        scores = {config_id(config): score for config, score in self._history.observations()}
        rest = {config_id(c): c for c, _ in self._history.observations()} | self._history.pending
        repeats = 0
        for step in range(len(rest) * (_TRIES + 1) + _TRIES):
            self._reseed(study, step)
            trial, config = ask(study, self._numbered)
            key = config_id(config)
            if key not in rest and not self._history.knows(config) and key not in self._history.warm:
                if not rest:
                    return config
                study.tell(trial, state=_failed())
                self._force(study, rest, scores, step)
                rest = {}
                continue
            repeats = 0 if key in rest else repeats + 1
            rest.pop(key, None)
            if key in scores:
                study.tell(trial, scores[key])
            if repeats >= _TRIES and not rest:
                return None
        return None

    def _force(self, study: optuna.Study, rest: dict[str, Config], scores: dict[str, float], step: int) -> None:
        """Put ``rest`` into ``study`` as proposals of the sampler."""
        for number, (key, config) in enumerate(sorted(rest.items())):
            study.enqueue_trial(dict(self._numbered.numbers(config)))
            self._reseed(study, step, "forced", number)
            trial, _ = ask(study, self._numbered)
            if key in scores:
                study.tell(trial, scores[key])


def _failed() -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState.FAIL


@contextmanager
def _silent() -> Iterator[None]:
    """Without Optuna's log: its studies here last for one proposal, and warnings of experimental parts are for us."""
    import warnings

    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
