"""The obligations of a `Searcher` as tests: inherit `SearcherContract`, say how to make yours, and run pytest.

class TestMine(SearcherContract):
    def make(self, space, seed):
        return MySearcher(space, seed=seed)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raresearch.searchers.base import Expecting, Score, Searcher
from raresearch.space import Choice, Float, Int, Space
from raresearch.types import Config, config_id

#: finite, with a list-valued choice, a condition and a chain of conditions: 5 points with hidden A, 1 + 2 * (3 + 1) with B
FINITE = Space(
    {
        "model.hidden": Choice(((8,), (16, 8)), labels=("A", "B")),
        "model.kind": Choice(("plain", "residual", "dense")),
        "model.skip": Choice((True, False)),
        "model.depth": Int(1, 3),
    },
    {"model.skip": {"model.kind": ["residual", "dense"]}, "model.depth": {"model.skip": True, "model.hidden": "B"}},
)
CONTINUOUS = Space(
    {"train.learning_rate": Float(1e-5, 1e-2, log=True), "model.layers": Int(1, 4), "model.act": Choice(("relu", "elu"))}
)
CATEGORICAL = Space({"model.kind": Choice(("plain", "residual", None)), "model.flag": Choice((True, 1, 1.0, "1"))})
LOG_INTS = Space({"train.batch_size": Int(1, 512, log=True), "model.width": Int(3, 3), "train.steps": Float(0.1, 1e3, True, 7)})

#: a test never asks for more configs than this
MOST = 40
_SETTINGS = settings(
    max_examples=10,
    deadline=None,
    # The same inherited test runs for each searcher: that is what it is for.
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
)


def score_of(config: Config) -> float:
    """A score that depends on the config alone."""
    return int(config_id(config), 16) / 16**12


def scores_of(config: Config) -> tuple[float, float]:
    """Two scores that depend on the config alone, and not on each other."""
    number = int(config_id(config), 16)
    return number / 16**12, number * 0x9E3779B97F4A7C15 % 2**64 / 2**64


class SearcherContract:
    """Inherit it under a name that begins with `Test`."""

    #: spaces that the searcher takes; leave out what it does not
    spaces: Sequence[Space] = (FINITE, CONTINUOUS, CATEGORICAL, LOG_INTS)

    #: 2 for a searcher that takes two scores at once (see `raresearch.searchers.base.Several`)
    objectives: int = 1

    def tell(self, searcher: Any, config: Config, value: float | None = None) -> None:
        """Tell ``value``, for each objective, or what the config has."""
        own: Score = score_of(config) if self.objectives == 1 else scores_of(config)
        same: Score = own if value is None else value if self.objectives == 1 else (value,) * self.objectives
        searcher.tell(config, same)

    def make(self, space: Space, seed: int) -> Searcher:
        """A fresh searcher over ``space``, able to propose at least 12 configs where the space has them."""
        raise NotImplementedError

    def run(
        self, space: Space, searcher: Searcher, done: Sequence[Config] = (), at_once: int = 1, stop: int = MOST
    ) -> list[Config]:
        """The configs told, in order: first ``done``, then what is asked, ``at_once`` pending, until ``stop`` are told."""
        told = list(done)
        # A resumed study tells in the order of the store, not in that of the search.
        for known in sorted(told, key=config_id):
            self.tell(searcher, known)
        pending: list[Config] = []
        ended = False
        while len(told) < stop:
            while not ended and len(pending) < at_once:
                config = searcher.ask()
                ended = config is None
                pending += [] if config is None else [config]
            if not pending:
                break
            # The last asked finishes first, so that the order of telling is not the order of asking.
            finished = pending.pop()
            self.tell(searcher, finished)
            told.append(finished)
        return told

    def test_proposes_points_of_the_space(self) -> None:
        for space in self.spaces:
            proposed = self.run(space, self.make(space, 1))
            assert proposed
            assert all(space.contains(config) for config in proposed)

    def test_the_same_seed_proposes_the_same_configs(self) -> None:
        for space in self.spaces:
            assert self.run(space, self.make(space, 7)) == self.run(space, self.make(space, 7))

    @pytest.mark.parametrize("at_once", [1, 3, MOST])
    def test_never_proposes_a_pending_or_told_config_again(self, at_once: int) -> None:
        for space in self.spaces:
            proposed = [config_id(c) for c in self.run(space, self.make(space, 2), at_once=at_once)]
            assert len(proposed) == len(set(proposed))

    def test_gives_none_once_a_finite_space_is_used_up_and_keeps_to_it(self) -> None:
        for space in self.spaces:
            size = space.size()
            if size is not None and size <= MOST:
                searcher = self.make(space, 3)
                told = self.run(space, searcher)
                assert len(told) <= size
                assert searcher.ask() is None
                self.tell(searcher, told[0], 0.0)
                assert searcher.ask() is None

    def test_a_space_of_one_point_is_proposed_once(self) -> None:
        space = Space({"model.layers": Int(2, 2)})
        assert self.run(space, self.make(space, 4)) == [{"model.layers": 2}]

    def test_a_failed_config_is_not_proposed_again(self) -> None:
        for space in self.spaces:
            searcher = self.make(space, 5)
            failed = searcher.ask()
            assert failed is not None
            self.tell(searcher, failed, math.nan)
            assert config_id(failed) not in {config_id(c) for c in self.run(space, searcher)}

    def test_all_told_before_the_first_ask_leaves_nothing(self) -> None:
        for space in self.spaces:
            size = space.size()
            if size is not None and size <= MOST:
                assert self.run(space, self.make(space, 6), done=list(space.grid())) == list(space.grid())

    @_SETTINGS
    @given(cuts=st.lists(st.integers(0, 12), max_size=3), seed=st.integers(0, 2**32), which=st.integers(0, 7))
    def test_interruptions_at_any_point_do_not_change_the_configs(self, cuts: list[int], seed: int, which: int) -> None:
        space = self.spaces[which % len(self.spaces)]
        uninterrupted = self.run(space, self.make(space, seed), stop=12)
        told: list[Config] = []
        for cut in [*sorted(cuts), 12]:
            told = self.run(space, self.make(space, seed), done=told, stop=cut)
        assert {config_id(c) for c in told} == {config_id(c) for c in uninterrupted}
        assert len(told) == len(uninterrupted)

    @_SETTINGS
    @given(
        cuts=st.lists(st.integers(0, 12), max_size=3),
        at_once=st.integers(1, 5),
        seed=st.integers(0, 2**32),
        which=st.integers(0, 7),
    )
    def test_a_resumed_search_never_repeats_what_is_done(self, cuts: list[int], at_once: int, seed: int, which: int) -> None:
        space = self.spaces[which % len(self.spaces)]
        told: list[Config] = []
        for cut in [*sorted(cuts), 12]:
            told = self.run(space, self.make(space, seed), done=told, at_once=at_once, stop=cut)
        done = [config_id(c) for c in told]
        assert len(done) == len(set(done))

    def test_a_config_half_done_in_an_earlier_run_is_pending(self) -> None:
        for space in self.spaces:
            searcher = self.make(space, 9)
            if not isinstance(searcher, Expecting):
                pytest.skip("this searcher does not hear of half-done configs")
            proposed = self.run(space, self.make(space, 9))
            for config in proposed[:3]:
                searcher.expect(config)
            others = self.run(space, searcher)
            assert not {config_id(c) for c in proposed[:3]} & {config_id(c) for c in others}
            assert len(others) == len(proposed) - 3

    def test_a_config_changed_after_it_was_told_does_not_disturb_the_search(self) -> None:
        for space in self.spaces:
            searcher, twin = self.make(space, 8), self.make(space, 8)
            first, same = searcher.ask(), twin.ask()
            assert isinstance(first, dict)
            assert same is not None
            self.tell(searcher, first, 1.0)
            self.tell(twin, same, 1.0)
            first.clear()
            assert self.run(space, searcher, stop=12) == self.run(space, twin, stop=12)
