"""The YAML mapping: parsed strictly, every mistake with its dotted path and the nearest right name."""

from __future__ import annotations

import copy

import pytest

from raresearch.data.mapping import Mapping, complete, read_mapping
from raresearch.errors import DataError
from raresearch.experiment import Schema, TensorField

GOOD = {
    "classes": ["noise", "pulsar"],
    "signal": ["pulsar"],
    "background": ["noise"],
    "class": {"column": "label", "values": {"noise": 0, "pulsar": [1, 2]}},
    "tensors": {
        "features": {"columns": ["a", "b"]},
        "img": {"column": "img", "shape": [3, 4], "dtype": "uint8"},
        "jets": {"column": "px", "pad": 4},
        "njet": {"column": "px", "reduce": "count"},
    },
    "observers": {"ra": "radius", "top": {"column": "px", "reduce": "max", "fill": 0}},
    "weight": "w",
    "event_id": "id",
    "missing": "drop",
}


def changed(path: str, value: object) -> dict:
    """GOOD with the value at a dotted path replaced, or removed where ``value`` is `...`."""
    content = copy.deepcopy(GOOD)
    *folders, last = path.split(".")
    inner = content
    for name in folders:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return content


def test_a_full_mapping_is_parsed():
    mapping = Mapping.parse(GOOD)
    assert mapping.class_rule.values == ((0, 0), (1, 1), (2, 1))
    assert mapping.tensors["jets"].fill == 0.0
    assert mapping.observers["ra"].columns == ("radius",)
    assert set(mapping.columns) == {"a", "b", "img", "px", "label", "radius", "w", "id"}
    assert mapping.columns["b"] == "mapping.tensors.features.columns[1]"


def test_without_classes_there_is_one_class_of_spectators():
    mapping = Mapping.parse({"tensors": {"x": {"columns": ["a"]}}})
    assert (mapping.classes, mapping.signal, mapping.background, mapping.class_rule) == (("events",), (), (), None)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("tensor", {}, ["mapping.tensor", "did you mean 'tensors'"]),
        ("tensors", ..., ["mapping.tensors", "missing"]),
        ("tensors", [], ["mapping.tensors", "pairs"]),
        ("tensors.features.column", "a", ["mapping.tensors.features", "either"]),
        ("tensors.features.columns", [], ["mapping.tensors.features.columns"]),
        ("tensors.features.columns", ["a", "a"], ["mapping.tensors.features.columns", "'a' twice"]),
        ("tensors.features.pad", 3, ["mapping.tensors.features.pad", "`columns`"]),
        ("tensors.img.dtype", "flot32", ["mapping.tensors.img.dtype", "float32"]),
        ("tensors.img.shape", [0, 4], ["mapping.tensors.img.shape", "positive"]),
        ("tensors.img.shape", 12, ["mapping.tensors.img.shape", "positive"]),
        ("tensors.img.fill", 0, ["mapping.tensors.img.fill", "`pad` or `reduce`"]),
        ("tensors.jets.pad", "4", ["mapping.tensors.jets.pad", "positive"]),
        ("tensors.jets.reduce", "max", ["mapping.tensors.jets", "`pad`"]),
        ("tensors.jets.fill", "zero", ["mapping.tensors.jets.fill", "number"]),
        ("tensors.njet.reduce", "cuont", ["mapping.tensors.njet.reduce", "did you mean 'count'"]),
        ("tensors.njet.colum", "px", ["mapping.tensors.njet.colum", "did you mean 'column'"]),
        ("observers.top.reduc", "max", ["mapping.observers.top.reduc", "did you mean 'reduce'"]),
        ("observers", "radius", ["mapping.observers", "pairs"]),
        ("class", ..., ["mapping.class", "2 classes", "values: {noise: 0, pulsar: 1}"]),
        ("class.values.plusar", 3, ["mapping.class.values.plusar", "did you mean 'pulsar'"]),
        ("class.values.pulsar", 0, ["mapping.class.values.pulsar", "already means 'noise'"]),
        ("class.values.pulsar", ..., ["mapping.class.values.pulsar", "missing"]),
        ("class.values.pulsar", None, ["mapping.class.values.pulsar", "None"]),
        ("class.values", ..., ["mapping.class", "either"]),
        ("class.file", {"noise": "n*", "pulsar": "p*"}, ["mapping.class", "either"]),
        ("classes", ["noise"], ["mapping.signal", "pulsar"]),
        ("classes", ..., ["mapping.signal"]),
        ("signal", ["plusar"], ["mapping.signal", "did you mean 'pulsar'"]),
        ("signal", "pulsar", ["mapping.signal", "list of names"]),
        ("missing", "dorp", ["mapping.missing", "did you mean 'drop'"]),
        ("weight", 3, ["mapping.weight", "a name"]),
        ("observers.ra", "label", ["mapping.observers.ra", "'label'", "holds the class"]),
        ("tensors.features.columns", ["a", "label"], ["mapping.tensors.features", "holds the class"]),
    ],
)
def test_a_mistake_names_its_path_and_the_remedy(path, value, words):
    with pytest.raises(DataError) as caught:
        Mapping.parse(changed(path, value))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_class_without_classes_is_refused_with_a_line_to_paste():
    content = {"class": GOOD["class"], "tensors": GOOD["tensors"]}
    with pytest.raises(DataError, match=r"mapping.classes: .*classes: \[noise, pulsar\]"):
        Mapping.parse(content)


@pytest.mark.parametrize("content", [None, [], "text", {}, {1: 2}])
def test_what_is_not_a_mapping_is_refused(content):
    with pytest.raises(DataError, match="mapping"):
        Mapping.parse(content)


def test_an_experiments_schema_fills_what_its_mapping_leaves_out():
    tensors = (TensorField("features", (2,), columns=("a", "b")), TensorField("img", (3, 4), "uint8"))
    schema = Schema(tensors, ("noise", "pulsar"), ("pulsar",), ("noise",), ("radius",))
    mapping = Mapping.parse(complete({"class": GOOD["class"]}, schema))
    assert mapping.classes == ("noise", "pulsar")
    assert mapping.tensors["features"].columns == ("a", "b")
    assert (mapping.tensors["img"].shape, mapping.tensors["img"].dtype) == ((3, 4), "uint8")
    assert mapping.observers["radius"].columns == ("radius",)


def test_yaml_is_read_and_its_mistakes_have_a_line(tmp_path):
    path = tmp_path / "schema.yaml"
    path.write_text("tensors:\n  x: {columns: [no, on]}\nmissing: drop\n")
    assert read_mapping(path) == {"tensors": {"x": {"columns": ["no", "on"]}}, "missing": "drop"}  # YAML 1.2: no is a name
    path.write_text("tensors:\n  x: {columns: [a\nmissing: drop\n")
    with pytest.raises(DataError, match="line 3"):
        read_mapping(path)
    path.write_text("missing: drop\nmissing: refuse\n")
    with pytest.raises(DataError, match="line 2"):
        read_mapping(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_mapping(tmp_path / "absent.yaml")
