"""New events: what does not fit the ensemble is refused by name, and no label column is ever read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raresearch.data.ingest import ingest
from raresearch.deploy.inputs import open_source
from raresearch.deploy.predict import origin_of, predict
from raresearch.deploy.scorer import checked_inputs
from raresearch.errors import DataError, StoreError
from raresearch.experiment import TensorField

POINT = TensorField("point", (2,), columns=("x", "y"))
COUNT = TensorField("count", (1,), "uint8")


class Sum:
    """A scorer: the logistic function of x + y."""

    inputs = (POINT,)
    threshold = 0.5
    origin = {"choice": "abc"}  # noqa: RUF012

    def score(self, inputs):
        (x,) = checked_inputs(self.inputs, inputs).values()
        return 1 / (1 + np.exp(-x.sum(axis=1, dtype=np.float64)))


def table(n=10, start=0, **columns):
    rng = np.random.default_rng(start)
    made = {"x": rng.normal(size=n), "y": rng.normal(size=n), "id": np.arange(start, start + n), **columns}
    return pa.table(made)


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{name}.parquet" for name in "ab"]
    for i, path in enumerate(paths):
        pq.write_table(table(10, 10 * i, label=np.zeros(10)), path)
    return paths


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "'point'.*is missing"),
        ({"point": np.zeros((3, 2)), "pont": np.zeros((3, 2))}, "'pont'.*not an input.*did you mean 'point'"),
        ({"point": np.zeros((3, 3))}, r"shape \(3, 3\), must be \(events, 2\); its entries are x, y"),
        ({"point": np.zeros(3)}, "shape"),
        ({"point": np.float64(1)}, "shape"),
        ({"point": np.array([["a", "b"]])}, "must hold numbers"),
        ({"point": np.array([[1.0, np.nan], [0.0, 0.0]])}, r"point.*NaN or infinite in 1 of 2 events, first in row 0 \(y\)"),
        ({"point": np.array([[1e300, 0.0]])}, "NaN or infinite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_line(inputs, words):
    with pytest.raises(DataError, match=words) as caught:
        checked_inputs([POINT], inputs)
    assert "\n" not in str(caught.value)


def test_tensors_of_unequal_length_and_numbers_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="differ in length"):
        checked_inputs([POINT, COUNT], {"point": np.zeros((3, 2)), "count": np.zeros((2, 1))})
    for wrong in (300, -1, 0.5):
        with pytest.raises(DataError, match="do not fit uint8"):
            checked_inputs([COUNT], {"count": np.full((2, 1), wrong)})


def test_numbers_pass_through_the_dtype_they_were_stored_in():
    value = 0.1  # not a float32
    for dtype, network in (("float16", np.float32), ("float32", np.float32), ("float64", np.float64)):
        (x,) = checked_inputs([TensorField("x", (1,), dtype)], {"x": np.array([[value]])}).values()
        assert x.dtype == network
        assert x[0, 0] == np.dtype(dtype).type(value)


def test_scores_stand_in_the_order_of_the_files_with_running_numbers(files, tmp_path):
    made = predict(Sum(), files, tmp_path / "scores.parquet")
    scores = pq.read_table(made.path)
    assert scores.schema.names == ["event_id", "score", "accepted"]
    assert scores["event_id"].to_pylist() == list(range(20))
    both = pa.concat_tables([pq.read_table(p) for p in files])
    expected = 1 / (
        1 + np.exp(-(both["x"].to_numpy().astype(np.float32) + both["y"].to_numpy().astype(np.float32)).astype(float))
    )
    np.testing.assert_allclose(scores["score"].to_numpy(), expected, atol=1e-7)
    np.testing.assert_array_equal(scores["accepted"].to_numpy(), scores["score"].to_numpy() >= 0.5)
    assert made.to_json()["accepted"] == int(scores["accepted"].to_numpy().sum())
    assert origin_of(made.path)["choice"] == "abc"
    assert [f["name"] for f in origin_of(made.path)["files"]] == ["a.parquet", "b.parquet"]


def test_a_label_column_need_not_exist_though_the_mapping_of_ingest_names_it(files, tmp_path):
    mapping = {
        "classes": ["noise", "pulsar"],
        "signal": ["pulsar"],
        "background": ["noise"],
        "class": {"column": "no_such_label", "values": {"noise": 0, "pulsar": 1}},
        "weight": "no_such_weight",
        "observers": ["no_such_observer"],
        "event_id": "id",
        "tensors": {"point": {"columns": ["y", "x"]}},
    }
    made = predict(Sum(), files[1:], tmp_path / "scores.parquet", mapping=mapping)
    assert pq.read_table(made.path)["event_id"].to_pylist() == list(range(10, 20))


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"tensors": {"pont": {"columns": ["x", "y"]}}}, "mapping.tensors.pont: is not an input"),
        ({"tensors": {"point": {"columns": ["x"]}}}, r"makes \(1,\) float32, the ensemble was trained on \(2,\) float32"),
        ({"tensors": {"point": {"columns": ["x", "y"], "dtype": "float64"}}}, "trained on"),
        ({"tensors": {"point": {"columns": ["x", "z"]}}}, "'z'"),
        ({"event_id": "x"}, "must hold whole numbers"),
        ({"tensor": {}}, "mapping.tensor: is not a known key"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused_by_its_dotted_path(files, tmp_path, mapping, words):
    with pytest.raises(DataError, match=words):
        predict(Sum(), files, tmp_path / "scores.parquet", mapping=mapping)
    assert not (tmp_path / "scores.parquet").exists()


def test_nan_rows_are_refused_or_dropped_and_counted_as_the_mapping_says(tmp_path):
    x = np.zeros(6)
    x[4] = np.nan
    pq.write_table(table(6, x=x), tmp_path / "new.parquet")
    out = tmp_path / "scores.parquet"
    with pytest.raises(DataError, match="NaN or infinite in 1 of 6 events"):
        predict(Sum(), [tmp_path / "new.parquet"], out)
    assert list(tmp_path.glob("*scores*")) == [], "nothing half-written stays"
    made = predict(Sum(), [tmp_path / "new.parquet"], out, mapping={"missing": "drop", "event_id": "id"})
    assert (made.events, made.dropped) == (5, 1)
    assert pq.read_table(out)["event_id"].to_pylist() == [0, 1, 2, 3, 5]


def test_ids_that_occur_twice_are_refused(tmp_path):
    pq.write_table(table(4, id=np.array([1, 2, 2, 3])), tmp_path / "new.parquet")
    with pytest.raises(DataError, match="more than once"):
        predict(Sum(), [tmp_path / "new.parquet"], tmp_path / "scores.parquet", mapping={"event_id": "id"})


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_no_score_can_meet_is_refused(files, tmp_path, threshold):
    with pytest.raises(DataError, match="scores lie in 0 … 1"):
        predict(Sum(), files, tmp_path / "s.parquet", threshold=threshold)


def test_a_threshold_given_replaces_the_frozen_one_and_stands_in_the_file(files, tmp_path):
    made = predict(Sum(), files, tmp_path / "s.parquet", threshold=0.9)
    scores = pq.read_table(made.path)
    np.testing.assert_array_equal(scores["accepted"].to_numpy(), scores["score"].to_numpy() >= 0.9)
    assert origin_of(made.path)["threshold in use"] == 0.9


def test_without_a_threshold_acceptance_is_null_rather_than_guessed(files, tmp_path):
    class Uncut(Sum):
        threshold = None

    made = predict(Uncut(), files, tmp_path / "s.parquet")
    assert made.accepted is None
    assert pq.read_table(made.path)["accepted"].null_count == 20


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(3)
    made = table(300, label=rng.integers(0, 2, 300))
    pq.write_table(made, tmp_path / "labelled.parquet")
    mapping = {
        "classes": ["noise", "pulsar"],
        "signal": ["pulsar"],
        "background": ["noise"],
        "class": {"column": "label", "values": {"noise": 0, "pulsar": 1}},
        "tensors": {"point": {"columns": ["x", "y"]}},
    }
    return ingest([tmp_path / "labelled.parquet"], mapping, tmp_path / "datasets")


def test_a_datasets_folder_is_scored_whole_and_its_seal_stays_shut(dataset, tmp_path):
    made = predict(Sum(), [dataset.path], tmp_path / "s.parquet")
    scores = pq.read_table(made.path)
    assert sorted(scores["event_id"].to_pylist()) == list(range(300))
    by_id = dict(zip(scores["event_id"].to_pylist(), scores["score"].to_pylist(), strict=True))
    for split in ("train", "validation", "test"):
        events = dataset.events(split)
        expected = Sum().score(events.tensors)
        np.testing.assert_array_equal([by_id[i] for i in events.event_id.tolist()], expected)
    for part in (dataset.path / "sealed").iterdir():
        part.unlink()
    assert predict(Sum(), [dataset.path], tmp_path / "again.parquet").events == 300, "not one sealed byte was needed"


def test_a_dataset_is_scored_alone_and_must_hold_the_ensembles_tensors(dataset, files, tmp_path):
    with pytest.raises(DataError, match="is scored alone"):
        open_source([dataset.path, files[0]], None, [POINT])
    with pytest.raises(DataError, match=r"trained on \(3,\)"):
        open_source([dataset.path], None, [TensorField("point", (3,))])
    with pytest.raises(DataError, match=r"tensors\.image: is missing"):
        open_source([dataset.path], None, [TensorField("image", (3,))])
    source = open_source([dataset.path], None, [POINT])
    source.parts[0].write_bytes(source.parts[0].read_bytes()[:100])
    with pytest.raises(StoreError, match="truncated or damaged"):
        predict(Sum(), [dataset.path], tmp_path / "s.parquet")
