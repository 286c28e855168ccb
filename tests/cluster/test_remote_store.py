"""The store on object storage: whole landings or none, many writers, one winner, the same numbers. S3 as moto's server speaks it."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import raresearch as rs
from raresearch.errors import StoreError, WriteFailed
from raresearch.store.claims import Claims
from raresearch.store.records import CellRecord
from raresearch.store.remote import Remote, elsewhere, local, mirror, within
from raresearch.store.store import Store
from raresearch.types import Cell, Outcome

STUDY = """
study: far
experiment: toy
seed: 4
fixed: {data.events: 600, train.epochs: 3, train.batch_size: 64}
space:
  model.hidden: {choice: [[4], [6]]}
repeats: 3
objective: roc_auc
execution: {backend: local}
"""


class Shelf:
    """Objects in memory, with a consistent listing; each operation may be delayed to bring out races."""

    def __init__(self, delays=None):
        self.there, self.lock, self.delays = {}, threading.Lock(), iter(delays or ())

    def _wait(self):
        time.sleep(next(self.delays, 0.0))

    def put(self, name, content):
        self._wait()
        with self.lock:
            self.there[name] = content

    def get(self, name):
        with self.lock:
            return self.there.get(name)

    def names(self, folder):
        self._wait()
        with self.lock:
            return sorted(n.removeprefix(folder + "/") for n in self.there if n.startswith(folder + "/"))

    def remove(self, name):
        with self.lock:
            self.there.pop(name, None)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("raresearch.store.claims.POLL", 0.005)
    monkeypatch.setattr("raresearch.store.remote.REST", 0.0)


def never(keys):
    return ()


# -- claims


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 0.003), max_size=60))
def test_two_never_hold_a_key_at_once_whatever_the_delays(delays):
    shelf, inside, most = Shelf(delays), [], []

    def work(number):
        keys = ["a", "b"] if number % 2 else ["b", "a", "c"]
        with Claims(shelf).held(keys, never) as mine:
            assert all(mine.values())
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.001)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert max(most) == 1
    assert shelf.there == {}, "nothing is left behind"


def test_a_claim_of_the_dead_is_taken_over_and_that_of_the_living_is_not():
    shelf = Shelf()
    shelf.there |= {"claims/k/dead": b"1", "beats/dead": b"7", "claims/k/gone": b"1"}
    started = time.monotonic()
    with Claims(shelf, beat=0.05, stale=0.3).held(["k"], never) as mine:
        assert mine == {"k": True}
        assert time.monotonic() - started > 0.3, "not before its heart has been still for that long"
        with Claims(shelf, beat=0.05, stale=0.3).at_once("k") as ours:
            assert not ours, "a living one keeps its claim for as long as it lives"


def test_what_is_settled_while_one_waits_is_not_ours():
    shelf, landed = Shelf(), set()
    with Claims(shelf, stale=60).held(["k"], never), ThreadPoolExecutor(1) as pool:

        def wait():
            with Claims(shelf, stale=60).held(["k", "free"], landed.intersection) as mine:
                return mine

        waiting = pool.submit(wait)
        time.sleep(0.05)
        assert not waiting.done()
        landed.add("k")
        assert waiting.result(20) == {"k": False, "free": True}


# -- S3


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """URI of a bucket on a server of this test."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Path(sys.executable).with_name("moto_server")
    if not server.exists():
        pytest.skip("moto is not installed")
    process = subprocess.Popen([sys.executable, server, "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    old = dict(os.environ)
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    try:
        for _ in range(200):
            try:
                request = urllib.request.Request(f"http://127.0.0.1:{port}/runs", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"s3://runs/{{}}?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    finally:
        os.environ.clear()
        os.environ.update(old)
        process.terminate()
        process.wait(20)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Switches to another machine's mirrors."""

    def switch(name):
        monkeypatch.setenv("RARESEARCH_CACHE", str(tmp_path / name))

    switch("first")
    return switch


def tables(study):
    cells = study.cells().drop_columns(["seconds", "memory", "worker", "pack", "landing"]).to_pylist()
    return cells, study.epochs().to_pylist(), study.table().to_csv()


def study_file(folder):
    (folder / "far.yaml").write_text(STUDY)
    return folder / "far.yaml"


@pytest.fixture(params=["s3", "file"])
def place(request, tmp_path):
    """A URI for a run: on S3, and on a plain file system by its URI."""
    if request.param == "s3":
        return request.getfixturevalue("s3").format(f"{tmp_path.name}/mine")
    return f"file://{tmp_path}/shared/mine"


def test_a_study_on_object_storage_has_the_same_tables_and_goes_on_from_another_machine(tmp_path, place, machine):
    near = rs.run(study_file(tmp_path), out=tmp_path / "near")
    far = rs.run(tmp_path / "far.yaml", out=place, sets=["repeats=3"])
    assert tables(far) == tables(near)
    machine("second")
    there = rs.open(place)
    assert tables(there) == tables(near)
    (before,) = [p.stat().st_mtime_ns for p in (there.folder / "study.json",) if p.exists()]
    again = rs.run(tmp_path / "far.yaml", out=place)
    assert again.status()["done"] == 6
    assert again.folder == there.folder
    assert (again.folder / "study.json").stat().st_mtime_ns == before
    landed = Remote(again.folder, place).names("landed")
    assert len(landed) == len(again.store.landings()), "nothing was trained, nothing landed anew"
    choice = again.select()
    choice.unseal(reason="a test")
    machine("third")
    assert [e["reason"] for e in rs.open(place).ledger()] == ["a test"], "a look is seen from everywhere"
    assert not Remote(again.folder, place).names("claims/ledger")


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_cell_that_landed_between_the_last_look_and_the_lease_is_not_trained_again(where, tmp_path, machine, monkeypatch):
    monkeypatch.setattr("raresearch.store.remote.REST", 60.0)  # however short the time since the last look
    run = local(f"file://{tmp_path}/shared/mine") if where == "there" else tmp_path / "mine"
    cells = [Cell({"model.hidden": 1}, 0, seed, 4, {"data": "x"}) for seed in range(3)]
    store, *keys = Store.create(run, "it", {}), *(c.key for c in cells)
    assert store.landed_among(keys) == set()
    machine("second")
    other = Store.create(local(f"file://{tmp_path}/shared/mine") if where == "there" else run, "it", {})
    other.land([CellRecord(cells[1], Outcome(keys[1], "done", 4, 2, 0.5))])
    with store.elsewhere.leases(keys, store.landed_among) as mine:
        assert mine == {keys[0]: True, keys[1]: False, keys[2]: True}


def test_a_landing_without_its_marker_is_not_seen_and_with_it_whole(tmp_path, place, machine):
    far = rs.run(study_file(tmp_path), out=place, sets=["repeats=1"])
    remote = Remote(far.folder, place)
    name, *_ = remote.names("landed")
    marker = remote.get(f"landed/{name}")
    remote.remove(f"landed/{name}")
    machine("second")
    assert name not in {p.name for p in rs.open(place).store.landings()}
    remote.put(f"landed/{name}", marker)
    assert name in {p.name for p in rs.open(place).store.landings()}


def test_a_damaged_object_is_named_and_nothing_half_is_kept(tmp_path, place, machine):
    far = rs.run(study_file(tmp_path), out=place, sets=["repeats=1"])
    remote = Remote(far.folder, place)
    name, *_ = remote.names("landed")
    data = json.loads(remote.get(f"landed/{name}"))["data"]
    remote.put(f"{data}/cells.parquet", b"short")
    machine("second")
    with pytest.raises(StoreError, match=r"cells\.parquet.*damaged"):
        rs.open(place)
    assert not (mirror(place) / "cells" / name).exists()


def test_a_marker_that_leads_out_of_the_folder_is_refused(tmp_path, place, machine, monkeypatch):
    real = Remote.get
    far = rs.run(study_file(tmp_path), out=place, sets=["repeats=1"])
    remote = Remote(far.folder, place)
    remote.put("escaped", b"boo")
    remote.put("landed/zz", json.dumps({"data": "cells/evil/../..", "files": {"../escaped": 3}}).encode())
    monkeypatch.setattr(Remote, "get", lambda self, name: b"boo" if name.endswith("escaped") else real(self, name))
    machine("second")
    with pytest.raises(StoreError, match="leads out"):
        rs.open(place)
    assert not list((tmp_path / "second").rglob("escaped"))


def test_a_second_driver_is_refused_while_the_first_lives(tmp_path, place, machine, monkeypatch):
    monkeypatch.setattr("raresearch.store.claims.STALE", 0.6)
    monkeypatch.setattr("raresearch.store.claims.BEAT", 0.05)
    with Remote(mirror(place), place).only_driver() as alone:
        assert alone
        machine("second")  # whose lock files know nothing of the first
        with Remote(mirror(place), place).only_driver() as alone:
            assert not alone
    with Remote(mirror(place), place).only_driver() as alone:
        assert alone, "the first has gone"


# -- places


class Away:
    """A file system that does not answer."""

    type_name = "s3"

    def open_output_stream(self, path):
        raise OSError("When uploading: AWS Error NETWORK_CONNECTION")


def test_a_folder_is_its_own_place_and_a_uri_has_a_private_mirror(tmp_path, machine):
    assert local(tmp_path) == tmp_path
    folder = mirror("s3://bucket/a")
    assert folder == mirror("s3://bucket/a") != mirror("s3://bucket/b")
    assert folder.stat().st_mode & 0o077 == 0
    inside = elsewhere(folder / "refit")
    assert inside.uri == "s3://bucket/a/refit", "a stage lies inside its study"
    assert not isinstance(elsewhere(tmp_path), Remote)


def test_names_stay_inside(tmp_path):
    assert within(tmp_path, "a/b") == tmp_path / "a" / "b"
    for name in ("../x", "/etc/passwd", "a/../../x"):
        with pytest.raises(StoreError, match="leads out"):
            within(tmp_path, name)


def test_a_place_that_is_none_is_one_line(machine):
    with pytest.raises(StoreError, match="no place for a store"):
        local("nonsense://bucket/x")
    broken = Remote(mirror("s3://nobody"), "s3://nobody")
    broken.__dict__["_place"] = (Away(), "nobody")
    with pytest.raises(WriteFailed, match="refuses"):
        broken.put("a", b"")
