"""Lost workers, refused writes, limits: tried again later and a bounded number of times, and visible all the while."""

import errno
import json
import multiprocessing
import os
import time
from dataclasses import replace

import pytest

import raresearch.study as study_module
from raresearch.errors import StoreError, UserError, WriteFailed
from raresearch.execution.base import Waiting
from raresearch.execution.limits import GIB, LimitExceeded, Limits, own_memory, watched
from raresearch.metrics.foms import RocAuc
from raresearch.plugins import build
from raresearch.searchers.grid import GridSearcher
from raresearch.space import Choice, Space
from raresearch.spec import StudySpec
from raresearch.store import files
from raresearch.store.lease import lease
from raresearch.store.life import Troubles, at_work, under_way
from raresearch.store.records import CellRecord
from raresearch.store.store import Store
from raresearch.study import Study
from raresearch.testing.toy import Toy
from raresearch.types import Outcome


class Clock:
    """A monotonic clock that a test turns by hand."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(study_module, "time", made)
    return made


@pytest.fixture
def study(tmp_path):
    spec = StudySpec(name="lost", experiment="toy", space=Space({"model.hidden": Choice(((4,), (8,)))}), repeats=2)
    spec = replace(spec, execution=replace(spec.execution, retries=2))
    store = Store.create(tmp_path / "run", "lost", {})
    notes = []
    made = Study(
        spec=spec,
        experiment=Toy(),
        store=store,
        searcher=GridSearcher(spec.space),
        rule=build("rules", "best_epoch", {}, None),
        objective=RocAuc(),
        fingerprint=lambda config: "f",
        on_trouble=notes.append,
    )
    made.notes = notes
    made.start()
    return made


def drain(study):
    packs = []
    while not isinstance(pack := study.next_pack(), (Waiting, type(None))):
        packs.append(pack)
    return packs


def test_a_lost_pack_comes_back_later_and_later_and_then_cell_by_cell(study, clock):
    packs = drain(study)
    cells = {c.key for p in packs for c in p.cells}
    for pack in packs:
        study.crashed(pack, "the worker died")
    assert isinstance(study.next_pack(), Waiting), "not at once: whatever killed it may still be there"
    clock.now += study_module.BACK_OFF
    again = drain(study)
    assert {c.key for p in again for c in p.cells} == cells
    for pack in again:
        study.crashed(pack, "the worker died")
    clock.now += 1.5 * study_module.BACK_OFF
    assert isinstance(study.next_pack(), Waiting), "twice as long the second time"
    clock.now += 0.5 * study_module.BACK_OFF
    alone = drain(study)
    assert {c.key for p in alone for c in p.cells} == cells
    assert [len(p.cells) for p in alone] == [1] * len(cells), "a deadly cell takes no others along"


def test_retries_are_bounded_and_only_what_never_came_back_has_failed(study, clock):
    first, *_ = drain(study)
    unlucky = first.cells[0].key
    pack = first
    for _ in range(3):  # retries: 2
        study.crashed(pack, "the worker died")
        clock.now += 100
        pack = next((p for p in drain(study) if unlucky in {c.key for c in p.cells}), None)
    assert pack is None
    assert study.failures()[unlucky] == "the worker died, 3 times"
    assert study.store.outcomes()[unlucky].state == "failed"
    assert json.loads((study.store.root / "life" / "driver.json").read_text())["gave_up"] >= 1
    assert "attempt 2" in study.notes[0]


def test_a_store_that_refuses_for_good_ends_the_run_and_fails_no_cell(study, clock):
    pack, *_ = drain(study)
    refused = WriteFailed("run", "the disk is full", "free space")
    study.crashed(pack, refused.rule, refused)
    clock.now += 100
    pack, *_ = drain(study)
    study.crashed(pack, refused.rule, refused)
    clock.now += 100
    pack, *_ = drain(study)
    with pytest.raises(WriteFailed, match="disk is full"):
        study.crashed(pack, refused.rule, refused)
    assert study.notes == [], "the error says it, once"
    assert study.store.outcomes() == {}


def test_what_landed_before_the_worker_died_is_not_trained_again(study, clock):
    pack, *_ = drain(study)
    landed, *rest = pack.cells
    study.store.land([CellRecord(landed, Outcome(landed.key, "failed", error="NaN"))])
    study.crashed(pack, "the worker died")
    clock.now += 100
    assert {c.key for p in drain(study) for c in p.cells} == {c.key for c in rest}


def test_a_passing_trouble_of_the_disk_is_tried_again_and_a_full_disk_is_not(tmp_path, monkeypatch):
    tries, real = [], os.fsync

    def flaky(descriptor, kind=errno.EIO, times=3):
        tries.append(kind)
        if len(tries) <= times:
            raise OSError(kind, os.strerror(kind))
        return real(descriptor)

    monkeypatch.setattr(files, "FIRST_WAIT", 0.0001)
    monkeypatch.setattr(os, "fsync", flaky)
    files.write_atomic(tmp_path / "file", lambda p: p.write_text("there"))
    assert (tmp_path / "file").read_text() == "there"
    assert len(tries) == 4
    tries.clear()
    monkeypatch.setattr(os, "fsync", lambda d: flaky(d, errno.ENOSPC, 99))
    with pytest.raises(WriteFailed, match="disk is full"):
        files.write_atomic(tmp_path / "other", lambda p: p.write_text("x"))
    assert len(tries) == 1
    tries.clear()
    monkeypatch.setattr(os, "fsync", lambda d: flaky(d, errno.EIO, 99))
    with pytest.raises(WriteFailed, match="at the moment"):
        files.write_atomic(tmp_path / "other", lambda p: p.write_text("x"))
    assert len(tries) == files.TRIES
    monkeypatch.setattr(os, "fsync", lambda d: flaky(d, errno.EACCES, 99))
    with pytest.raises(StoreError) as caught:
        files.write_atomic(tmp_path / "other", lambda p: p.write_text("x"))
    assert not isinstance(caught.value, WriteFailed), "what is forbidden stays forbidden"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# -- limits


def busy(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def test_a_training_beyond_its_time_is_interrupted_even_where_it_catches_every_exception():
    def stubborn():
        while True:
            try:
                busy(30)
            except Exception:  # as a user's training might: the limit must come through all the same
                continue

    with pytest.raises(LimitExceeded, match=r"execution\.cell_seconds \(0\.05 s\)"), watched(Limits(seconds=0.05), 2):
        stubborn()
    busy(0.3)  # nothing comes afterwards


def test_a_training_within_its_limits_is_left_alone():
    with watched(Limits(seconds=30, memory=own_memory() / GIB + 4), 1):
        busy(0.3)


def test_a_training_beyond_its_memory_is_interrupted():
    def greedy():
        block = bytearray(b"x") * (200 * 2**20)
        busy(30)
        return block

    with pytest.raises(LimitExceeded, match=r"execution\.worker_memory"), watched(Limits(memory=own_memory() / GIB + 0.05), 1):
        greedy()


def test_a_training_that_never_returns_to_python_is_killed_by_the_watch():
    killed = []
    with pytest.raises(LimitExceeded), watched(Limits(seconds=0.05, grace=0.1), 1, killed.append):
        time.sleep(0.8)  # one call into C
    assert killed


# -- states


def hold(root, key, ready, end):
    with lease(root / "leases.lock", key, lambda: False), at_work(root, [key]):
        ready.set()
        end.wait(60)


def test_a_cell_is_running_while_its_worker_lives_and_lost_when_it_was_killed(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()
    worker = context.Process(target=hold, args=(tmp_path, "ab" * 12, ready, end))
    worker.start()
    assert ready.wait(30)
    assert under_way(tmp_path, [])[0] == {"ab" * 12: "running"}
    assert under_way(tmp_path, ["ab" * 12])[0] == {}, "what has landed is not under way"
    worker.kill()
    worker.join()
    assert under_way(tmp_path, [])[0] == {"ab" * 12: "lost"}
    Troubles.begin(tmp_path)
    assert under_way(tmp_path, [])[0] == {}, "the next start plans it anew"


def test_cells_that_were_out_when_the_run_was_stopped_are_preempted(study):
    packs = drain(study)
    out = {c.key for p in packs for c in p.cells}
    done = packs[0].cells[0]
    study.store.land([CellRecord(done, Outcome(done.key, "failed", error="NaN"))])
    study.stopped()
    states, _ = under_way(study.store.root, [done.key])
    assert states == dict.fromkeys(out - {done.key}, "preempted")


def test_a_private_session_joins_nobody_elses_cluster(monkeypatch):
    import ray

    from raresearch.execution.ray_session import ray_session

    asked = {}

    def init(**options):
        asked.update(options)
        raise ConnectionError("enough")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="enough"), ray_session(None, 1):
        pass
    assert asked["address"] == "local"  # None would mean: any cluster that runs on this machine
    with pytest.raises(UserError, match="enough"), ray_session("10.0.0.1:6379", 1):
        pass
    assert (asked["address"], asked["num_cpus"]) == ("10.0.0.1:6379", None)
