"""Optuna's samplers beyond the contract."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest

from raresearch.errors import SpecError
from raresearch.searchers.history import History
from raresearch.searchers.numbers import NumberedSpace
from raresearch.searchers.optuna import OptunaSearcher
from raresearch.searchers.optuna_samplers import SAMPLERS, SamplerOptions
from raresearch.searchers.replay import replay
from raresearch.searchers.trials import Trials, silent
from raresearch.space import Choice, Float, Int, Space
from raresearch.types import Config, config_id

PLANE = Space({"train.x": Float(0.0, 1.0), "train.rate": Float(1e-5, 1e-1, log=True)})
MIXED = Space(
    {
        "model.hidden": Choice(((8,), (16, 8))),
        "model.rate": Float(0.1, 0.9, steps=5),
        "model.depth": Int(1, 64, log=True),
        "model.x": Float(0.0, 1.0),
    },
    {"model.depth": {"model.hidden": [[16, 8]]}},
)


def peak(config: Config) -> float:
    return -((config["train.x"] - 0.7) ** 2) - ((math.log10(config["train.rate"]) + 2) / 4) ** 2  # type: ignore[operator,arg-type]


def search(searcher: OptunaSearcher, fails: Any = lambda config: False) -> list[Config]:
    told = []
    while (config := searcher.ask()) is not None:
        searcher.tell(config, math.nan if fails(config) else peak(config))
        told.append(config)
    return told


def test_a_search_for_two_objectives_moves_towards_the_known_front() -> None:
    """Nearness to two points at once: what no other point beats lies between them, at 0.3 <= x <= 0.7 and the middle rate."""

    def distances(config: Config) -> tuple[float, float]:
        x, height = float(str(config["train.x"])), (math.log10(float(str(config["train.rate"]))) + 3) / 4
        return -((x - 0.3) ** 2) - height**2, -((x - 0.7) ** 2) - height**2

    def from_front(config: Config) -> float:
        x, height = float(str(config["train.x"])), (math.log10(float(str(config["train.rate"]))) + 3) / 4
        return math.hypot(max(0.3 - x, 0.0, x - 0.7), height)

    searcher = OptunaSearcher(PLANE, 60, seed=2, sampler="nsga2", population=10, objectives=2)
    told = []
    while (config := searcher.ask()) is not None:
        searcher.tell(config, distances(config))
        told.append(from_front(config))
    assert sorted(told[30:])[15] < sorted(told[:30])[15]  # as below, for one objective


@pytest.mark.parametrize(("sampler", "options"), [("tpe", {}), ("cmaes", {"population": 6}), ("nsga2", {"population": 8})])
def test_the_later_half_of_a_search_is_better_than_the_first(sampler: str, options: dict[str, Any]) -> None:
    scores = [peak(c) for c in search(OptunaSearcher(PLANE, 60, seed=2, sampler=sampler, **options))]
    assert sorted(scores[30:])[15] > sorted(scores[:30])[15]


def test_generations_go_on_through_a_replay_as_through_one_study() -> None:
    """Beside Optuna's CMA-ES in one study that is never rebuilt, reseeded as the searcher does it."""
    searcher = OptunaSearcher(PLANE, 25, seed=3, sampler="cmaes", population=5)
    one_study = []
    with silent():
        trials = Trials(NumberedSpace.of(PLANE))
        for number in range(25):
            trial, config = trials.ask(searcher._at_step(number))
            trials.tell(trial, peak(config))
            one_study.append(config)
    assert search(searcher) == one_study
    generations = {t.system_attrs.get("cma:generation") for t in trials.study.trials}
    assert len(generations - {None}) >= 4, "several generations passed"


def test_what_a_sampler_did_not_propose_itself_enters_its_generations_all_the_same() -> None:
    """Several at once, an interruption: the replay does not come by them."""
    history = History.warmed([({"train.x": 0.5, "train.rate": 1e-3}, 0.1)])
    others = [{"train.x": n / 20, "train.rate": 1e-3} for n in range(10)]
    for config in others:
        history.tell(config, peak(config))
    waiting = history.propose({"train.x": 0.9, "train.rate": 1e-4})
    kind, options = SAMPLERS["cmaes"], SamplerOptions(10, 4, 2, False)
    with silent():
        trials = Trials(NumberedSpace.of(PLANE))
        proposed = replay(trials, lambda number: kind.make(options, number), history, 20)
        states = [(trial.params, trial.state.name) for trial in trials.study.trials]
    assert proposed not in [None, waiting, *others]
    assert [p for p, state in states if state == "RUNNING"] == [waiting, proposed]
    done = [p for p, state in states if state == "COMPLETE"]
    assert done[0] == {"train.x": 0.5, "train.rate": 1e-3}, "a warm start comes first"
    assert sorted(p["train.x"] for p in done[1:]) == [n / 20 for n in range(10)]
    assert trials.study.trials[-1].system_attrs["cma:generation"] == 2, "after ten told in generations of four"


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga2"])
def test_failures_do_not_stop_a_search(sampler: str) -> None:
    told = search(OptunaSearcher(PLANE, 30, seed=1, sampler=sampler), fails=lambda c: c["train.x"] > 0.5)
    assert len({config_id(c) for c in told}) == 30


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsga2", "random"])
def test_configs_become_trials_of_numbers_and_come_back(sampler: str) -> None:
    searcher = OptunaSearcher(MIXED, 14, seed=1, sampler=sampler)
    for _ in range(14):
        config = searcher.ask()
        assert config is not None
        assert MIXED.contains(config)
        assert list(config) == [name for name in MIXED.axes if name in config]
        searcher.tell(config, float(config["model.x"]))  # type: ignore[arg-type]


def test_optuna_keeps_its_voice_for_others(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    OptunaSearcher(PLANE, 3, seed=1).ask()
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"configs": True}, r"optuna\.configs: must be an integer from 1 up"),
        ({"configs": 9, "initial": 0}, r"optuna\.initial: must be an integer from 1 up"),
        ({"configs": 9, "sampler": "cma"}, r"optuna\.sampler: there is no 'cma'; did you mean 'cmaes'"),
        ({"configs": 9, "population": 9}, r"optuna\.population: tpe has no generations of 9; drop it"),
        ({"configs": 9, "sampler": "cmaes", "population": 1}, r"optuna\.population: cmaes has no generations of 1"),
        ({"configs": 9, "sampler": "cmaes", "population": 2.5}, r"optuna\.population: must be an integer"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OptunaSearcher(PLANE, seed=1, **options)
