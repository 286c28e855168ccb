"""Axes, conditions, points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raresearch.errors import SpaceError
from raresearch.space import Choice, Float, Int, Space


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_choice_keeps_its_order_and_turns_lists_into_tuples() -> None:
    axis = Choice(([32, 16], [8], None, "relu"))
    assert axis.grid() == ((32, 16), (8,), None, "relu")
    assert axis.contains((32, 16))
    assert axis.contains(None)
    assert not axis.contains((16, 32))


def test_a_choice_tells_one_from_true_and_from_one_point_zero() -> None:
    axis = Choice((1, True, 1.0))
    assert axis.size == 3
    assert not Choice((1,)).contains(True)
    assert not Choice((1,)).contains(1.0)


def test_every_value_of_a_choice_is_drawn() -> None:
    axis = Choice(("a", "b", "c"))
    assert {axis.sample(r) for r in [rng()] for _ in range(100)} == {"a", "b", "c"}


def test_labels_name_values_and_values_are_found_by_label() -> None:
    axis = Choice(([32, 16, 8, 8], [32, 16, 16, 8]), labels=("4A", "4B"))
    assert axis.label((32, 16, 16, 8)) == "4B"
    assert axis.labelled("4A") == (32, 16, 8, 8)
    assert Choice(([32, 16],)).label((32, 16)) == "[32, 16]"


def test_an_integer_range_includes_both_ends() -> None:
    axis = Int(1, 4)
    assert axis.grid() == (1, 2, 3, 4)
    assert {axis.sample(r) for r in [rng()] for _ in range(200)} == {1, 2, 3, 4}
    assert not axis.contains(5)
    assert not axis.contains(2.0)
    assert not axis.contains(True)


def test_a_logarithmic_integer_range_draws_small_numbers_as_often_as_large_ones() -> None:
    drawn = [Int(1, 1000, log=True).sample(r) for r in [rng()] for _ in range(4000)]
    below = np.mean([int(str(value)) <= 31 for value in drawn])
    assert 0.5 < below < 0.62  # log(31.5/0.5) / log(1000.5/0.5) = 0.545
    assert min(drawn) == 1  # type: ignore[type-var]


def test_the_ends_of_a_logarithmic_integer_range_have_their_share() -> None:
    drawn = [Int(1, 2, log=True).sample(r) for r in [rng()] for _ in range(4000)]
    assert drawn.count(1) / 4000 == pytest.approx(0.683, abs=0.03)  # log(1.5/0.5) / log(2.5/0.5)


def test_a_number_is_drawn_from_its_range_uniformly_or_on_the_log_scale() -> None:
    plain = [float(str(Float(0.0, 1.0).sample(r))) for r in [rng()] for _ in range(2000)]
    log = [float(str(Float(1e-6, 1.0, log=True).sample(r))) for r in [rng()] for _ in range(2000)]
    assert abs(np.mean(plain) - 0.5) < 0.03
    assert abs(np.mean(np.log10(log)) + 3.0) < 0.15
    assert all(Float(1e-6, 1.0, log=True).contains(value) for value in log)


def test_steps_make_a_range_discrete_with_exact_ends() -> None:
    axis = Float(0.0, 0.5, steps=3)
    assert axis.grid() == (0.0, 0.25, 0.5)
    assert {axis.sample(r) for r in [rng()] for _ in range(100)} == {0.0, 0.25, 0.5}
    assert not axis.contains(0.3)
    log = Float(1e-5, 1e-2, log=True, steps=4)
    assert log.grid() == pytest.approx((1e-5, 1e-4, 1e-3, 1e-2))
    assert (log.grid()[0], log.grid()[-1]) == (1e-5, 1e-2)


def test_an_integer_lies_in_a_range_of_numbers_but_true_does_not() -> None:
    assert Float(0.0, 2.0).contains(1)
    assert not Float(0.0, 2.0).contains(True)
    assert not Float(0.0, 2.0).contains(float("nan"))
    assert not Float(0.0, 2.0).contains("1")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(()), "needs at least one value"),
        (lambda: Choice((1, 1)), "has the value 1 twice"),
        (lambda: Choice(([1, 2], (1, 2))), r"has the value \[1,2\] twice"),
        (lambda: Choice((1, 2), ("a",)), "has 2 values and 1 labels"),
        (lambda: Choice((1, 2), ("a", "a")), "has the label 'a' twice"),
        (lambda: Choice((float("nan"),)), "cannot hold nan"),
        (lambda: Choice(({"a": 1},)), "cannot hold {'a': 1}"),  # type: ignore[arg-type]
        (lambda: Int(4, 1), r"the range \[4, 1\] is upside down; write int: \[1, 4\]"),
        (lambda: Int(0, 4, log=True), "must start above zero"),
        (lambda: Int(1.0, 4), "bounds must be integers"),  # type: ignore[arg-type]
        (lambda: Int(True, 4), "bounds must be integers"),
        (lambda: Int(1, 2**70), "bounds must be integers up to"),
        (lambda: Int(1, 10**7).grid(), "has more than 100000 values"),
        (lambda: Float(0.5, 0.0), r"the range \[0.5, 0.0\] is upside down"),
        (lambda: Float(0.5, 0.5), r"cannot span \[0.5, 0.5\]; widen it, or put the value under `fixed`"),
        (lambda: Float(-1e308, 1e308), "cannot span"),
        (lambda: Float(0.0, float("inf")), "bounds must be finite numbers"),
        (lambda: Float(0.0, 1.0, log=True), "must start above zero"),
        (lambda: Float(0.0, 1.0, log="yes"), "log must be true or false"),  # type: ignore[arg-type]
        (lambda: Float(0.0, 1.0, steps=1), "steps must be an integer from 2"),
        (lambda: Float(1.0, 1.0000000000000002, steps=5), "5 steps do not fit"),
        (lambda: Float(0.0, 1.0).grid(), "a continuous axis has no grid; add e.g. steps: 5"),
    ],
)
def test_an_ill_formed_axis_is_refused_with_rule_and_remedy(make: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


DEEP = Space(
    {"model.rate": Choice((0.1, 0.2)), "model.layers": Int(1, 3), "model.skip": Choice((True, False))},
    {"model.rate": {"model.skip": True}, "model.skip": {"model.layers": [2, 3]}},
)


def test_the_grid_varies_the_last_axis_fastest_and_an_axis_comes_after_those_it_reads() -> None:
    assert [tuple(point.items()) for point in DEEP.grid()] == [
        (("model.layers", 1),),
        (("model.layers", 2), ("model.skip", True), ("model.rate", 0.1)),
        (("model.layers", 2), ("model.skip", True), ("model.rate", 0.2)),
        (("model.layers", 2), ("model.skip", False)),
        (("model.layers", 3), ("model.skip", True), ("model.rate", 0.1)),
        (("model.layers", 3), ("model.skip", True), ("model.rate", 0.2)),
        (("model.layers", 3), ("model.skip", False)),
    ]
    assert DEEP.size() == 7


def test_a_point_has_exactly_the_axes_that_exist() -> None:
    assert DEEP.contains({"model.layers": 1})
    assert not DEEP.contains({"model.layers": 1, "model.skip": True})
    assert not DEEP.contains({"model.layers": 2})
    assert not DEEP.contains({"model.layers": 2, "model.skip": True})
    assert not DEEP.contains({"model.layers": 2, "model.skip": False, "other": 1})


def test_a_space_without_axes_has_one_point() -> None:
    assert list(Space({}).grid()) == [{}]
    assert Space({}).size() == 1
    assert Space({}).label({}) == "all fixed"


def test_a_condition_reads_a_label_as_well_as_a_value_and_a_list_valued_choice() -> None:
    hidden = Choice(([32, 16], [8]), labels=("big", "small"))
    spaces = [Space({"h": hidden, "d": Choice((0.1,))}, {"d": {"h": when}}) for when in ("big", [32, 16], [[32, 16]], ["big"])]
    assert all(space == spaces[0] for space in spaces)
    assert [point.get("d") for point in spaces[0].grid()] == [0.1, None]


def test_a_large_space_is_counted_without_listing_it() -> None:
    axes = {f"model.x{n}": Int(1, 1000) for n in range(6)}
    space = Space({**axes, "model.kind": Choice(("a", "b"))}, {"model.x0": {"model.kind": "a"}})
    assert space.size() == 1000**6 + 1000**5


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (
            {"model.skip": {"model.layer": 2}},
            r"space\.model\.skip\.when: 'model\.layer' is not an axis.*did you mean 'model\.layers'",
        ),
        ({"model.skop": {"model.layers": 2}}, r"'model\.skop' is not an axis of the space; did you mean 'model\.skip'"),
        ({"model.skip": {"model.layers": 7}}, r"when\.model\.layers: 7 is no value of model\.layers.*runs from 1 to 3"),
        ({"model.skip": {"model.layers": [1, 7]}}, r"\[1, 7\] is no value of model\.layers, nor a list of its values"),
        ({"model.skip": {"model.rate": 0.1}}, "a condition cannot read a continuous axis"),
        (
            {"model.skip": {"model.layers": 1}, "model.layers": {"model.skip": True}},
            "goes round in a circle: model.layers → model.skip → model.layers",
        ),
        ({"model.skip": {"model.skip": True}}, "goes round in a circle"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(conditions: Any, message: str) -> None:
    axes = {"model.rate": Float(0.0, 1.0), "model.layers": Int(1, 3), "model.skip": Choice((True, False))}
    with pytest.raises(SpaceError, match=message):
        Space(axes, conditions)


def test_a_list_that_is_a_value_and_a_list_of_values_is_ambiguous() -> None:
    with pytest.raises(SpaceError, match=r"\[1, 2\] is a value and a list of values of a; refer to labels"):
        Space({"a": Choice((1, 2, [1, 2])), "b": Int(1, 2)}, {"b": {"a": [1, 2]}})


def test_labels_stand_alone_and_other_values_carry_their_name() -> None:
    space = Space({"model.hidden": Choice(([8], [16]), ("4A", "4B")), "train.learning_rate": Float(1e-5, 1e-2)})
    assert space.label({"model.hidden": (16,), "train.learning_rate": 0.00123456}) == "4B · learning_rate=0.001235"
    twins = Space({"model.size": Int(1, 2), "data.size": Int(1, 2)})
    assert twins.label({"model.size": 1, "data.size": 2}) == "model.size=1 · data.size=2"


def test_equality_is_by_content_and_not_by_order() -> None:
    turned = Space(dict(reversed(DEEP.axes.items())), DEEP.conditions)
    assert turned == DEEP
    assert Space(DEEP.axes) != DEEP


def test_a_continuous_axis_has_no_size_and_the_grid_names_it() -> None:
    space = Space({"model.rate": Float(0.0, 1.0)})
    assert space.size() is None
    with pytest.raises(SpaceError, match=r"space\.model\.rate: a continuous axis has no grid"):
        space.grid()


def test_holding_axes_leaves_what_their_values_allow() -> None:
    assert list(DEEP.given({"model.layers": 1}).axes) == []
    assert DEEP.given({"model.layers": 3}) == Space(
        {"model.rate": DEEP.axes["model.rate"], "model.skip": DEEP.axes["model.skip"]}, {"model.rate": {"model.skip": True}}
    )
    assert DEEP.given({"model.layers": 9, "model.skip": True}) == Space({"model.rate": DEEP.axes["model.rate"]})


def test_a_full_config_leads_back_to_its_point() -> None:
    space = Space(
        {"train.rate": Choice((1, 2)), "model.n": Int(1, 4), "model.drop": Float(0.0, 1.0, steps=2)},
        {"model.drop": {"model.n": 2}},
    )
    full = {"train.rate": 1.0, "model.n": 3, "model.drop": 0.0, "train.epochs": 5}
    assert space.project(full) == {"train.rate": 1, "model.n": 3}
    assert type(space.project(full)["train.rate"]) is int
    with pytest.raises(SpaceError, match=r"space\.model\.n: 9 is no value of this axis; it runs from 1 to 4"):
        space.project({**full, "model.n": 9})
    with pytest.raises(SpaceError, match="nothing is no value"):
        space.project({"train.rate": 1})


def test_projection_does_not_take_true_for_one() -> None:
    with pytest.raises(SpaceError, match="true is no value"):
        Space({"a": Choice((1, 2))}).project({"a": True})
