"""Configs as arrays and back, against the space itself as the slow and obvious twin."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raresearch.searchers.encoding import Encoding
from raresearch.searchers.numbers import NumberedSpace, Range
from raresearch.space import Axis, Choice, Float, Int, Space
from raresearch.types import config_id

VALUES = (True, 1, 1.0, "1", None, (8,), (16, 8), "a")
_settings = settings(max_examples=60, deadline=None)


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    kind = draw(st.sampled_from(["choice", "int", "float", "steps"]))
    log = draw(st.booleans())
    if kind == "choice":
        return Choice(tuple(draw(st.permutations(VALUES)))[: draw(st.integers(1, 5))])
    low = draw(st.integers(1 if log else -50, 60))
    if kind == "int":
        return Int(low, low + draw(st.integers(0, 300)), log)
    return Float(low, low + draw(st.floats(0.5, 1e4)), log, draw(st.integers(2, 9)) if kind == "steps" else None)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    names = [f"model.{letter}" for letter in "abcd"[: draw(st.integers(1, 4))]]
    given_axes = {name: draw(axes()) for name in draw(st.permutations(names))}
    conditions: dict[str, dict[str, Any]] = {}
    for parent, child in itertools.pairwise(names):
        if (size := given_axes[parent].size) and size <= 9 and draw(st.booleans()):
            grid = given_axes[parent].grid()
            conditions[child] = {parent: [grid[draw(st.integers(0, len(grid) - 1))], grid[0]]}
    return Space(given_axes, conditions)


@_settings
@given(spaces(), st.integers(0, 2**32))
def test_every_point_comes_back_from_its_numbers_and_codes(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    encoding, numbered = Encoding(space), NumberedSpace.of(space)
    points = [space.sample(rng) for _ in range(5)]
    for point, code in zip(points, encoding.codes(points), strict=True):
        back = encoding.config(code)
        assert config_id(back) == config_id(point) == config_id(numbered.config(numbered.numbers(point)))
        assert list(back) == [name for name in space.axes if name in point]
        assert all(type(back[name]) is type(point[name]) for name in point), "Python's own types, not NumPy's"


@_settings
@given(spaces(), st.integers(0, 2**32))
def test_every_place_of_the_unit_cube_is_a_point_of_the_space(space: Space, seed: int) -> None:
    encoding = Encoding(space)
    units = np.random.default_rng(seed).random((8, len(space.axes)))
    units[0], units[1] = 0.0, 1.0
    codes = encoding.from_units(units)
    assert all(space.contains(encoding.config(code)) for code in codes)
    features = encoding.features(codes)
    assert features.shape[0] == 8
    assert ((features >= -1e-12) & (features <= 1 + 1e-12)).all()


@_settings
@given(spaces(), st.integers(0, 2**32))
def test_units_lead_back_to_their_value(space: Space, seed: int) -> None:
    encoding = Encoding(space)
    rng = np.random.default_rng(seed)
    codes = encoding.codes([space.sample(rng) for _ in range(5)])
    np.testing.assert_allclose(encoding.from_units(encoding.units(codes)), codes, rtol=1e-9, atol=1e-9)


@_settings
@given(spaces(), st.integers(0, 2**32))
def test_different_points_have_different_features_and_one_point_one(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [space.sample(rng) for _ in range(6)]
    features = Encoding(space).features(Encoding(space).codes(points))
    for one in range(6):
        for other in range(6):
            same = np.array_equal(features[one], features[other])
            assert same == (config_id(points[one]) == config_id(points[other]))


def test_values_are_as_wide_as_they_are_likely_to_be_drawn() -> None:
    space = Space({"a": Int(1, 100, log=True), "b": Int(1, 4), "c": Choice(("x", "y", "z")), "d": Float(1.0, 8.0, True, 4)})
    encoding = Encoding(space)
    rng = np.random.default_rng(1)
    mine = encoding.from_units(rng.random((40_000, 4)))
    twin = encoding.codes([space.sample(rng) for _ in range(40_000)])
    for j in range(4):
        one, other = (np.array([np.mean(codes[:, j] == v) for v in range(101)]) for codes in (mine, twin))
        # Five standard deviations of a difference of two fractions of 40,000 draws.
        assert np.abs(one - other).max() < 5 * math.sqrt(2 * 0.25 / 40_000)


def test_what_does_not_exist_does_not_matter() -> None:
    space = Space(
        {"m.kind": Choice(("a", "b")), "m.x": Float(0, 1), "m.y": Choice((1, 2, 3))},
        {"m.x": {"m.kind": "b"}, "m.y": {"m.kind": "b"}},
    )
    encoding = Encoding(space)
    codes = encoding.from_units(np.array([[0.1, 0.2, 0.3], [0.1, 0.9, 0.8], [0.9, 0.9, 0.8]]))
    assert np.isnan(codes[:2, 1:]).all()
    assert not np.isnan(codes[2]).any()
    np.testing.assert_array_equal(encoding.features(codes)[0], encoding.features(codes)[1])
    assert encoding.config(codes[0]) == {"m.kind": "a"}


def test_large_integers_are_exact_in_numbers_and_stay_in_range_in_codes() -> None:
    space = Space({"m.n": Int(1, 2**62, log=True)})
    assert Range.of(space.axes["m.n"]).number(2**62 - 1) == 2**62 - 1
    assert Encoding(space).config(np.array([float(2**62)])) == {"m.n": 2**62}
    assert space.contains(Encoding(space).config(np.array([2.0**63])))
