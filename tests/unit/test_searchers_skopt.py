"""The Gaussian-process searcher beyond the contract: what it does with scores, with pending points and with its process."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from raresearch.errors import SpecError
from raresearch.searchers.encoding import Encoding
from raresearch.searchers.history import History
from raresearch.searchers.maximise import best_free, maximise
from raresearch.searchers.random import RandomSearcher
from raresearch.searchers.skopt import SkoptSearcher, fit
from raresearch.space import Choice, Float, Int, Space
from raresearch.types import Config, config_id

LINE = Space({"train.x": Float(0.0, 1.0)})
PLANE = Space({"train.x": Float(0.0, 1.0), "train.rate": Float(1e-5, 1e-1, log=True)})


def tell_all(searcher: Any, observations: list[tuple[Config, float]]) -> Any:
    for config, score in observations:
        searcher.tell(config, score)
    return searcher


def peak(config: Config) -> float:
    """Its maximum, 0, lies at x = 0.7 and a rate of 1e-2."""
    return -((config["train.x"] - 0.7) ** 2) - ((math.log10(config["train.rate"]) + 2) / 4) ** 2  # type: ignore[operator,arg-type]


def test_it_finds_a_peak_that_random_search_does_not() -> None:
    def best(searcher: Any) -> float:
        found = -math.inf
        while (config := searcher.ask()) is not None:
            searcher.tell(config, peak(config))
            found = max(found, peak(config))
        return found

    assert best(SkoptSearcher(PLANE, 25, seed=1)) > -1e-4
    assert best(RandomSearcher(PLANE, 25, seed=1)) < -1e-3


@pytest.mark.parametrize("acquisition", ["EI", "PI", "LCB", "gp_hedge"])
def test_every_acquisition_goes_to_the_better_side(acquisition: str) -> None:
    told = [({"train.x": x / 10}, x / 10) for x in range(10)]
    searcher = tell_all(SkoptSearcher(LINE, 99, seed=1, acquisition=acquisition), told)
    assert searcher.ask()["train.x"] > 0.8


def test_the_scale_of_the_scores_does_not_matter() -> None:
    """scikit-optimize asks EI for an improvement of 0.01, whether scores are AUCs or hundreds."""

    def proposals(scale: float) -> list[Config]:
        told = [({"train.x": x / 10}, scale * (math.sin(x) + 3)) for x in range(10)]
        searcher = tell_all(SkoptSearcher(LINE, 99, seed=1), told)
        return [searcher.ask(), searcher.ask()]

    assert proposals(2.0**-20) == proposals(1.0) == proposals(2.0**20)


def test_pending_configs_spread_the_next_ones() -> None:
    """Without a lie about what is pending, all would go to the top of the same improvement."""
    told = [({"train.x": x / 10}, -abs(x / 10 - 0.52)) for x in range(11)]
    searcher = tell_all(SkoptSearcher(LINE, 99, seed=1), told)
    asked = [searcher.ask()["train.x"] for _ in range(5)]
    gaps = np.diff(sorted(asked))
    assert gaps.min() > 1e-3


def test_a_failed_config_counts_as_bad_as_the_worst_success() -> None:
    history = History()
    history.tell({"x": 1}, 0.5)
    history.tell({"x": 2}, -math.inf)
    history.tell({"x": 3}, math.nan)
    history.tell({"x": 4}, 0.9)
    assert sorted((c["x"], s) for c, s in history.observations()) == [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.9)]


def test_what_is_known_does_not_depend_on_the_order_of_telling() -> None:
    one, other = History.warmed([({"x": 9}, 9.0)]), History.warmed([({"x": 9}, 9.0)])
    observations = [({"x": n}, float(n)) for n in range(10)]
    tell_all(one, observations)
    tell_all(other, observations[::-1])
    assert one.observations() == other.observations()
    assert [config["x"] for config, _ in one.observations()] != list(range(10)), "ids are in no order of values"


def test_where_all_have_failed_there_is_nothing_to_learn_and_the_search_goes_on_at_random() -> None:
    failed = [({"train.x": x / 10}, -math.inf) for x in range(11)]
    searcher = tell_all(SkoptSearcher(LINE, 99, seed=1), failed)
    asked = [searcher.ask() for _ in range(3)]
    assert len({config_id(c) for c in asked}) == 3
    assert History().observations() == []


def test_equal_scores_are_no_trouble() -> None:
    searcher = tell_all(SkoptSearcher(LINE, 99, seed=1), [({"train.x": x / 10}, 0.5) for x in range(11)])
    assert LINE.contains(searcher.ask())


def test_the_order_of_telling_does_not_matter_to_the_last_bit() -> None:
    rng = np.random.default_rng(3)
    told = [(c, peak(c)) for c in (PLANE.sample(rng) for _ in range(15))]
    one, other = (tell_all(SkoptSearcher(PLANE, 99, seed=1), order) for order in (told, told[::-1]))
    assert [one.ask() for _ in range(3)] == [other.ask() for _ in range(3)]


def test_a_small_space_is_searched_to_its_exact_best_free_point() -> None:
    """Beside the model's own best of all points, one by one."""
    space = Space({"model.n": Int(0, 40), "model.kind": Choice(("a", "b", "c"))})
    points = list(space.grid())
    rng = np.random.default_rng(1)
    told = [(points[i], -abs(points[i]["model.n"] - 23.0)) for i in rng.permutation(len(points))[:30]]  # type: ignore[operator]
    asked = tell_all(SkoptSearcher(space, 99, seed=1), told).ask()
    encoding = Encoding(space)
    in_order = sorted(told, key=lambda o: config_id(o[0]))
    scores = np.array([s for _, s in in_order])
    model = fit(encoding.features(encoding.codes(c for c, _ in in_order)), -(scores - scores.mean()) / scores.std())
    from skopt.acquisition import gaussian_ei

    best, known = None, {config_id(c) for c, _ in told}
    for point in points:
        value = gaussian_ei(encoding.features(encoding.codes([point])), model, -(scores.max() - scores.mean()) / scores.std())[
            0
        ]
        if config_id(point) not in known and (best is None or value > best[0] * (1 + 1e-6)):
            best = (value, point)
    assert best is not None
    assert asked == best[1]


