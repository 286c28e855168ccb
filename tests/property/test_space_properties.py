"""Random spaces against slow, obvious twins."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from raresearch.errors import SpaceError
from raresearch.space import Axis, Choice, Float, Int, Space
from raresearch.types import Config, config_id

NAMES = ("data.a", "model.b", "model.c", "train.d", "train.e")
numbers = st.floats(-1e6, 1e6)
scalars = st.one_of(st.booleans(), st.integers(-(10**20), 10**20), numbers, st.text(max_size=3), st.none())


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    values = draw(st.lists(st.one_of(scalars, st.lists(scalars, max_size=3)), min_size=1, max_size=3, unique_by=json.dumps))
    labels = tuple(f"L{n}" for n in range(len(values))) if draw(st.booleans()) else ()
    return Choice(tuple(values), labels)  # type: ignore[arg-type]


@st.composite
def discrete(draw: st.DrawFn) -> Axis:
    kind = draw(st.sampled_from("cif"))
    if kind == "c":
        return draw(choices())
    low = draw(st.integers(1, 5))
    if kind == "i":
        return Int(low, low + draw(st.integers(0, 2)), draw(st.booleans()))
    return Float(low, low + draw(st.floats(0.1, 5.0)), draw(st.booleans()), draw(st.integers(2, 3)))


@st.composite
def continuous(draw: st.DrawFn) -> Axis:
    low = draw(st.floats(1e-9, 1e3))
    return Float(low, low * (1 + draw(st.floats(0.1, 1e3))), draw(st.booleans()))


@st.composite
def spaces(draw: st.DrawFn, last: st.SearchStrategy[Axis] | None = None) -> Space:
    """Up to five axes; each may depend on axes drawn before it. The axes are then put into any order."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(0, 5))]
    axes: dict[str, Axis] = {name: draw(discrete()) for name in names}
    conditions: dict[str, Any] = {}
    for n, name in enumerate(names):
        parents = draw(st.lists(st.sampled_from(names[:n]), max_size=2, unique=True)) if n else []
        conditions[name] = {p: [draw(st.sampled_from(axes[p].grid()))] for p in parents}
    if last is not None:
        axes["zzz.last"] = draw(last)
    order = draw(st.permutations(list(axes)))
    try:
        return Space({name: axes[name] for name in order}, conditions)
    except SpaceError as error:
        if "is a value and a list of values" not in error.rule:
            raise
        reject()  # an axis with both false and [false]: refused on purpose, there is no grid to count


def brute_force(space: Space) -> set[str]:
    """Every combination of "absent" and each value, kept where `exists` by the letter of the conditions."""
    found = set()
    absent = object()
    for values in itertools.product(*([absent, *axis.grid()] for axis in space.axes.values())):
        point: dict[str, Any] = {n: v for n, v in zip(space.axes, values, strict=True) if v is not absent}

        def holds(name: str, point: Config = point) -> bool:
            when = space.conditions.get(name, {})
            return all(p in point and json.dumps(point[p]) in {json.dumps(v) for v in vs} for p, vs in when.items())

        if all((name in point) == holds(name) for name in space.axes):
            found.add(config_id(point))
    return found


@given(spaces())
@settings(deadline=None, max_examples=80)
def test_the_grid_is_what_brute_force_finds_and_size_counts_it(space: Space) -> None:
    listed = [config_id(point) for point in space.grid()]
    assert len(listed) == len(set(listed)) == space.size()
    assert set(listed) == brute_force(space)


@given(spaces(), st.integers(0, 2**32))
@settings(deadline=None)
def test_draws_are_points_whatever_the_order_of_the_axes(space: Space, seed: int) -> None:
    drawn = space.sample(np.random.default_rng(seed))
    assert space.contains(drawn)
    assert config_id(drawn) in {config_id(p) for p in space.grid()}
    turned = Space(dict(reversed(space.axes.items())), space.conditions)
    assert turned.sample(np.random.default_rng(seed)) == drawn


@given(spaces(continuous()), st.integers(0, 2**32))
@settings(deadline=None)
def test_a_continuous_space_contains_its_draws_and_has_no_size(space: Space, seed: int) -> None:
    drawn = space.sample(np.random.default_rng(seed))
    assert space.contains(drawn)
    assert space.size() is None
    assert space.label(drawn)


@given(st.one_of(spaces(), spaces(continuous())))
@settings(deadline=None)
def test_spaces_survive_json_even_with_sorted_keys(space: Space) -> None:
    again = Space.from_json(json.loads(json.dumps(space.to_json(), sort_keys=True)))
    assert again == space
    assert list(again.axes) == list(space.axes)


@given(spaces(), st.data())
@settings(deadline=None)
def test_points_are_found_again_in_full_configs(space: Space, data: st.DataObject) -> None:
    point = data.draw(st.sampled_from(list(space.grid())))
    rest = {name: axis.grid()[0] for name, axis in space.axes.items() if name not in point}
    assert config_id(space.project({**rest, **point})) == config_id(point)


@given(spaces(), st.data())
@settings(deadline=None)
def test_holding_an_axis_without_a_condition_leaves_the_points_that_have_its_value(space: Space, data: st.DataObject) -> None:
    free = [name for name in space.axes if not space.conditions.get(name)]
    if free:
        name = data.draw(st.sampled_from(free))
        value = data.draw(st.sampled_from(space.axes[name].grid()))
        left = [config_id({**point, name: value}) for point in space.given({name: value}).grid()]
        wanted = [config_id(p) for p in space.grid() if json.dumps(p[name]) == json.dumps(value)]
        assert set(left) == set(wanted)
        assert len(left) == len(wanted)
