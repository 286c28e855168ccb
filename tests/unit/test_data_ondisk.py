"""Events that stay on disk are the events in memory, whichever way they are read."""

import pickle
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest

from raresearch.data.dataset import Dataset
from raresearch.data.ondisk import NpyFile, Rows, chosen, joined
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.residence import Residence, tensor_bytes
from raresearch.data.splits import Fractions
from raresearch.data.unpacked import unpack
from raresearch.errors import StoreError
from raresearch.experiment import Experiment, Schema, TensorField
from raresearch.training.arrays import fold_events, load


class Pictures(Experiment):
    """Small pictures, uint8 and float16."""

    name = "pictures"

    def schema(self):
        return Schema(
            (TensorField("image", (2, 5, 5), "uint8"), TensorField("charge", (3,), "float16")),
            ("b", "s"),
            ("s",),
            ("b",),
            ("n",),
        )

    def simulate(self, config, rng, n):
        return {
            "image": rng.integers(0, 250, (n, 2, 5, 5)).astype(np.uint8),
            "charge": rng.normal(size=(n, 3)).astype(np.float16),
            "class": rng.integers(0, 2, n),
            "n": rng.random(n),
        }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    plan = DataPlan(Pictures(), {"data.events": 900, "data.block": 170}, 3, Fractions(0.6, 0.3, 0.1))
    return prepare(plan, tmp_path_factory.mktemp("data"), engine="local")


@pytest.fixture(params=[False, True], ids=["mapped", "streamed"])
def rows(request, tmp_path):
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 255, (n, 2, 3)).astype(np.uint8) for n in (40, 25)]
    for number, part in enumerate(parts):
        np.save(tmp_path / f"{number}.npy", part)
    files = [NpyFile.open(tmp_path / f"{n}.npy") for n in range(2)]
    return [Rows((f,), request.param) for f in files], parts


def test_rows_of_a_file_are_the_rows_of_the_array(rows):
    (found, _), (array, _) = rows
    rng = np.random.default_rng(1)
    for asked in (rng.integers(0, 40, 100), rng.permutation(40).reshape(5, 8), np.arange(40) % 3 == 0, np.empty(0, np.int64)):
        np.testing.assert_array_equal(found[asked], array[asked])
    for asked in (slice(3, 17), slice(None), slice(30, 99)):
        np.testing.assert_array_equal(found[asked], array[asked])


def test_files_behind_one_another_are_one_column(rows):
    found, arrays = rows
    both, array = joined(found), np.concatenate(arrays)
    some = np.random.default_rng(2).permutation(65)[:50]
    np.testing.assert_array_equal(both[:], array)
    np.testing.assert_array_equal(chosen(both, some)[:], array[some])
    np.testing.assert_array_equal(joined([chosen(found[1], some[some < 25]), found[0]])[:10], array[40:][some[some < 25]][:10])
    assert chosen(both, some).shape == (50, 2, 3)


def test_a_pickle_holds_the_place_and_not_the_events(rows):
    (found, _), (array, _) = rows
    found[:]  # maps the file, where it is mapped
    content = pickle.dumps(found)
    assert len(content) < array.nbytes + 1000
    np.testing.assert_array_equal(pickle.loads(content)[:], array)


def test_a_file_that_was_cut_off_is_refused_by_name(rows):
    (found, _), _ = rows
    path = found.files[0].path
    with open(path, "r+b") as file:
        file.truncate(200)
    with pytest.raises(StoreError, match=r"0\.npy.*made again"):
        NpyFile.open(path)
    if found.streamed:
        with pytest.raises(StoreError, match=r"0\.npy.*ends before"):
            found[:]


@pytest.mark.parametrize("kind", ["mapped", "streamed"])
@pytest.mark.parametrize("folds", [1, 3])
def test_the_events_of_a_fold_are_the_same_wherever_they_lie(dataset, kind, folds):
    there, here = load(dataset, Residence(kind)), load(dataset)
    assert (there.kind, here.kind) == (kind, "resident")
    for mine, wanted in zip(fold_events(there, 0, folds, 7), fold_events(here, 0, folds, 7), strict=True):
        for name, column in wanted.tensors.items():
            assert mine.tensors[name].dtype == column.dtype
            np.testing.assert_array_equal(mine.tensors[name][:], column)
        np.testing.assert_array_equal(mine.label, wanted.label)
        np.testing.assert_array_equal(mine.observers["n"], wanted.observers["n"])


def test_parts_out_of_order_are_put_in_the_order_of_ids(dataset, tmp_path):
    copy = tmp_path / dataset.fingerprint
    (copy / "train").mkdir(parents=True)
    for split in ("validation", "test"):
        (copy / split).symlink_to(dataset.path / split)
    (copy / "dataset.json").write_bytes((dataset.path / "dataset.json").read_bytes())
    parts = sorted((dataset.path / "train").iterdir())
    for number, part in enumerate(reversed(parts)):
        pq.write_table(pq.read_table(part), copy / "train" / f"part-{number:05d}.parquet")
    moved = Dataset.open(copy)
    np.testing.assert_array_equal(
        load(moved, Residence("mapped")).train.tensors["image"][:], dataset.events("train").tensors["image"]
    )


def test_unpacking_is_done_once(dataset, monkeypatch):
    first = unpack(dataset)
    times = {p.name: p.stat().st_mtime_ns for p in first.iterdir()}
    assert set(times) == {f"{s}-{t}.npy" for s in ("train", "validation", "test") for t in ("image", "charge")}
    assert unpack(dataset) == first
    assert {p.name: p.stat().st_mtime_ns for p in first.iterdir()} == times


def test_a_disk_without_room_is_one_line(dataset, tmp_path, monkeypatch):
    @dataclass
    class Usage:
        free: int = 1000

    copy = tmp_path / dataset.fingerprint
    copy.symlink_to(dataset.path)
    monkeypatch.setattr("raresearch.data.unpacked.shutil.disk_usage", lambda _: Usage())
    with pytest.raises(StoreError, match=r"GB free.*execution\.data: resident"):
        unpack(Dataset.open(copy))


@pytest.mark.parametrize(("memory", "kind"), [(2, "resident"), (1, "mapped"), (0.99, "streamed")])
def test_the_place_follows_from_bytes_and_memory(dataset, memory, kind):
    size = tensor_bytes(dataset.schema, dataset.counts)
    assert size == 900 * (50 + 6)
    assert Residence(memory=int(memory * size)).of(size) == kind
    assert Residence("streamed", 10 * size).of(size) == "streamed"


def test_a_flipped_bit_in_a_shard_is_found_and_the_shard_named(dataset, tmp_path):
    copy = tmp_path / dataset.fingerprint
    (copy / "train").mkdir(parents=True)
    (copy / "dataset.json").write_bytes((dataset.path / "dataset.json").read_bytes())
    for part in sorted((dataset.path / "train").iterdir()):
        (copy / "train" / part.name).write_bytes(part.read_bytes())
    bad = copy / "train" / "part-00002.parquet"
    where = pq.ParquetFile(bad).metadata.row_group(0).column(1).data_page_offset + 200
    content = bytearray(bad.read_bytes())
    content[where] ^= 1
    bad.write_bytes(content)
    with pytest.raises(StoreError, match=r"part-00002\.parquet.*prepare it again"):
        Dataset.open(copy).events("train")
