"""Bad shards among good ones: one line that names the file, or, where the mapping says so, left out and counted."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raresearch.cli import main

SCHEMA = """
classes: [b, s]
signal: [s]
background: [b]
class: {column: label, values: {b: 0, s: 1}}
tensors: {image: {column: image, dtype: uint8}}
"""

STUDY = """
study: mine
experiment: ./mine.py
seed: 1
fixed: {train.epochs: 1}
objective: roc_auc
execution: {backend: local}
"""

EXPERIMENT = """
import raresearch as rs


class Mine(rs.Experiment):
    name = "mine"

    def schema(self):
        return rs.Schema((rs.TensorField("image", (2, 4, 4), "uint8"),), ("b", "s"), ("s",), ("b",))

    def dataset(self, config):
        return rs.Files((FOLDER,), {"class": {"column": "label", "values": {"b": 0, "s": 1}}, **OPTIONS})

    def model(self, config):
        from torch import nn
        return nn.Sequential(nn.Flatten(), nn.Linear(32, 1))
"""


def run(arguments, capsys):
    """Exit status, standard output, and the lines on standard error."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return exit_.value.code, captured.out, [line for line in captured.err.splitlines() if not line.startswith("[ ")]


def shard(path, seed=0, shape=(2, 4, 4), n=60):
    rng = np.random.default_rng(seed)
    image, label = rng.integers(0, 200, (n, *shape)).astype(np.uint8), np.arange(n) % 2
    if path.suffix == ".npz":
        np.savez(path, image=image, label=label)
    else:
        pq.write_table(pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(image), "label": label}), path)


@pytest.fixture(params=["npz", "parquet"])
def shards(request, tmp_path):
    """A folder of four good shards and the schema beside it."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(4):
        shard(folder / f"part-{number}.{request.param}", number)
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    return folder


def ingest(shards, *options):
    return ["ingest", shards, "--schema", shards.parent / "schema.yaml", "--out", shards.parent / "out", *options]


def second(shards):
    return sorted(shards.iterdir())[1]


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def landed(shards):
    out = shards.parent / "out"
    return [p for p in out.iterdir() if not p.name.startswith(".")] if out.exists() else []


def test_a_shard_of_another_shape_is_named(shards, capsys):
    shard(second(shards), shape=(2, 5, 5))
    status, _, lines = run(ingest(shards), capsys)
    assert status == 2
    (line,) = lines
    for word in ("mapping.tensors.image", second(shards).name, "(2, 5, 5)", "(2, 4, 4)", "leave that file out"):
        assert word in line
    assert landed(shards) == []


def test_a_damaged_shard_is_named(shards, capsys):
    truncate(second(shards))
    status, _, lines = run(ingest(shards), capsys)
    assert status == 2
    (line,) = lines
    for word in (second(shards).name, "truncated or damaged", "corrupt: skip"):
        assert word in line
    assert landed(shards) == []


def test_a_damaged_shard_is_left_out_where_the_mapping_says_so_and_counted(shards, capsys):
    truncate(second(shards))
    (shards.parent / "schema.yaml").write_text(SCHEMA + "corrupt: skip\n")
    status, out, lines = run(ingest(shards), capsys)
    assert (status, lines) == (0, [])
    assert f"left out: 1 damaged file(s): {second(shards).name}" in out
    counts = json.loads(run(ingest(shards, "--json"), capsys)[1])
    assert counts["skipped"] == [second(shards).name]
    assert sum(sum(c.values()) for c in counts["counts"].values()) == 180


def test_where_every_shard_is_damaged_nothing_is_left_to_skip(shards, capsys):
    for path in shards.iterdir():
        truncate(path)
    (shards.parent / "schema.yaml").write_text(SCHEMA + "corrupt: skip\n")
    status, _, lines = run(ingest(shards), capsys)
    assert status == 2
    assert "all of 4 files" in lines[0]
    assert landed(shards) == []


def study(shards, options):
    text = EXPERIMENT.replace("FOLDER", repr(str(shards))).replace("OPTIONS", repr(options))
    (shards.parent / "mine.py").write_text(text)
    (shards.parent / "mine.yaml").write_text(STUDY)
    return ["run", shards.parent / "mine.yaml", "--out", shards.parent / "run"]


@pytest.mark.parametrize("shards", ["npz"], indirect=True)
def test_a_study_names_a_damaged_shard_or_says_that_it_was_left_out(shards, capsys):
    truncate(second(shards))
    status, _, lines = run(study(shards, {}), capsys)
    assert (status, len(lines)) == (2, 1)
    assert second(shards).name in lines[0]
    assert not (shards.parent / "run").exists()
    status, _, lines = run(study(shards, {"corrupt": "skip"}), capsys)
    assert status == 0
    assert any(f"left out: 1 damaged file(s): {second(shards).name}" in line for line in lines)


@pytest.mark.parametrize("shards", ["npz"], indirect=True)
def test_a_batch_larger_than_what_trains_is_one_line(shards, capsys):
    line = study(shards, {})
    for size, allowed in ((192, True), (193, False)):  # 240 events, 0.8 of them train
        status, _, lines = run([*line[:-1], shards.parent / str(size), "--set", f"train.batch_size={size}"], capsys)
        assert status == (0 if allowed else 2)
        if not allowed:
            assert "train.batch_size: 193: is more than the 192 events that train; give 192 or fewer" in lines[-1]
    toy = shards.parent / "toy.yaml"
    toy.write_text("study: mine\nexperiment: toy\nfixed: {data.events: 400, train.batch_size: 321}\n")
    status, _, lines = run(["check", toy, "--no-time"], capsys)
    assert (status, len(lines)) == (2, 1)
    assert "toy.yaml:3" in lines[0]
    assert "321 is more than the 320 events that train" in lines[0]
