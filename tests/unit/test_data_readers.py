"""Readers of Parquet, CSV, NPZ, HDF5 and ROOT: one content, one answer; damaged files are refused by name."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from raresearch.data.readers import open_table
from raresearch.data.readers.table import Jagged
from raresearch.data.reductions import REDUCTIONS, pad, reduce
from raresearch.errors import DataError

N = 100
RNG = np.random.default_rng(0)
A = RNG.normal(size=N)
B = RNG.integers(0, 9, N)
IMG = RNG.normal(size=(N, 6)).astype(np.float32)
LISTS = [RNG.normal(size=n).astype(np.float32) for n in RNG.integers(0, 5, N)]


def write(path: Path, groups: int = 30) -> Path:
    """The same columns in each format, as far as it can hold them."""
    if path.suffix == ".parquet":
        img = pa.FixedSizeListArray.from_arrays(pa.array(IMG.reshape(-1)), 6)
        table = pa.table({"a": A, "b": B, "img": img, "jet": pa.array([x.tolist() for x in LISTS], pa.list_(pa.float32()))})
        pq.write_table(table, path, row_group_size=groups)
    elif path.suffix == ".csv":
        path.write_text("a,b\n" + "".join(f"{a!r},{b}\n" for a, b in zip(A.tolist(), B.tolist(), strict=True)))
    elif path.suffix == ".tsv":
        path.write_text("a\tb\n" + "".join(f"{a!r}\t{b}\n" for a, b in zip(A.tolist(), B.tolist(), strict=True)))
    elif path.suffix == ".npz":
        np.savez_compressed(path, a=A, b=B, img=IMG)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["a"], file["b"] = A, B
            file.create_dataset("img", data=IMG, compression="gzip", chunks=(10, 6))
            jet = file.create_dataset("jet", N, dtype=h5py.vlen_dtype(np.float32))
            for i, x in enumerate(LISTS):
                jet[i] = x
    else:
        with uproot.recreate(path) as file:
            file.mktree("events", {"a": "f8", "b": "i8", "img": ("f4", (6,)), "jet": "var * float32"})
            file["events"].extend({"a": A, "b": B, "img": IMG, "jet": ak.Array(LISTS)})
    return path


SUFFIXES = [".parquet", ".csv", ".tsv", ".npz", ".h5", ".root"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("start", "stop"), [(0, N), (0, 1), (29, 31), (30, 60), (99, 100), (7, 93)])
def test_every_format_gives_the_same_rows(suffix, start, stop, tmp_path):
    table = open_table(write(tmp_path / f"events{suffix}"))
    assert table.rows(["a", "b"]) == N
    names = [name for name in ("a", "b", "img", "jet") if name in table.columns()]
    read = table.read(names, start, stop)
    np.testing.assert_array_equal(read["a"], A[start:stop])
    np.testing.assert_array_equal(read["b"], B[start:stop])
    if "img" in names:
        np.testing.assert_array_equal(read["img"], IMG[start:stop])
    if "jet" in names:
        assert isinstance(read["jet"], Jagged)
        np.testing.assert_array_equal(read["jet"].counts, [len(x) for x in LISTS[start:stop]])
        np.testing.assert_array_equal(read["jet"].values, np.concatenate(LISTS[start:stop]))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_column_names_the_nearest(suffix, tmp_path):
    path = tmp_path / f"events{suffix}"
    write(path)
    with pytest.raises(DataError, match=r"column 'c'.*known here|did you mean"):
        open_table(path).read(["c"], 0, 1)


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".h5", ".root"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.99, 0.9999])
def test_a_truncated_file_is_refused_by_name(suffix, kept, tmp_path):
    path = write(tmp_path / f"events{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: min(int(len(content) * kept), len(content) - 1)])
    with pytest.raises(DataError) as caught:
        open_table(path).read(["a", "img"], 0, N)
    assert str(path) in str(caught.value)
    assert "truncated" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_and_a_garbage_file_are_refused_by_name(suffix, tmp_path):
    path = tmp_path / f"events{suffix}"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is an empty file"):
        open_table(path)
    if suffix not in (".csv", ".tsv"):  # any bytes are some text
        path.write_bytes(bytes(range(256)) * 20)
        with pytest.raises(DataError, match="truncated or damaged") as caught:
            open_table(path)
        assert caught.value.__cause__ is not None


def test_a_csv_line_with_too_few_fields_is_refused(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match="Expected 2 columns"):
        open_table(path)


def test_an_unknown_suffix_names_the_nearest_and_a_missing_file_is_refused(tmp_path):
    (tmp_path / "events.parquett").write_text("x")
    with pytest.raises(DataError, match=r"did you mean '.parquet'"):
        open_table(tmp_path / "events.parquett")
    with pytest.raises(DataError, match="is not a file"):
        open_table(tmp_path / "absent.csv")


def test_a_tree_is_named_where_there_are_several(tmp_path):
    path = tmp_path / "events.root"
    with uproot.recreate(path) as file:
        for name in ("signal", "background"):
            file.mktree(name, {"a": "f8"})
            file[name].extend({"a": A})
    with pytest.raises(DataError, match=r"mapping.tree: .*2 TTrees"):
        open_table(path)
    with pytest.raises(DataError, match="did you mean 'signal'"):
        open_table(path, "singal")
    assert open_table(path, "background").rows(["a"]) == N
    with pytest.raises(DataError, match="only ROOT"):
        open_table(write(tmp_path / "events.csv"), "signal")


def test_arrays_of_different_length_are_refused(tmp_path):
    np.savez(tmp_path / "events.npz", a=A, edges=np.arange(11))
    with h5py.File(tmp_path / "events.h5", "w") as file:
        file["a"], file["edges"] = A, np.arange(11)
    for name in ("events.npz", "events.h5"):
        table = open_table(tmp_path / name)
        assert table.rows(["a"]) == N  # a column that nobody asks for may have any length
        with pytest.raises(DataError, match=r"'edges'.* 11 rows, 'a' has 100"):
            table.rows(["a", "edges"])


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "events.npz", a=np.array([{}, {}], dtype=object))
    with pytest.raises(DataError, match="allow_pickle"):
        open_table(tmp_path / "events.npz").rows(["a"])


def test_compound_and_nested_hdf5_datasets_are_columns_by_path(tmp_path):
    with h5py.File(tmp_path / "events.h5", "w") as file:
        file["group/table"] = np.array([(1.5, 2), (2.5, 3)], dtype=[("e", "f8"), ("n", "i4")])
    table = open_table(tmp_path / "events.h5")
    assert table.columns() == ("group/table/e", "group/table/n")
    np.testing.assert_array_equal(table.read(["group/table/e"], 1, 2)["group/table/e"], [2.5])


def test_lists_of_lists_and_text_branches_are_told(tmp_path):
    pq.write_table(pa.table({"deep": [[[1.0], [2.0, 3.0]], [[4.0]]]}), tmp_path / "deep.parquet")
    with pytest.raises(DataError, match="lists of lists"):
        open_table(tmp_path / "deep.parquet").read(["deep"], 0, 2)


def test_nulls_become_nan_and_null_lists_empty(tmp_path):
    table = pa.table({"a": pa.array([1, None, 3]), "jet": pa.array([[1.0, None], None, []])})
    pq.write_table(table, tmp_path / "nulls.parquet")
    read = open_table(tmp_path / "nulls.parquet").read(["a", "jet"], 0, 3)
    np.testing.assert_array_equal(read["a"], [1, np.nan, 3])
    np.testing.assert_array_equal(read["jet"].counts, [2, 0, 0])
    np.testing.assert_array_equal(read["jet"].values, [1.0, np.nan])


def slow_pad(lists: list[list[float]], length: int, fill: float) -> list[list[float]]:
    return [(list(x) + [fill] * length)[:length] for x in lists]


SLOW = {
    "count": len,
    "sum": sum,
    "mean": lambda x: sum(x) / len(x) if x else np.nan,
    "max": lambda x: max(x, default=np.nan),
    "min": lambda x: min(x, default=np.nan),
    "first": lambda x: x[0] if x else np.nan,
}
CASES = [[[]], [[], []], [[1.0]], [[], [1.0, 2.0], [], [3.0], []], [x.tolist() for x in LISTS]]


@pytest.mark.parametrize("lists", CASES)
def test_padding_equals_its_slow_twin(lists):
    jagged = Jagged(np.array([v for x in lists for v in x], dtype=float), np.array([len(x) for x in lists]))
    for length in (1, 2, 4, 7):
        np.testing.assert_array_equal(pad(jagged, length, -9.0), slow_pad(lists, length, -9.0))


@pytest.mark.parametrize("lists", CASES)
@pytest.mark.parametrize("how", sorted(REDUCTIONS))
def test_reducing_equals_its_slow_twin(lists, how):
    jagged = Jagged(np.array([v for x in lists for v in x], dtype=float), np.array([len(x) for x in lists]))
    slow = [SLOW[how](x) for x in lists]
    np.testing.assert_allclose(reduce(jagged, how, None), slow, rtol=1e-12)
    np.testing.assert_allclose(reduce(jagged, how, 5.0), np.where(np.isnan(slow), 5.0, slow), rtol=1e-12)
