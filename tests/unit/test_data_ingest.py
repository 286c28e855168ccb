"""Files become datasets: real files as they are, and every way in which files and mapping fail to fit."""

from __future__ import annotations

import copy
import csv
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from raresearch.data import file_blocks
from raresearch.data.ingest import ingest
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.sealed import read_sealed
from raresearch.data.splits import SPLITS, Fractions
from raresearch.errors import DataError
from raresearch.experiment import Experiment, Files, Schema, TensorField

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FEATURES = [f"{kind}_{of}" for of in ("IP", "DM_SNR") for kind in ("Mean", "SD", "EK", "Skewness")]
HTRU2 = {
    "classes": ["noise", "pulsar"],
    "signal": ["pulsar"],
    "background": ["noise"],
    "class": {"column": "label", "values": {"noise": 0, "pulsar": 1}},
    "tensors": {"features": {"columns": FEATURES}},
    "observers": ["Mean_DM_SNR"],
}


def shared(name: str) -> Path:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not here (third-party data, not part of the project)")
    return SHARED / name


def test_htru2_is_split_exactly_and_value_by_value(tmp_path):
    path = shared("htru2.csv")
    dataset = ingest([path], HTRU2, tmp_path)
    assert dataset.counts == {
        "train": {"noise": 13_007, "pulsar": 1_311},
        "validation": {"noise": 1_626, "pulsar": 164},
        "test": {"noise": 1_626, "pulsar": 164},
    }
    with path.open() as file:
        rows = list(csv.DictReader(file))
    train, sealed = dataset.events("train"), read_sealed(dataset.path)
    for i in (0, 17, len(train) - 1):
        row = rows[train.event_id[i]]
        np.testing.assert_array_equal(train.tensors["features"][i], np.array([row[f] for f in FEATURES], dtype=np.float32))
        assert train.label[i] == int(row["label"])
        assert train.observers["Mean_DM_SNR"][i] == float(row["Mean_DM_SNR"])
    np.testing.assert_array_equal(sealed.label, [int(rows[i]["label"]) for i in sealed.event_id])
    for part in (dataset.path / "test").iterdir():
        assert set(pq.read_schema(part).names) == {"event_id", "features", "Mean_DM_SNR"}


def test_a_flat_root_tree_has_all_its_rows_and_no_labels(tmp_path):
    path = shared("3003_simu.root")
    mapping = {"tree": "qmc_tree", "tensors": {"x": {"columns": ["S1", "S2", "nPhoton"]}}, "observers": {"E": "energy"}}
    dataset = ingest([path], mapping, tmp_path)
    assert sum(dataset.size(s) for s in SPLITS) == 12_174
    assert set(dataset.events("train").label.tolist()) == {-1}
    with uproot.open(path) as file:
        s1, photons = (file["qmc_tree"][n].array(library="np") for n in ("S1", "nPhoton"))
    events = dataset.events("validation")
    np.testing.assert_array_equal(events.tensors["x"][:, 0], s1[events.event_id].astype(np.float32))
    np.testing.assert_array_equal(events.tensors["x"][:, 2], photons[events.event_id])


def test_jagged_root_branches_are_padded_and_reduced_as_awkward_does(tmp_path, monkeypatch):
    path = shared("uproot-HZZ.root")
    monkeypatch.setattr(file_blocks, "BLOCK_BYTES", 20_000)  # several blocks
    mapping = {
        "tensors": {
            "jets": {"column": "Jet_Px", "pad": 4, "fill": 0.0},
            "njet": {"column": "Jet_Px", "reduce": "count"},
            "hardest": {"column": "Muon_E", "reduce": "max", "fill": -1},
        },
        "observers": {"met": "MET_px", "first": {"column": "Jet_E", "reduce": "first", "fill": 0}},
        "weight": "EventWeight",
    }
    dataset = ingest([path], mapping, tmp_path)
    assert sum(dataset.size(s) for s in SPLITS) == 2_421
    assert len(list((dataset.path / "train").iterdir())) > 3
    with uproot.open(path) as file:
        px, e, muon, weight = (file["events"][n].array() for n in ("Jet_Px", "Jet_E", "Muon_E", "EventWeight"))
    train = dataset.events("train")
    rows = train.event_id
    padded = ak.to_numpy(ak.fill_none(ak.pad_none(px, 4, clip=True), 0.0))
    np.testing.assert_array_equal(train.tensors["jets"], padded[rows])
    np.testing.assert_array_equal(train.tensors["njet"][:, 0], ak.to_numpy(ak.num(px))[rows])
    np.testing.assert_array_equal(train.tensors["hardest"][:, 0], ak.to_numpy(ak.fill_none(ak.max(muon, axis=1), -1))[rows])
    np.testing.assert_array_equal(train.observers["first"], ak.to_numpy(ak.fill_none(ak.firsts(e), 0))[rows])
    np.testing.assert_array_equal(train.weight, ak.to_numpy(weight)[rows])


