"""All built-in searchers keep the contract that ships for strangers."""

from __future__ import annotations

import random as python_random
from typing import Any

import numpy as np
import pytest

from raresearch.errors import PluginError, SpaceError, SpecError
from raresearch.searchers.base import Searcher
from raresearch.searchers.build import build_searcher
from raresearch.searchers.grid import GridSearcher
from raresearch.searchers.optuna import OptunaSearcher
from raresearch.searchers.random import RandomSearcher
from raresearch.searchers.skopt import SkoptSearcher
from raresearch.space import Choice, Float, Int, Space
from raresearch.spec import Component
from raresearch.testing.searcher_contract import CATEGORICAL, CONTINUOUS, FINITE, SearcherContract
from raresearch.types import Config, config_id


class TestGrid(SearcherContract):
    spaces = (FINITE, CATEGORICAL)

    def make(self, space: Space, seed: int) -> Searcher:
        return GridSearcher(space)

    def test_proposes_every_point_in_the_order_of_the_grid(self) -> None:
        assert self.run(FINITE, GridSearcher(FINITE)) == list(FINITE.grid())

    def test_refuses_a_continuous_axis_and_names_the_remedy(self) -> None:
        with pytest.raises(
            SpaceError, match=r"space\.train\.learning_rate: a continuous axis has no grid; add e\.g\. steps: 5"
        ):
            GridSearcher(CONTINUOUS)


