"""How many workers a cell begins with: all, or what there is room for, and what is said of it. No Ray is started."""

from types import SimpleNamespace

import pytest

from raresearch.errors import UserError
from raresearch.execution import ray_train
from raresearch.execution.ray_train import Attempts, Pause, check_room, train_on_workers
from raresearch.types import Cell, Pack

PACK = Pack((Cell({}, 0, 0, 1, {}),), "")


class Cluster:
    """``free``: CPUs that each look finds. Training goes as ``fates`` say: what it raises, or None."""

    def __init__(self, monkeypatch, free, fates=()):
        self.free, self.fates, self.asked, self.began = list(free), list(fates), [], []
        monkeypatch.setattr(ray_train, "_fits", self.fits)
        monkeypatch.setattr(ray_train, "_trained_by", self.trained)

    def fits(self, workers, each, seconds):
        self.asked.append(workers)
        return workers <= (self.free.pop(0) if len(self.free) > 1 else self.free[0])

    def trained(self, context, pack, workers):
        self.began.append(workers)
        if fate := (self.fates.pop(0) if self.fates else None):
            raise fate
        return {"notes": [], "refused": None}


def context(workers=4, retries=0):
    opened = SimpleNamespace(outcomes=dict)
    return SimpleNamespace(
        cell_workers=workers, cpus=1.0, gpus=0, room_seconds=9.0, retries=retries, opened=opened, note=lambda text: None
    )


def trained(where, attempts=None):
    """Lines that were said until the cell was trained, as Tune calls."""
    attempts, said = attempts or Attempts(), []
    while len(said) < 9:
        try:
            train_on_workers(where, PACK, attempts)
            return said
        except Pause as pause:
            said.append(str(pause))
    raise AssertionError(said)


def test_with_room_for_all_all_begin_and_nothing_is_said(monkeypatch):
    cluster = Cluster(monkeypatch, [4])
    assert trained(context()) == []
    assert (cluster.asked, cluster.began) == ([4], [4])


def test_with_room_for_three_two_of_four_begin_and_one_line_says_so(monkeypatch):
    cluster = Cluster(monkeypatch, [3])
    line = "no room for 4 workers of 1 CPUs each within 9 s (execution.room_seconds): 2 begin, to the same numbers"
    assert trained(context()) == [line]
    assert (cluster.asked, cluster.began) == ([4, 2], [2])


def test_without_room_for_one_a_cell_says_once_that_it_waits_and_asks_for_all_again(monkeypatch):
    cluster = Cluster(monkeypatch, [0, 0, 0, 0, 0, 0, 4])
    line = "no room even for one worker of 1 CPUs within 9 s (execution.room_seconds): the cell waits for one"
    assert trained(context()) == [line, ""]
    assert (cluster.asked, cluster.began) == ([4, 2, 1, 4, 2, 1, 4], [4])


def test_after_a_lost_worker_all_are_asked_for_again_as_often_as_retries_say(monkeypatch):
    from ray.train import WorkerGroupError

    cluster = Cluster(monkeypatch, [4, 1], [WorkerGroupError("a node is gone", {})])
    assert [line.split(": ")[1] for line in trained(context(retries=1))] == ["1 begins, to the same numbers"]
    assert cluster.began == [4, 1]
    Cluster(monkeypatch, [4], [WorkerGroupError("a node is gone", {})] * 2)
    with pytest.raises(WorkerGroupError):
        trained(context(retries=1))


def test_a_place_that_somebody_else_took_first_is_no_lost_worker(monkeypatch):
    from ray.train import ControllerError
    from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError

    cluster = Cluster(monkeypatch, [4, 2], [ControllerError(WorkerGroupStartupTimeoutError(4))])
    assert len(trained(context(retries=0))) == 1
    assert cluster.began == [4, 2]
    Cluster(monkeypatch, [4], [ControllerError(WorkerGroupStartupFailedError("a node is gone"))])
    with pytest.raises(ControllerError):
        trained(context(retries=0))


def test_more_workers_than_a_cluster_has_are_refused_before_anything_starts():
    with pytest.raises(UserError, match="4 workers of 1 CPUs for each cell, and the cluster has 2"):
        check_room(4, 1, 0, {"CPU": 2.0})
    with pytest.raises(UserError, match="2 workers of 1 GPUs for each cell, and the cluster has 0"):
        check_room(2, 1, 1, {"CPU": 2.0})
    check_room(2, 1, 0, {"CPU": 2.0})
