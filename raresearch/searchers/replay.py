"""A search by generations, gone through again from its first step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING

from raresearch.searchers.history import History
from raresearch.searchers.trials import Trials
from raresearch.types import Config, config_id

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial


def replay(trials: Trials, sampler: Callable[[int], BaseSampler], history: History, tries: int) -> Config | None:
    """The next proposal of a sampler whose state is its past; None where it is stuck: ``tries`` known configs in a row.

    ``trials``: empty. ``sampler``: made anew from the number of the trial. A proposal that is told is told again at once,
    one that is pending stays so, and the first that is neither is the answer: with one config at a time that is, step by
    step, what happened. Otherwise (several at once) the sampler may propose something new before all that is known has
    come by: the rest is then put in as if proposed, in the order of ids, and the search goes on behind it. A warm start
    comes first of all.

    A failed config is a failed trial, which no generation counts: its lie would change as worse ones come in, and so would
    all that followed from it.
    """
    return _Replay(trials, (sampler(number) for number in count()), history).run(tries)


class _Replay:
    def __init__(self, trials: Trials, samplers: Iterator[BaseSampler], history: History) -> None:
        self.trials, self.samplers, self.history = trials, samplers, history
        self.rest = {**history.pending, **{key: config for key, (config, _) in history.told.items()}}

    def run(self, tries: int) -> Config | None:
        for config, score in self.history.warm.values():
            self.trials.tell(self.trials.force(next(self.samplers), config), score)
        repeats = 0
        while self.rest or repeats < tries:
            trial, config = self.trials.ask(next(self.samplers))
            new = not self.history.knows(config)
            if new and not self.rest:
                return config
            repeats = 0 if self.rest.pop(key := config_id(config), None) else repeats + 1
            self._settle(trial, key, failed=new)
            if new or repeats >= tries:
                self._force_rest()
        return None

    def _force_rest(self) -> None:
        for key, config in sorted(self.rest.items()):
            self._settle(self.trials.force(next(self.samplers), config), key)
        self.rest = {}

    def _settle(self, trial: Trial, key: str, failed: bool = False) -> None:
        """Tell ``trial`` what is known of it; a pending one goes on running."""
        score = self.history.told[key][1] if key in self.history.told else math.nan
        if failed or key in self.history.told:
            scores = score if isinstance(score, tuple) else (score,)
            self.trials.tell(trial, score if all(map(math.isfinite, scores)) else None)
