"""The same datasets through a real Ray Data pipeline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raresearch.data import engines, file_blocks, several
from raresearch.data.dataset import Dataset
from raresearch.data.engines import OnDemand
from raresearch.data.ingest import ingest
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.sealed import read_sealed
from raresearch.data.several import prepare_several
from raresearch.data.splits import Fractions
from raresearch.errors import DataError, StoreError
from raresearch.experiment import Experiment, Schema, TensorField

CONFIG = {"data.events": 1100, "data.block": 100}


class Toy(Experiment):
    name = "toy-ray"

    def schema(self):
        return Schema((TensorField("x", (3,)), TensorField("img", (2, 4, 4))), ("er", "nr"), ("nr",), ("er",), ("radius",))

    def simulate(self, config, rng, n):
        kind = rng.integers(0, 2, n)
        img = rng.normal(size=(n, 2, 4, 4)).astype(np.float32)
        return {"x": rng.normal(size=(n, 3)) + kind[:, None], "img": img, "class": kind, "radius": rng.random(n)}


class NanInOneBlock(Toy):
    def simulate(self, config, rng, n):
        events = super().simulate(config, rng, n)
        if rng.random() < 0.5:
            events["x"][5] = np.nan
        else:
            time.sleep(0.2)
        return events


class DiesOnce(Toy):
    """Kills its own worker process once, in the middle of the dataset."""

    def __init__(self, marker: Path):
        self.marker = marker

    def simulate(self, config, rng, n):
        events = super().simulate(config, rng, n)
        if events["class"][0] == 1 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return events


class SaysWhere(Toy):
    """Leaves the number of the process that made a block."""

    def __init__(self, folder: Path, seconds: float):
        self.folder, self.seconds = folder, seconds

    def simulate(self, config, rng, n):
        time.sleep(self.seconds)
        (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        return super().simulate(config, rng, n)


class Slow(Toy):
    def simulate(self, config, rng, n):
        time.sleep(0.2)
        return super().simulate(config, rng, n)


@pytest.fixture(scope="module")
def ray():
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    # As a caller does for an experiment in a user's own file: workers cannot import this module.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    ray.shutdown()


def plan(experiment: Experiment | None = None, **config: int) -> DataPlan:
    return DataPlan(experiment or Toy(), {**CONFIG, **{f"data.{k}": v for k, v in config.items()}}, 2, Fractions(0.6, 0.2, 0.2))


def files_of(dataset: Dataset) -> dict[str, bytes]:
    return {str(p.relative_to(dataset.path)): p.read_bytes() for p in dataset.path.rglob("*.parquet")}


@pytest.mark.usefixtures("ray")
def test_ray_and_local_give_the_same_bytes_and_ray_reports_progress(tmp_path):
    seen: list[tuple[int, int]] = []
    by_ray = prepare(plan(), tmp_path / "ray", engine="ray", progress=lambda done, total: seen.append((done, total)))
    by_loop = prepare(plan(), tmp_path / "local", engine="local")
    assert files_of(by_ray) == files_of(by_loop)
    assert len(files_of(by_ray)) == 4 * 11
    assert seen == [(i, 11) for i in range(1, 12)]
    assert {**by_ray.meta, "created": ""} == {**by_loop.meta, "created": ""}


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_auto_stays_here_for_little_work_and_takes_ray_data_for_more(tmp_path, seconds, monkeypatch):
    monkeypatch.setattr(engines, "START_SECONDS", 1.5)
    (tmp_path / "pids").mkdir()
    dataset = prepare(plan(SaysWhere(tmp_path / "pids", seconds)), tmp_path / "auto", engine="auto")
    made = [int(path.name.split("-")[0]) for path in (tmp_path / "pids").iterdir()]
    assert len(made) == 11
    assert made.count(os.getpid()) == (1 if seconds else 11)  # ten blocks of .3 s are more than 1.5 s
    assert files_of(dataset) == files_of(prepare(plan(), tmp_path / "local", engine="local"))


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("worth", [True, False])
def test_several_datasets_are_made_at_the_same_time_where_that_is_worth_it(tmp_path, monkeypatch, worth):
    monkeypatch.setattr(several, "START_SECONDS", 0.1 if worth else 1e9)
    (tmp_path / "pids").mkdir()
    plans = [plan(SaysWhere(tmp_path / "pids", 0.1), events=n) for n in (200, 300, 400, 300)]
    prepare(plans[1], tmp_path / "many", engine="local")
    seen: list[tuple[int, int]] = []
    prepare_several(plans, tmp_path / "many", "auto", lambda done, total: seen.append((done, total)))
    here = [path.name.startswith(f"{os.getpid()}-") for path in (tmp_path / "pids").iterdir()]
    assert here.count(True) == (3 + 2 if worth else 3 + 2 + 4)  # the one of before and the first
    assert seen == [(2, 6), (6, 6)]
    for number in (0, 1, 2):
        alone = prepare(plans[number], tmp_path / "alone", engine="local")
        assert files_of(Dataset.open(tmp_path / "many" / plans[number].fingerprint)) == files_of(alone)


@pytest.mark.usefixtures("ray")
def test_one_bad_dataset_among_several_is_one_line_and_leaves_nothing_half_made(tmp_path, monkeypatch):
    monkeypatch.setattr(several, "START_SECONDS", 0.0)
    plans = [plan(), plan(NanInOneBlock(), events=1200), plan(Slow(), events=1300)]
    with pytest.raises(DataError, match=r"toy-ray.simulate: block \d+: column 'x': NaN or infinite"):
        prepare_several(plans, tmp_path, "auto", lambda done, total: None)
    end = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) > 1 and time.monotonic() < end:
        time.sleep(0.05)  # what was under way hears of it between two blocks
    assert [p.name for p in tmp_path.iterdir()] == [plans[0].fingerprint]


def test_ray_is_started_on_demand_only(tmp_path):
    started: list[bool] = []

    def session():
        started.append(True)
        raise KeyboardInterrupt  # what comes after is Ray's own start

    prepare(plan(), tmp_path / "little", engine=OnDemand(session))
    assert started == []
    (tmp_path / "pids").mkdir()
    with pytest.raises(KeyboardInterrupt):
        prepare(plan(SaysWhere(tmp_path / "pids", 1.1)), tmp_path / "much", engine=OnDemand(session))
    assert started == [True]


@pytest.mark.usefixtures("ray")
def test_a_bad_block_comes_back_as_one_line_and_nothing_stays(tmp_path):
    with pytest.raises(
        DataError, match=r"toy-ray.simulate: block \d+: column 'x': NaN or infinite in 1 of 100 events, first in row 5"
    ):
        prepare(plan(NanInOneBlock()), tmp_path, engine="ray")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("ray")
def test_an_interrupt_cancels_the_blocks_and_leaves_nothing(tmp_path):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(plan(Slow()), tmp_path, engine="ray", progress=interrupt)
    time.sleep(1)  # a block that was still being made must not bring the folder back
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("ray")
def test_a_killed_worker_is_made_up_for_with_the_same_bytes(tmp_path):
    marker = tmp_path / "died"
    dataset = prepare(plan(DiesOnce(marker)), tmp_path / "ray", engine="ray")
    assert marker.exists()
    assert files_of(dataset) == files_of(prepare(plan(), tmp_path / "local", engine="local"))


@pytest.mark.usefixtures("ray")
def test_files_go_through_ray_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(file_blocks, "BLOCK_BYTES", 1000)
    rng = np.random.default_rng(0)
    for name, label in (("a.parquet", 0), ("b.parquet", 1)):
        table = {"x": rng.normal(size=500), "y": [[1.0] * (i % 4) for i in range(500)], "label": np.full(500, label)}
        pq.write_table(pa.table(table), tmp_path / name, row_group_size=90)
    mapping = {
        "classes": ["bkg", "sig"],
        "signal": ["sig"],
        "background": ["bkg"],
        "class": {"column": "label", "values": {"bkg": 0, "sig": 1}},
        "tensors": {"x": {"columns": ["x"]}, "y": {"column": "y", "pad": 2}},
    }
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    by_ray = ingest(paths, mapping, tmp_path / "ray", engine="ray")
    assert files_of(by_ray) == files_of(ingest(paths, mapping, tmp_path / "local", engine="local"))
    assert by_ray.counts["train"] == {"bkg": 400, "sig": 400}
    assert len(list((by_ray.path / "train").iterdir())) > 4


@pytest.mark.usefixtures("ray")
def test_a_full_disk_on_a_worker_is_one_line_and_leaves_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        with pytest.raises(StoreError, match="the disk is full"):
            prepare(plan(events=10_000, block=2_000), small, engine="ray")
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
from raresearch.data.plan import DataPlan
from raresearch.data.prepare import prepare
from raresearch.data.splits import Fractions
from raresearch.experiment import Experiment, Schema, TensorField

class Toy(Experiment):
    name = "toy-killed"
    def schema(self):
        return Schema((TensorField("x", (3,)),), ("er", "nr"), ("nr",), ("er",))
    def simulate(self, config, rng, n):
        time.sleep(float(sys.argv[2]))
        return {"x": rng.normal(size=(n, 3)), "class": rng.integers(0, 2, n)}

plan = DataPlan(Toy(), {"data.events": 1000, "data.block": 50}, 0, Fractions())
print(prepare(plan, Path(sys.argv[1]), engine="local").path)
"""


def run_script(script: Path, root: Path, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), str(root), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])


@pytest.mark.parametrize("parts", [0, 1, 7])
def test_a_process_killed_while_preparing_leaves_nothing_to_open_and_a_rerun_works(parts, tmp_path):
    script, root = tmp_path / "script.py", tmp_path / "root"
    script.write_text(SCRIPT)
    with run_script(script, root, 0.1) as victim:
        while len(list(root.glob(".tmp-*/train/part-*"))) < parts or not list(root.glob(".tmp-*/train")):
            assert victim.poll() is None
            time.sleep(0.01)
        victim.kill()
    left = list(root.iterdir())
    assert left
    for path in left:
        with pytest.raises(StoreError):
            Dataset.open(path)
    with run_script(script, root, 0.0) as again:
        printed, _ = again.communicate(timeout=120)
    dataset = Dataset.open(printed.strip())
    assert [p.name for p in root.iterdir()] == [dataset.fingerprint]  # the leftover of the dead process is gone too
    assert sum(dataset.size(s) for s in ("train", "validation", "test")) == 1000
    assert len(read_sealed(dataset.path).label) == dataset.size("test")
