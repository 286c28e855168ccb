"""Studies and plain data survive YAML and JSON, whatever they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raresearch.space import Choice, Float, Int, Space
from raresearch.spec import Component, ExecutionSpec, Retention, SplitSpec, StudySpec, load
from raresearch.spec.nodes import dump, read_yaml, wrap
from raresearch.spec.overlay import document, merge

text = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.text("a \n:#'", min_size=100, max_size=300))
tricky = st.sampled_from(
    [
        "no",
        "yes",
        "1e3",
        "1_0",
        "0o7",
        "017",
        "~",
        "null",
        "true",
        ".5",
        "+.5e1",
        "-",
        "=",
        "<<",
        "2020-01-01",
        "",
        " a",
        "#",
        "12:30",
    ]
)
scalars = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text, tricky, st.none())
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.lists(st.lists(scalars, max_size=2), max_size=2))
keys = st.one_of(text, tricky).filter(lambda key: key != "<<")
plain = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)), max_leaves=12
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1, 1.0 and True differ."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(st.dictionaries(keys, plain, max_size=4))
@settings(deadline=None, max_examples=200)
def test_plain_data_survives_yaml(content: dict[str, Any]) -> None:
    assert same(read_yaml(dump(content), "f").plain(), content)


names = st.from_regex(r"(data|model|train)\.[a-z_]{1,6}", fullmatch=True)
components = st.builds(Component, st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.dictionaries(keys, plain, max_size=2))
axes = st.one_of(
    st.lists(values, min_size=1, max_size=3, unique_by=lambda v: json.dumps(v)).map(lambda v: Choice(tuple(v))),
    st.dictionaries(keys, st.integers(), min_size=1, max_size=3).map(lambda d: Choice(tuple(range(len(d))), tuple(d))),
    st.tuples(st.integers(1, 9), st.integers(0, 9), st.booleans()).map(lambda t: Int(t[0], t[0] + t[1], t[2])),
    st.tuples(st.floats(0.1, 9), st.floats(0.1, 9), st.sampled_from([None, 2, 5])).map(
        lambda t: Float(t[0], t[0] + t[1], True, t[2])
    ),
)


@st.composite
def studies(draw: st.DrawFn) -> StudySpec:
    space = draw(st.dictionaries(names, axes, max_size=3))
    parts = [name for name, axis in space.items() if axis.size is not None]
    conditions = {}
    if len(space) > 1 and parts:
        child = draw(st.sampled_from([name for name in space if name != parts[0]]))
        conditions = {child: {parts[0]: [space[parts[0]].grid()[0]]}}
    train = draw(st.floats(0.1, 0.8))
    return StudySpec(
        name=draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True)),
        experiment=draw(st.sampled_from(["toy", "./my file.py:Name", "a.b:C"])),
        seed=draw(st.integers(0, 2**70)),
        fixed={
            n: Choice((v,)).values[0] for n, v in draw(st.dictionaries(names, values, max_size=3)).items() if n not in space
        },
        space=Space(space, conditions),
        searcher=draw(components),
        repeats=draw(st.integers(1, 10**9)),
        folds=draw(st.integers(1, 10)),
        split=SplitSpec(train, 0.9 - train, 0.1),
        objective=draw(components),
        statistic=draw(st.sampled_from(["mean", "median", "min"])),
        figures_of_merit=tuple(draw(st.lists(components, max_size=3))),
        selection=draw(components),
        keep=Retention(draw(st.sampled_from(["all", "kept", "best"])), draw(st.sampled_from(["kept", "best", "none"]))),
        execution=ExecutionSpec("local", draw(st.one_of(st.just("auto"), st.integers(1, 99))), draw(st.floats(0.1, 9)), 0, 2),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@given(spec=studies())
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_any_study_survives_yaml_and_json(spec: StudySpec, folder: Path) -> None:
    path = folder / "study.yaml"
    path.write_text(spec.dump_yaml(), encoding="utf-8")
    read = load(path)
    assert read == spec
    assert same(read.document(), spec.document())
    assert read.identity() == spec.identity()
    again = StudySpec.from_json(json.loads(json.dumps(spec.to_json(), sort_keys=True)))
    assert again == spec
    assert again.identity() == spec.identity()


@given(one=studies(), two=studies())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_an_overlay_laid_twice_is_an_overlay_laid_once(one: StudySpec, two: StudySpec) -> None:
    draft, _ = document(wrap(one.document()))
    patch = wrap(two.document()).mapping
    once = merge(draft, patch)
    assert merge(once, patch).entries == once.entries