def test_images_of_an_npz_keep_their_shape(tmp_path):
    path = shared("gamma25_lar_tracks.npz")
    mapping = {
        "classes": ["electron", "photon"],
        "signal": ["photon"],
        "background": ["electron"],
        "class": {"column": "label", "values": {"electron": 0, "photon": 1}},
        "tensors": {"img": {"column": "img", "shape": [3, 64, 64], "dtype": "float32"}},
        "observers": ["energy_keV"],
    }
    dataset = ingest([path], mapping, tmp_path)
    assert dataset.counts["train"] == {"electron": 72, "photon": 72}
    with np.load(path) as file:
        img = file["img"].astype(np.float32)
    events = dataset.events("test")
    np.testing.assert_array_equal(events.tensors["img"], img[events.event_id])


N = 200
RNG = np.random.default_rng(3)
COLUMNS = {
    "a": RNG.normal(size=N),
    "b": RNG.normal(size=N),
    "label": np.arange(N) % 2,
    "name": np.where(np.arange(N) % 2, "sig", "bkg"),
    "id": RNG.permutation(10_000)[:N],
    "jet": [[1.0] * (i % 3) for i in range(N)],
    "img": [[float(i)] * 6 for i in range(N)],
}
MAPPING = {
    "classes": ["bkg", "sig"],
    "signal": ["sig"],
    "background": ["bkg"],
    "class": {"column": "label", "values": {"bkg": 0, "sig": 1}},
    "tensors": {"x": {"columns": ["a", "b"]}},
}


def parquet(path: Path, **columns: object) -> Path:
    content = {k: v for k, v in {**COLUMNS, **columns}.items() if v is not None}
    table = pa.table(
        {k: pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(v)), 6) if k == "img" else v for k, v in content.items()}
    )
    pq.write_table(table, path)
    return path


def mapped(**change: object) -> dict:
    return {k: v for k, v in {**copy.deepcopy(MAPPING), **change}.items() if v is not None}


def with_bad(column: np.ndarray, rows: list[int], value: float) -> np.ndarray:
    column = column.astype(float)
    column[rows] = value
    return column


@pytest.mark.parametrize(
    ("columns", "change", "words"),
    [
        ({"b": None}, {}, ["mapping.tensors.x.columns[1]: 'b'", "is not a column of f.parquet"]),
        ({}, {"tensors": {"x": {"columns": ["a", "nam"]}}}, ["columns[1]: 'nam'", "did you mean 'name'"]),
        ({}, {"tensors": {"x": {"columns": ["a", "name"]}}}, ["mapping.tensors.x.columns[1]: 'name'", "not numbers"]),
        ({}, {"tensors": {"x": {"columns": ["a", "jet"]}}}, ["mapping.tensors.x.columns[1]: 'jet'", "jagged", "`pad`"]),
        ({}, {"tensors": {"x": {"columns": ["img"]}}}, ["mapping.tensors.x.columns[0]: 'img'", "(6,)"]),
        ({}, {"tensors": {"x": {"column": "jet"}}}, ["mapping.tensors.x: 'jet'", "jagged", "pad: 4"]),
        ({}, {"tensors": {"x": {"column": "a", "pad": 3}}}, ["mapping.tensors.x: 'a'", "not jagged", "remove `pad`"]),
        ({}, {"tensors": {"x": {"column": "img", "shape": [4, 2]}}}, ["mapping.tensors.x: 'img'", "(6,)", "(4, 2)"]),
        ({}, {"tensors": {"x": {"column": "a", "dtype": "int32"}}}, ["mapping.tensors.x", "do not fit int32"]),
        ({}, {"tensors": {"x": {"column": "jet", "reduce": "max"}}}, ["column 'x'", "67 of 200", "fill: 0.0"]),
        ({}, {"observers": ["jet"]}, ["mapping.observers.jet", "jagged"]),
        ({}, {"observers": ["radius"]}, ["mapping.observers.radius.column: 'radius'", "is not a column"]),
        ({}, {"weight": "w"}, ["mapping.weight: 'w'", "is not a column"]),
        ({}, {"weight": "name"}, ["mapping.weight: 'name'", "not numbers"]),
        ({}, {"event_id": "a"}, ["mapping.event_id: 'a'", "whole numbers"]),
        ({"id": np.arange(N) // 2}, {"event_id": "id"}, ["mapping.event_id: 'id'", "100 ids", "such as 0"]),
        ({"label": np.arange(N) % 3}, {}, ["mapping.class.column: 'label': value 2", "66 rows", "0, 1"]),
        ({}, {"class": {"column": "name", "values": {"bkg": "bkg", "sig": "sgi"}}}, ["value sig", "bkg, sgi"]),
        ({}, {"class": {"column": "label", "values": {"bkg": "0", "sig": "1"}}}, ["mapping.class.values", "text"]),
        ({}, {"class": {"file": {"bkg": "b*", "sig": "s*"}}}, ["mapping.class.file", "matches 0 classes", "b*, s*"]),
        ({}, {"class": {"file": {"bkg": "f*", "sig": "*"}}}, ["mapping.class.file", "matches 2 classes"]),
        ({"a": with_bad(COLUMNS["a"], [5, 6], np.nan)}, {}, ["f.parquet", "column 'x'", "2 of 200", "row 5", "missing: drop"]),
        ({"a": with_bad(COLUMNS["a"], [5], np.inf)}, {}, ["column 'x'", "1 of 200"]),
        ({"a": with_bad(COLUMNS["a"], [5], 1e300)}, {}, ["mapping.tensors.x", "do not fit float32", "1e+300"]),
        ({"label": np.zeros(N, int)}, {}, ["train", "0 signal", "needs both"]),
    ],
)
def test_files_that_do_not_fit_the_mapping_are_refused_by_name(columns, change, words, tmp_path):
    path = parquet(tmp_path / "f.parquet", **columns)
    with pytest.raises(DataError) as caught:
        ingest([path], mapped(**change), tmp_path / "out")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))