class TestRandom(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return RandomSearcher(space, configs=30, seed=seed)

    def test_ends_after_configs_proposals(self) -> None:
        assert len(self.run(CONTINUOUS, RandomSearcher(CONTINUOUS, configs=5, seed=1))) == 5

    def test_more_configs_go_on_with_the_same_sequence(self) -> None:
        few = self.run(CONTINUOUS, RandomSearcher(CONTINUOUS, configs=5, seed=1))
        many = self.run(CONTINUOUS, RandomSearcher(CONTINUOUS, configs=9, seed=1))
        assert many[:5] == few

    @pytest.mark.parametrize("at_once", [1, 2, 7])
    def test_the_set_of_configs_does_not_depend_on_how_many_run_at_once(self, at_once: int) -> None:
        told = self.run(CONTINUOUS, self.make(CONTINUOUS, 3), at_once=at_once)
        alone = self.run(CONTINUOUS, self.make(CONTINUOUS, 3))
        assert {config_id(c) for c in told} == {config_id(c) for c in alone}

    def test_the_set_of_configs_survives_interruptions_of_a_parallel_run(self) -> None:
        """Told in any order, with pending ones lost at every interruption."""
        shuffle = python_random.Random(5)
        uninterrupted = self.run(CONTINUOUS, self.make(CONTINUOUS, 4))
        told: list[Any] = []
        while len(told) < 30:
            shuffle.shuffle(told)
            told = self.run(CONTINUOUS, self.make(CONTINUOUS, 4), done=told, at_once=4, stop=min(30, len(told) + 4))
        assert {config_id(c) for c in told} == {config_id(c) for c in uninterrupted}

    def test_another_seed_gives_other_configs(self) -> None:
        one, two = (self.run(CONTINUOUS, self.make(CONTINUOUS, seed)) for seed in (1, 2))
        assert not {config_id(c) for c in one} & {config_id(c) for c in two}

    def test_uses_up_a_space_where_one_point_is_rare(self) -> None:
        """Half of all draws give one of two hundred points: drawing alone would hardly find the last of the others."""
        space = Space({"model.kind": Choice(("a", "b")), "model.size": Int(1, 200)}, {"model.size": {"model.kind": "b"}})
        told = self.run(space, RandomSearcher(space, configs=201, seed=1), stop=1000)
        assert {config_id(c) for c in told} == {config_id(c) for c in space.grid()}
        assert len(told) == 201

    def test_ends_where_a_continuous_axis_is_used_up(self) -> None:
        """Two numbers of double precision lie in this range."""
        space = Space({"train.learning_rate": Float(1.0, 1.0000000000000002)})
        assert len(self.run(space, RandomSearcher(space, configs=10, seed=1))) <= 2

    @pytest.mark.parametrize("configs", [0, -1, True, 2.0, "ten"])
    def test_refuses_a_number_of_configs_that_is_none(self, configs: Any) -> None:
        with pytest.raises(SpecError, match=r"random\.configs: must be an integer from 1 up"):
            RandomSearcher(FINITE, configs=configs, seed=0)


class TestSkopt(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return SkoptSearcher(space, configs=20, seed=seed, initial=6)


class TestSkoptHedge(SearcherContract):
    spaces = (FINITE, CONTINUOUS)

    def make(self, space: Space, seed: int) -> Searcher:
        return SkoptSearcher(space, configs=14, seed=seed, acquisition="gp_hedge", initial=8)


class TestOptunaTPE(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return OptunaSearcher(space, configs=20, seed=seed, sampler="tpe", initial=4)


class TestOptunaGP(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        # Few proposals of the process itself: each is a fit.
        return OptunaSearcher(space, configs=13, seed=seed, sampler="gp", initial=10)


class TestOptunaCMAES(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return OptunaSearcher(space, configs=20, seed=seed, sampler="cmaes", population=4)


class TestOptunaNSGA2(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return OptunaSearcher(space, configs=20, seed=seed, sampler="nsga2", population=4)


class TestOptunaNSGA2OfTwoObjectives(SearcherContract):
    objectives = 2

    def make(self, space: Space, seed: int) -> Searcher:
        return OptunaSearcher(space, configs=20, seed=seed, sampler="nsga2", population=4, objectives=2)


class TestOptunaRandom(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return OptunaSearcher(space, configs=20, seed=seed, sampler="random")


def test_a_searcher_is_made_from_its_name_and_options() -> None:
    assert isinstance(build_searcher(Component("grid"), FINITE, seed=1), GridSearcher)
    made = build_searcher(Component("random", {"configs": 3}), CONTINUOUS, seed=1)
    assert [made.ask() for _ in range(4)] == [*TestRandom().run(CONTINUOUS, RandomSearcher(CONTINUOUS, 3, 1)), None]


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Component("random"), r"random\.configs: this option is needed"),
        (Component("random", {"config": 3}), r"random\.config: there is no such option; did you mean 'configs'"),
        (Component("random", {"configs": 3, "seed": 1}), r"random\.seed: is set by the study itself"),
        (Component("grid", {"configs": 3}), r"grid\.configs: there is no such option; it has none"),
    ],
)
def test_a_wrong_option_is_named_with_the_nearest_right_one(component: Component, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_searcher(component, FINITE, seed=1)


def test_an_unknown_searcher_lists_what_exists() -> None:
    with pytest.raises(PluginError, match=r"gird: is not one of the searchers; did you mean 'grid'"):
        build_searcher(Component("gird"), FINITE, seed=1)


class Forgetful:
    """Seeded once, deaf to what it is told: the mistake that the contract is there for."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.rng = space, np.random.default_rng(seed)

    def ask(self) -> Config | None:
        return self.space.sample(self.rng)

    def tell(self, config: Config, score: float) -> None:
        pass


class _OfForgetful(SearcherContract):
    def make(self, space: Space, seed: int) -> Searcher:
        return Forgetful(space, seed)


@pytest.mark.parametrize(
    "name",
    [
        "test_gives_none_once_a_finite_space_is_used_up_and_keeps_to_it",
        "test_a_space_of_one_point_is_proposed_once",
        "test_all_told_before_the_first_ask_leaves_nothing",
        "test_interruptions_at_any_point_do_not_change_the_configs",
        "test_a_resumed_search_never_repeats_what_is_done",
    ],
)
def test_the_contract_catches_a_sampler_that_starts_over(name: str) -> None:
    with pytest.raises(AssertionError):
        getattr(_OfForgetful(), name)()
