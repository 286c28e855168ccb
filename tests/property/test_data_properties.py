"""Round trips and invariants of the datasets, for any input."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from raresearch.data.columns import DTYPES, event_table, tensor_array
from raresearch.data.dataset import read_parts
from raresearch.data.readers import open_table
from raresearch.data.splits import Fractions, assign, assign_stratified, folds, shares, stratified_thresholds, uniform
from raresearch.data.transforms import KINDS, Scaler
from raresearch.experiment import Schema, TensorField

IDS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=60, unique=True).map(
    lambda x: np.array(x, dtype=np.int64)
)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)


@st.composite
def fractions(draw) -> Fractions:
    train, validation, test = draw(st.integers(1, 50)), draw(st.integers(1, 50)), draw(st.integers(0, 50))
    total = train + validation + test
    return Fractions(train / total, validation / total, test / total)


@st.composite
def tensors(draw) -> np.ndarray:
    rows, shape, dtype = draw(st.integers(1, 7)), draw(SHAPES), draw(st.sampled_from(DTYPES))
    return draw(hnp.arrays(dtype, (rows, *shape)))


@settings(deadline=None, max_examples=60)
@given(first=tensors(), data=st.data())
def test_a_tensor_comes_back_from_parquet_bit_for_bit(first, data):
    second = data.draw(hnp.arrays(first.dtype, (data.draw(st.integers(1, 3)), *first.shape[1:])))
    field = TensorField("x", first.shape[1:], str(first.dtype))
    schema = Schema((field,), ("a",), (), ())
    with tempfile.TemporaryDirectory() as name:
        for i, x in enumerate((first, second)):
            pq.write_table(event_table(schema, {"x": x}), Path(name) / f"part-{i:05d}.parquet")
        table = read_parts(Path(name), ["x"])
        foreign = open_table(Path(name) / "part-00000.parquet").read(["x"], 0, len(first))["x"]
    back = tensor_array(table["x"], field)
    assert back.dtype == first.dtype
    assert back.shape == (len(first) + len(second), *first.shape[1:])
    assert back.tobytes() == first.tobytes() + second.tobytes()
    # Our own files are files as any other: the reader sees the same tensor (booleans as 0 and 1).
    assert foreign.tobytes() == first.tobytes()


@given(x=tensors(), data=st.data())
def test_a_view_with_any_strides_is_stored_as_its_values(x, data):
    view = np.moveaxis(x, 1, -1)[::-1]
    field = TensorField("x", view.shape[1:], str(view.dtype))
    column = event_table(Schema((field,), ("a",), (), ()), {"x": view})["x"]
    assert isinstance(column.type, pa.FixedShapeTensorType)
    assert tensor_array(column, field).tobytes() == np.ascontiguousarray(view).tobytes()


@given(ids=IDS, more=IDS, share=fractions(), seed=st.integers(0, 2**63))
def test_splits_are_stable_when_events_are_added_or_reordered(ids, more, share, seed):
    together = np.unique(np.r_[ids, more])
    split = dict(zip(together.tolist(), assign(together, share, seed).tolist(), strict=True))
    assert [split[i] for i in ids.tolist()] == assign(ids, share, seed).tolist()
    assert np.all((uniform(ids, seed) >= 0) & (uniform(ids, seed) < 1))


@given(ids=IDS, share=fractions(), seed=st.integers(0, 2**32), data=st.data())
def test_every_class_is_divided_by_largest_remainders(ids, share, seed, data):
    classes = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(ids), max_size=len(ids))))
    split = assign_stratified(ids, classes, stratified_thresholds(ids, classes, 3, share, seed), seed)
    for c in range(3):
        n = int((classes == c).sum())
        counts = np.bincount(split[classes == c], minlength=3)
        assert counts.tolist() == shares(n, share).tolist()
        assert np.all(np.abs(counts - n * np.array([share.train, share.validation, share.test])) < 1 + 1e-9)


@given(ids=IDS, k=st.integers(2, 7), seed=st.integers(0, 2**32), data=st.data())
def test_folds_partition_every_class_evenly(ids, k, seed, data):
    classes = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(ids), max_size=len(ids))))
    if min(np.bincount(classes)[np.unique(classes)]) < k:
        return
    fold = folds(ids, classes, k, seed)
    for part in [fold, *(fold[classes == c] for c in np.unique(classes))]:
        counts = np.bincount(part, minlength=k)
        assert len(counts) == k
        assert counts.max() - counts.min() <= 1


@given(
    x=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=6), elements=st.floats(-1e6, 1e6, width=32)),
    kind=st.sampled_from(KINDS),
)
def test_scaled_training_events_are_finite_and_the_scaler_survives_json(x, kind):
    scaler = Scaler.fit(kind, x)
    y = scaler.apply(x)
    assert np.isfinite(y).all()
    assert y.shape == x.shape
    if kind == "minmax":
        assert y.min() >= 0
        assert y.max() <= 1
    again = Scaler.from_json(json.loads(json.dumps(scaler.to_json())))
    np.testing.assert_array_equal(again.apply(x), y)