def test_rows_that_are_not_finite_can_be_dropped_and_are_counted(tmp_path):
    path = parquet(tmp_path / "f.parquet", a=with_bad(COLUMNS["a"], [5, 6, 40], np.nan))
    dataset = ingest([path], mapped(missing="drop"), tmp_path)
    assert dataset.meta["dropped"] == 3
    ids = np.concatenate([dataset.events(s).event_id for s in SPLITS])
    assert sorted(ids.tolist()) == sorted(set(range(N)) - {5, 6, 40})
    for c, n in (("bkg", 98), ("sig", 99)):  # exact among the rows that stay
        assert abs(dataset.counts["train"][c] - 0.8 * n) < 1


def test_event_ids_may_come_from_a_column_and_decide_the_split(tmp_path):
    path = parquet(tmp_path / "f.parquet")
    order = RNG.permutation(N)
    shuffled = {k: [v[i] for i in order] if isinstance(v, list) else v[order] for k, v in COLUMNS.items()}
    other = parquet(tmp_path / "g.parquet", **shuffled)
    one, two = (ingest([p], mapped(event_id="id"), tmp_path).events("train") for p in (path, other))
    assert np.all(np.diff(one.event_id) > 0)
    np.testing.assert_array_equal(one.event_id, two.event_id)
    np.testing.assert_array_equal(one.tensors["x"], two.tensors["x"])


def test_classes_may_come_from_text_or_from_file_names(tmp_path):
    text = ingest(
        [parquet(tmp_path / "f.parquet")],
        mapped(**{"class": {"column": "name", "values": {"bkg": "bkg", "sig": "sig"}}}),
        tmp_path,
    )
    assert text.counts["train"] == {"bkg": 80, "sig": 80}
    folder = tmp_path / "in"
    folder.mkdir()
    parquet(folder / "noise_1.parquet")
    parquet(folder / "pulsar.parquet", a=COLUMNS["b"])
    (folder / "README.md").write_text("not events")
    named = ingest([folder], mapped(**{"class": {"file": {"bkg": "noise_*", "sig": "pulsar*"}}}), tmp_path)
    assert named.counts["train"] == {"bkg": 160, "sig": 160}
    train = named.events("train")
    np.testing.assert_array_equal(train.label, train.event_id >= N)  # running number over the files in order


def test_blocks_of_any_size_give_the_same_events(tmp_path, monkeypatch):
    path = parquet(tmp_path / "f.parquet")
    whole = ingest([path], MAPPING, tmp_path / "whole")
    monkeypatch.setattr(file_blocks, "BLOCK_BYTES", 100)
    parts = ingest([path], MAPPING, tmp_path / "parts")
    assert parts.fingerprint == whole.fingerprint
    assert len(list((parts.path / "train").iterdir())) > len(list((whole.path / "train").iterdir()))
    for split in SPLITS:
        np.testing.assert_array_equal(parts.events(split).tensors["x"], whole.events(split).tensors["x"])
    np.testing.assert_array_equal(read_sealed(parts.path).label, read_sealed(whole.path).label)


