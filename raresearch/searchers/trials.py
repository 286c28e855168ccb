"""Configs as trials of an Optuna study that lives for one proposal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from raresearch.searchers.base import Score
from raresearch.searchers.numbers import NumberedSpace, Range
from raresearch.types import Config


def distribution(span: Range) -> BaseDistribution:
    """What Optuna draws for an axis: its number. (Numbers of choices: Optuna takes no lists as values.)"""
    if span.unordered:
        return CategoricalDistribution(tuple(range(int(span.high) + 1)))
    if span.whole:
        return IntDistribution(int(span.low), int(span.high), log=span.log)
    return FloatDistribution(span.low, span.high, log=span.log)


class Trials:
    """A study in memory over ``space``, in numbers, with one objective or several; higher values are better."""

    def __init__(self, space: NumberedSpace, objectives: int = 1) -> None:
        self.space = space
        self.distributions = {name: distribution(span) for name, span in space.ranges.items()}
        self.study = optuna.create_study(directions=["maximize"] * objectives)

    def ask(self, sampler: optuna.samplers.BaseSampler) -> tuple[Trial, Config]:
        """A running trial drawn by ``sampler``, axis by axis as conditions let them exist, and its config."""
        self.study.sampler = sampler
        trial = self.study.ask()
        return trial, self._suggested(trial)

    def force(self, sampler: optuna.samplers.BaseSampler, config: Config) -> Trial:
        """A running trial of ``config``, entered in the generation that ``sampler`` is at."""
        self.study.sampler = sampler
        self.study.enqueue_trial(dict(self.space.numbers(config)))
        trial = self.study.ask()
        # Optuna asks the sampler when the first free parameter is drawn, and here none is: without this line the sampler
        # would not hear of the trial, which then belonged to no generation.
        _ = trial.relative_params
        self._suggested(trial)
        return trial

    def _suggested(self, trial: Trial) -> Config:
        numbers: dict[str, int | float] = {}
        for name, span in self.space.ranges.items():
            if self.space.exists(name, numbers):
                numbers[name] = self._suggest(trial, name, span)
        return self.space.config(numbers)

    def _suggest(self, trial: Trial, name: str, span: Range) -> int | float:
        if span.unordered:
            return int(str(trial.suggest_categorical(name, range(int(span.high) + 1))))
        if span.whole:
            return int(trial.suggest_int(name, int(span.low), int(span.high), log=span.log))
        return float(trial.suggest_float(name, span.low, span.high, log=span.log))

    def tell(self, trial: Trial, score: Score | None) -> None:
        """``trial`` has ``score``, or has failed."""
        if score is None:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, score)

    def add(self, config: Config, score: float | None) -> None:
        """A trial that no sampler has drawn: finished with ``score``, or running."""
        numbers = self.space.numbers(config)
        self.study.add_trial(
            optuna.create_trial(
                state=TrialState.RUNNING if score is None else TrialState.COMPLETE,
                params=dict(numbers),
                distributions={name: self.distributions[name] for name in numbers},
                value=score,
            )
        )


@contextmanager
def silent() -> Iterator[None]:
    """Optuna without its log (its studies here last for one proposal) and its warnings of experimental parts."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