def test_the_maximum_is_found_between_the_first_draws_and_never_at_a_taken_point() -> None:
    encoding = Encoding(PLANE)
    target = np.array([0.123456, 0.654321])
    found = maximise(
        lambda f: -((f - target) ** 2).sum(axis=1), encoding, np.empty((0, 2)), np.empty((0, 2)), np.random.default_rng(1)
    )
    assert found is not None
    np.testing.assert_allclose(encoding.features(found[None])[0], target, atol=5e-3)
    again = maximise(
        lambda f: -((f - target) ** 2).sum(axis=1), encoding, np.empty((0, 2)), found[None], np.random.default_rng(1)
    )
    assert again is not None
    assert not np.array_equal(found, again)


def test_nothing_is_free_where_all_is_taken_whatever_the_sign_of_zero_and_nan() -> None:
    codes = np.array([[0.0, np.nan], [1.0, 2.0]])
    assert best_free(codes, np.array([1.0, 2.0]), np.array([[-0.0, -np.nan], [1.0, 2.0]])) is None
    left = best_free(codes, np.array([1.0, 2.0]), np.array([[1.0, 2.0]]))
    assert left is not None
    assert left[0] == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"configs": 0}, r"skopt\.configs: must be an integer from 1 up, not 0; write e\.g\. configs: 150"),
        ({"configs": 9, "initial": 0.5}, r"skopt\.initial: must be an integer"),
        ({"configs": 9, "acquisition": "ei"}, r"skopt\.acquisition: there is no 'ei'; known here: EI, LCB, PI, gp_hedge"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SkoptSearcher(LINE, seed=1, **options)