def test_the_fingerprint_hangs_on_content_mapping_seed_and_fractions_but_not_on_the_folder(tmp_path):
    (tmp_path / "there").mkdir()
    path, copied = parquet(tmp_path / "f.parquet"), parquet(tmp_path / "there" / "f.parquet")
    base = ingest([path], MAPPING, tmp_path).path
    assert ingest([copied], MAPPING, tmp_path).path == base
    other = parquet(tmp_path / "there" / "f.parquet", a=COLUMNS["b"])
    paths = {
        base,
        ingest([other], MAPPING, tmp_path).path,
        ingest([path], mapped(observers=["b"]), tmp_path).path,
        ingest([path], MAPPING, tmp_path, seed=1).path,
        ingest([path], MAPPING, tmp_path, fractions=Fractions(0.6, 0.2, 0.2)).path,
    }
    assert len(paths) == 5


def test_no_file_the_same_file_twice_and_a_file_without_rows_are_refused(tmp_path):
    path = parquet(tmp_path / "f.parquet")
    with pytest.raises(DataError, match="none were given"):
        ingest([], MAPPING, tmp_path / "out")
    with pytest.raises(DataError, match="same content"):
        ingest([path, parquet(tmp_path / "copy.parquet")], MAPPING, tmp_path / "out")
    with pytest.raises(DataError, match="does not exist"):
        ingest([tmp_path / "absent.parquet"], MAPPING, tmp_path / "out")
    (tmp_path / "header.csv").write_text("a,b,label\n")
    with pytest.raises(DataError, match="no rows"):
        ingest([tmp_path / "header.csv"], MAPPING, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no readable file"):
        ingest([tmp_path / "empty"], MAPPING, tmp_path / "out")
    (tmp_path / "zero.csv").touch()
    with pytest.raises(DataError, match="is an empty file"):
        ingest([tmp_path / "zero.csv"], MAPPING, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class FromFiles(Experiment):
    name = "from-files"

    def __init__(self, path: Path, mapping: dict):
        self.path, self.mapping = path, mapping

    def schema(self) -> Schema:
        return Schema((TensorField("x", (2,), columns=("a", "b")),), ("bkg", "sig"), ("sig",), ("bkg",), ("id",))

    def dataset(self, config):
        return Files((str(self.path),), self.mapping)


def plan(path: Path, **mapping: object) -> DataPlan:
    return DataPlan(FromFiles(path, {"class": MAPPING["class"], **mapping}), {"data.events": 7}, 0, Fractions())


def test_an_experiment_of_files_takes_classes_tensors_and_observers_from_its_schema(tmp_path):
    dataset = prepare(plan(parquet(tmp_path / "f.parquet")), tmp_path, engine="local")
    assert dataset.counts["train"] == {"bkg": 80, "sig": 80}
    assert dataset.schema == FromFiles(tmp_path, {}).schema()
    assert dataset.meta["provenance"]["files"][0]["name"] == "f.parquet"
    np.testing.assert_array_equal(dataset.events("train").observers["id"], COLUMNS["id"][dataset.events("train").event_id])


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"tensors": {"y": {"columns": ["a"]}}}, "mapping.tensors.y: is not in the experiment's schema"),
        ({"tensors": {"x": {"columns": ["a", "b", "id"]}}}, r"mapping.tensors.x: makes \(3,\)"),
        ({"tensors": {"x": {"columns": ["b", "a"]}}}, "mapping.tensors.x.columns: differ"),
        ({"tensors": {"x": {"columns": ["a", "b"], "dtype": "float64"}}}, "float64, the experiment's schema says"),
        ({"classes": ["sig", "bkg"]}, "mapping.classes"),
        ({"signal": ["bkg"], "background": ["sig"]}, "mapping.signal"),
        ({"observers": []}, "mapping.observers"),
    ],
)
def test_a_mapping_that_disagrees_with_the_experiments_schema_is_refused(mapping, words, tmp_path):
    with pytest.raises(DataError, match=words):
        prepare(plan(parquet(tmp_path / "f.parquet"), **mapping), tmp_path / "out", engine="local")


def test_the_size_of_simulated_blocks_does_not_make_another_dataset_of_files(tmp_path):
    path = parquet(tmp_path / "f.parquet")
    other = DataPlan(FromFiles(path, {"class": MAPPING["class"]}), {"data.block": 3}, 0, Fractions())
    assert other.fingerprint == plan(path).fingerprint
