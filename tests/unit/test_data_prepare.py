"""Simulated datasets: layout, seal, cache, checks, atomic landing (engine "local")."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest

import raresearch.data
from raresearch.data.dataset import Dataset
from raresearch.data.landing import landing
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.sealed import read_sealed
from raresearch.data.splits import SPLITS, Fractions, assign
from raresearch.errors import DataError, StoreError, UserError
from raresearch.experiment import Experiment, Schema, TensorField

EIGHTY = Fractions(0.8, 0.1, 0.1)
CONFIG = {"data.events": 1000, "data.block": 300, "model.hidden": (4,)}


class Toy(Experiment):
    name = "toy-data"
    defaults: ClassVar = {"data.shift": 1.0}

    def schema(self) -> Schema:
        tensors = (
            TensorField("x", (2,), columns=("a", "b")),
            TensorField("img", (1, 3, 4), "uint8"),
            TensorField("on", (2,), "bool"),
        )
        return Schema(tensors, ("er", "nr", "accidental"), ("nr",), ("er",), ("radius",))

    def simulate(self, config, rng, n):
        kind = rng.integers(0, 3, n)
        return {
            "x": rng.normal(size=(n, 2)) + config["data.shift"] * kind[:, None],
            "img": rng.integers(0, 255, (n, 1, 3, 4)).astype(np.uint8),
            "on": rng.random((n, 2)) < 0.5,
            "class": kind,
            "radius": rng.random(n),
            "weight": 1.0 + kind,
            "spectator": rng.random(n) < 0.1,
        }


class Broken(Toy):
    """Replaces columns of each block by those of ``change``; None leaves a column out."""

    def __init__(self, **change):
        self.change = change

    def simulate(self, config, rng, n):
        return {k: v for k, v in {**super().simulate(config, rng, n), **self.change}.items() if v is not None}


def plan(experiment: Experiment | None = None, seed: int = 5, fractions: Fractions = EIGHTY, **config) -> DataPlan:
    return DataPlan(experiment or Toy(), {**CONFIG, **{f"data.{k}": v for k, v in config.items()}}, seed, fractions)


def files_of(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*.parquet"))}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return prepare(plan(), tmp_path_factory.mktemp("data"), engine="local")


def test_every_event_lands_in_the_split_of_its_id(dataset):
    expected = assign(np.arange(1000), EIGHTY, 5)
    for number, split in enumerate(SPLITS):
        np.testing.assert_array_equal(dataset.events(split).event_id, np.flatnonzero(expected == number))


def test_events_are_what_the_simulator_made_in_shape_dtype_and_value(dataset):
    from raresearch.types import named_stream

    rng = np.random.default_rng(named_stream(5, "toy-data", "simulate", "1"))
    made = Toy().simulate({"data.shift": 1.0}, rng, 300)
    events = dataset.events("train")
    rows = np.flatnonzero((events.event_id >= 300) & (events.event_id < 600))
    here = events.event_id[rows] - 300
    for name in ("x", "img", "on"):
        field = next(t for t in Toy().schema().tensors if t.name == name)
        assert events.tensors[name].dtype == field.dtype
        np.testing.assert_array_equal(events.tensors[name][rows], made[name][here].astype(field.dtype))
    np.testing.assert_array_equal(events.class_number[rows], made["class"][here])
    np.testing.assert_array_equal(events.observers["radius"][rows], made["radius"][here])
    np.testing.assert_array_equal(events.weight[rows], made["weight"][here])
    label = np.where(made["spectator"], -1, np.array([0, 1, -1])[made["class"]])
    np.testing.assert_array_equal(events.label[rows], label[here])


def test_arrays_can_be_written_to_so_that_torch_takes_them(dataset):
    events = dataset.events("validation")
    for array in (events.event_id, events.label, events.weight, *events.tensors.values(), *events.observers.values()):
        assert array.flags.writeable


def test_no_test_file_has_a_label_class_or_weight(dataset):
    parts = list((dataset.path / "test").glob("*.parquet"))
    assert len(parts) == 4
    for part in parts:
        assert set(pq.read_schema(part).names) == {"event_id", "x", "img", "on", "radius"}
    events = dataset.events("test")
    assert events.label is None
    assert events.class_number is None
    assert events.weight is None


def test_sealed_labels_match_the_test_events_row_by_row(dataset):
    labels = read_sealed(dataset.path)
    np.testing.assert_array_equal(labels.event_id, dataset.events("test").event_id)
    np.testing.assert_array_equal(labels.weight, 1.0 + labels.class_number)
    counts = np.bincount(labels.class_number, minlength=3)
    assert dataset.counts["test"] == dict(zip(("er", "nr", "accidental"), counts.tolist(), strict=True))
    assert set(labels.label[labels.class_number == 1].tolist()) <= {1, -1}


def test_only_its_owner_may_read_a_sealed_file_and_nobody_write_it(dataset):
    modes = {path.stat().st_mode & 0o777 for path in (dataset.path / "sealed").iterdir()}
    assert modes == {0o400}


def test_no_module_of_data_imports_sealed():
    for module in Path(raresearch.data.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = [a.name for a in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            origin = getattr(node, "module", None) or ""
            assert not any("sealed" in name for name in [*names, origin]), module


def test_the_manifest_tells_what_how_and_from_where(dataset):
    meta = json.loads((dataset.path / "dataset.json").read_text())
    assert meta["experiment"] == {"name": "toy-data", "version": "1"}
    assert meta["provenance"]["kind"] == "simulated"
    assert "Toy version 1" in meta["provenance"]["simulated_by"]
    assert meta["config"] == {"data.events": 1000, "data.block": 300, "data.shift": 1.0}
    assert meta["seed"] == 5
    assert sum(sum(c.values()) for c in meta["counts"].values()) == 1000
    assert Dataset.open(dataset.path).schema == Toy().schema()


@pytest.mark.parametrize("there", [True, False])
def test_a_landing_that_fails_leaves_the_folder_as_it_was(tmp_path, there):
    root = tmp_path / "datasets"
    if there:
        root.mkdir()

    def land():
        with landing(root, "f") as folder:
            (folder / "half").write_text("of it")
            raise DataError("events", "are damaged")

    with pytest.raises(DataError):
        land()
    assert root.exists() == there
    assert not there or not [*root.iterdir()]


def test_a_landed_dataset_is_returned_without_simulating(dataset):
    class Never(Toy):
        def simulate(self, config, rng, n):
            raise AssertionError("simulated again")

    again = prepare(plan(Never()), dataset.path.parent, engine="local")
    assert again.path == dataset.path


def test_the_fingerprint_hangs_on_data_names_seed_fractions_version_and_nothing_else():
    class Newer(Toy):
        version = "2"

    base = plan().fingerprint
    assert DataPlan(Toy(), {**CONFIG, "model.hidden": (9,), "train.epochs": 3}, 5, EIGHTY).fingerprint == base
    assert plan(shift=1.0).fingerprint == base  # the default, spelled out
    others = [plan(shift=2.0), plan(seed=6), plan(fractions=Fractions(0.7, 0.2, 0.1)), plan(Newer()), plan(events=1001)]
    assert len({base, *(p.fingerprint for p in others)}) == 6


def test_blocks_and_splits_of_the_first_events_stay_when_more_are_asked_for(dataset, tmp_path):
    more = prepare(plan(events=2000), tmp_path, engine="local")
    old, new = dataset.events("train"), more.events("train")
    kept = np.isin(new.event_id, np.arange(900))  # the first three blocks are whole in both
    np.testing.assert_array_equal(new.tensors["x"][kept], old.tensors["x"][old.event_id < 900])


def test_the_same_plan_gives_the_same_bytes(dataset, tmp_path):
    assert files_of(prepare(plan(), tmp_path, engine="local").path) == files_of(dataset.path)


def test_progress_counts_blocks(tmp_path):
    seen = []
    prepare(plan(), tmp_path, engine="local", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_without_a_test_fraction_the_test_split_is_empty_but_has_its_shapes(tmp_path):
    dataset = prepare(plan(fractions=Fractions(0.8, 0.2, 0.0)), tmp_path, engine="local")
    assert dataset.size("test") == 0
    assert dataset.events("test").tensors["img"].shape == (0, 1, 3, 4)
    assert len(read_sealed(dataset.path).label) == 0


def with_nan(column: np.ndarray) -> np.ndarray:
    column = column.astype(float)
    column[[3, 7]] = np.nan, np.inf
    return column


GOOD = Toy().simulate({"data.shift": 1.0}, np.random.default_rng(0), 300)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": None}, ["column 'x'", "missing"]),
        ({"radius": None}, ["column 'radius'", "missing"]),
        ({"class": None}, ["column 'class'", "missing"]),
        ({"radios": GOOD["radius"]}, ["column 'radios'", "did you mean 'radius'"]),
        ({"x": GOOD["x"][:299]}, ["column 'x'", "(299, 2)", "(300, 2)"]),
        ({"x": GOOD["x"][:, :1]}, ["column 'x'", "(300, 1)", "(300, 2)"]),
        ({"img": GOOD["img"].astype(float)}, ["column 'img'", "float64", "uint8"]),
        ({"img": GOOD["img"].astype(np.uint16) + 300}, ["column 'img'", "does not fit uint8"]),
        ({"x": GOOD["x"].astype(str)}, ["column 'x'", "float32"]),
        ({"x": with_nan(GOOD["x"])}, ["column 'x'", "block 0", "2 of 300", "row 3"]),
        ({"x": GOOD["x"] * 1e300}, ["column 'x'", "300 of 300"]),
        ({"radius": with_nan(GOOD["radius"])}, ["column 'radius'", "2 of 300"]),
        ({"weight": with_nan(GOOD["weight"])}, ["column 'weight'", "2 of 300"]),
        ({"class": np.full(300, 3)}, ["column 'class'", "0 … 2"]),
        ({"class": np.full(300, -1)}, ["column 'class'", "0 … 2"]),
        ({"class": np.zeros(300, int)}, ["train", "0 signal", "needs both"]),
        ({"class": np.ones(300, int)}, ["train", "0 background", "needs both"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_events_that_cannot_be_used_are_refused_by_name_and_nothing_stays(change, words, tmp_path):
    with pytest.raises(DataError) as caught:
        prepare(plan(Broken(**change), events=300), tmp_path, engine="local")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_config_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"data.shif: .*did you mean 'data.shift'"):
        prepare(plan(shif=2), tmp_path, engine="local")
    for value in (0, -1, 2.5, True):
        with pytest.raises(DataError, match=r"data\.events"):
            prepare(plan(events=value), tmp_path, engine="local")


@pytest.mark.parametrize(
    ("field", "words"), [(TensorField("x", ()), "has no entries"), (TensorField("x", (2,), "flot32"), "float32")]
)
def test_a_schema_that_cannot_be_stored_is_refused(field, words, tmp_path):
    class Odd(Toy):
        def schema(self):
            return Schema((field,), ("a", "b"), ("a",), ("b",))

    with pytest.raises(DataError, match=words):
        prepare(plan(Odd()), tmp_path, engine="local")


def test_an_unknown_engine_and_ray_without_ray_are_refused(tmp_path):
    with pytest.raises(UserError, match="did you mean 'local'"):
        prepare(plan(), tmp_path, engine="locl")
    with pytest.raises(UserError, match="Ray is not running"):
        prepare(plan(), tmp_path, engine="ray")


def test_an_interrupt_leaves_no_half_dataset(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(plan(), tmp_path, engine="local", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_if_somebody_else_landed_first_theirs_is_used(tmp_path):
    here: list[Dataset] = []

    def race(done: int, total: int) -> None:
        if done == total:
            here.append(prepare(plan(), tmp_path, engine="local"))

    mine = prepare(plan(), tmp_path, engine="local", progress=race)
    assert mine.path == here[0].path
    assert [p.name for p in tmp_path.iterdir()] == [plan().fingerprint]


def test_a_leftover_of_a_dead_process_is_swept_and_that_of_a_live_one_is_not(tmp_path):
    dead = tmp_path / ".tmp-abc-1"
    (dead / ".work").mkdir(parents=True)
    (dead / ".work" / "lock").touch()
    with landing(tmp_path, "live") as live:
        assert not dead.exists()
        with landing(tmp_path, "other"):
            assert live.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"live", "other"}


def test_what_never_landed_cannot_be_opened(dataset, tmp_path):
    half = tmp_path / ".tmp-abc-1"
    half.mkdir()
    (half / "dataset.json").write_bytes((dataset.path / "dataset.json").read_bytes())
    for path in (half, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StoreError):
            Dataset.open(path)
    (tmp_path / "dataset.json").write_text("{not json")
    with pytest.raises(StoreError, match="JSON"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="format"):
        Dataset.open(tmp_path)


def test_a_lost_or_truncated_part_is_noticed(tmp_path):
    dataset = prepare(plan(), tmp_path, engine="local")
    part = dataset.path / "train" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(StoreError, match="cannot be read"):
        dataset.events("train")
    part.unlink()
    with pytest.raises(StoreError, match=r"rows of"):
        dataset.events("train")
    with pytest.raises(DataError, match="did you mean 'train'"):
        dataset.events("trian")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing(small_disk):
    with pytest.raises(StoreError, match="the disk is full") as caught:
        prepare(plan(events=50_000, block=5_000), small_disk, engine="local")
    assert "\n" not in str(caught.value)
    assert list(small_disk.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is not a folder"):
        prepare(plan(), tmp_path / "file", engine="local")
    with pytest.raises(StoreError, match="is not a folder"):
        prepare(plan(), tmp_path / "file" / "below", engine="local")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        prepare(plan(), tmp_path, engine="local")
