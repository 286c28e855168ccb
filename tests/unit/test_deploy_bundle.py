"""The bundle: the same bytes for the same content, and a one-line refusal for anything that is not one."""

import io
import json
import zipfile

import numpy as np
import pytest

from raresearch.deploy.bundle import CARD, load_bundle, pack, unpack
from raresearch.deploy.card import FORMAT, KIND
from raresearch.errors import DataError, PluginError
from raresearch.types import digest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

INPUT = {"name": "point", "shape": [2], "dtype": "float32", "columns": ["x", "y"]}


def card(**changes):
    names = ("study", "experiment", "stamp", "choice", "seal")
    content = {"format": FORMAT, "kind": KIND, "inputs": [INPUT], "threshold": {"value": 0.5}, **dict.fromkeys(names)}
    return {**content, **changes}


def model(external=False):
    """score = x + y in float64."""
    from onnx import TensorProto, helper

    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    if external:
        axes.ClearField("int64_data")
        axes.data_location = TensorProto.EXTERNAL
        axes.external_data.add(key="location", value="../../etc/passwd")
    nodes = [
        helper.make_node("Cast", ["point"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("ReduceSum", ["wide", "axes"], ["score"], keepdims=0),
    ]
    point = helper.make_tensor_value_info("point", TensorProto.FLOAT, ["N", 2])
    score = helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["N"])
    graph = helper.make_graph(nodes, "sum", [point], [score], [axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


@pytest.fixture(scope="module")
def parts():
    return {"ensemble.onnx": model(), "weights.safetensors": b"w" * 100, "ensemble.pt2": b"p" * 100}


@pytest.fixture
def good(parts):
    return pack(card(), parts)


def zipped(entries, **options):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", **options) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return target.getvalue()


def entries(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def refused(content, words):
    with pytest.raises(DataError, match=words) as caught:
        unpack(content, "some.rarensemble")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("some.rarensemble")


def test_a_bundle_scores_what_its_onnx_says(good):
    points = np.asarray([[1.0, 2.0], [0.25, -0.25]], dtype=np.float32)
    scores = unpack(good, "b").score({"point": points})
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(scores, [3.0, 0.0])
    assert len(unpack(good, "b").score({"point": points[:0]})) == 0


def test_the_same_content_gives_the_same_bytes_and_no_clock_gets_in(parts, good):
    assert pack(card(), dict(reversed(parts.items()))) == good
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        assert {e.date_time for e in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(good, share):
    refused(good[: int(len(good) * share)], "truncated or damaged")


def test_any_flipped_byte_of_a_part_is_noticed(parts, good):
    for name, content in parts.items():
        at = good.index(content) + len(content) // 2
        refused(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], "damaged")
        # with a checksum of the archive that fits again, the card's hash still does not
        changed = [(n, c if n != name else c[:-1] + b"\x00") for n, c in entries(good)]
        refused(zipped(changed), f"{name}: is not what the card says")


def test_an_edited_card_is_refused(good):
    edited = [(n, c.replace(b'"value": 0.5', b'"value": 0.1') if n == CARD else c) for n, c in entries(good)]
    assert edited != entries(good)
    refused(zipped(edited), "was altered")


@pytest.mark.parametrize("name", ["../evil.py", "/etc/cron.d/evil", "a/../../b", "C:\\evil", "card.json/", "extra.pkl"])
def test_a_strangers_name_is_refused_whatever_it_is(good, name):
    refused(zipped([*entries(good), (name, b"x")]), "no part of a bundle")


def test_parts_twice_missing_compressed_or_unlisted_are_refused(good, parts):
    listed = entries(good)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = zipped([*listed, listed[-1]])
    refused(twice, "each once")
    refused(zipped([e for e in listed if e[0] != "ensemble.onnx"]), "needs card.json and ensemble.onnx")
    refused(zipped([e for e in listed if e[0] != "ensemble.pt2"]), "not in both")
    refused(zipped(listed, compression=zipfile.ZIP_DEFLATED), "compressed")
    refused(pack(card(), {k: v for k, v in parts.items() if k != "ensemble.pt2"})[:-1], "damaged")


def test_another_format_or_kind_is_refused(parts):
    refused(pack(card(format=99), parts), "format 99")
    refused(pack(card(kind="recipe"), parts), "altered")
    listed = dict(entries(pack(card(), parts)))
    for text in (b"", b"[]", b"{}", b'{"kind": 3}', b"\xff"):
        refused(zipped([(CARD, text), *((n, c) for n, c in listed.items() if n != CARD)]), "is not the card|altered")


def test_a_card_that_hashes_well_but_names_other_parts_is_refused(parts):
    sums = json.loads(dict(entries(pack(card(), parts)))[CARD])["parts"]
    forged = {**card(), "parts": {**sums, "../x": {"sha256": "0", "bytes": 1}}}
    forged["hash"] = digest(forged, 64)
    refused(zipped([(CARD, json.dumps(forged)), *parts.items()]), "not in both")


def test_a_model_that_points_to_a_file_outside_is_refused(parts):
    refused(pack(card(), {**parts, "ensemble.onnx": model(external=True)}), "outside the bundle")


def test_bytes_that_are_no_onnx_are_refused_in_one_line(parts):
    bundle = unpack(pack(card(), {**parts, "ensemble.onnx": b"not a model"}), "b")
    with pytest.raises(DataError, match="onnxruntime refuses") as caught:
        bundle.score({"point": np.zeros((1, 2), np.float32)})
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "absent.rarensemble", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            load_bundle(path)


def test_nothing_in_a_bundle_is_ever_unpickled(good, monkeypatch):
    import pickle

    def trap(*args, **kwargs):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, trap)
    unpack(good, "b").score({"point": np.zeros((3, 2), np.float32)})


def test_a_missing_package_is_one_line_that_says_what_to_install(monkeypatch, good):
    monkeypatch.setattr("raresearch.deploy.scorer.find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"pip install 'raresearch\[export\]'"):
        unpack(good, "b").score({"point": np.zeros((3, 2), np.float32)})
