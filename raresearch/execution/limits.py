"""Wall-clock and memory limits of what a worker trains.

A watch beside the training raises `LimitExceeded` inside it, at the next Python instruction. A call that never comes back
to Python cannot be ended so; after ``grace`` seconds more the process itself is, where it is a worker of its own.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
POLL = 0.1
_STATUS = Path("/proc/self/status")


class LimitExceeded(BaseException):
    """A training took longer, or more memory, than its study allows. No `Exception`: a user's ``except`` must not catch it."""


@dataclass(frozen=True)
class Limits:
    """``seconds`` for one cell (a pack of n cells has n times that), ``memory`` of the worker's process in GiB; None: no limit.

    Memory is what the process holds for itself: events that it maps from Ray's object store belong to all workers. It is
    read from /proc: elsewhere than on Linux there is no memory limit.
    """

    seconds: float | None = None
    memory: float | None = None
    grace: float = 30.0

    def of_cells(self, cells: int) -> float | None:
        """Seconds that a pack of ``cells`` may take."""
        return None if self.seconds is None else self.seconds * cells

    def within(self, memory: int) -> int:
        """Bytes that training may plan with: ``memory``, or half of the limit, the other half being torch's and Python's."""
        return memory if self.memory is None else min(memory, int(self.memory * GIB / 2))


@contextmanager
def watched(limits: Limits, cells: int, kill: Callable[[str], None] | None = None) -> Iterator[None]:
    """Raise `LimitExceeded` in this thread when the block exceeds ``limits``; ``kill`` ends a process that does not react."""
    if limits.seconds is None and limits.memory is None:
        yield
        return
    watch = _Watch(limits, cells, threading.get_ident(), kill)
    watch.start()
    try:
        yield
    except LimitExceeded as error:
        raise LimitExceeded(watch.why) from error  # an exception that is raised from outside brings no message
    finally:
        watch.disarm()


class _Watch(threading.Thread):
    def __init__(self, limits: Limits, cells: int, watched: int, kill: Callable[[str], None] | None) -> None:
        super().__init__(daemon=True, name="raresearch-limits")
        self.limits, self.cells, self.watched, self.kill = limits, cells, watched, kill
        self.why = ""
        self.ended = threading.Event()
        self.lock = threading.Lock()

    def run(self) -> None:
        started = time.monotonic()
        while not self.ended.wait(POLL):
            if self.why:
                if self.kill and time.monotonic() - started > self.limits.grace:
                    self.kill(self.why)
            elif why := self._exceeded(time.monotonic() - started):
                with self.lock:
                    if self.ended.is_set():
                        return
                    self.why, started = why, time.monotonic()
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.watched), ctypes.py_object(LimitExceeded))

    def _exceeded(self, seconds: float) -> str:
        allowed = self.limits.of_cells(self.cells)
        if allowed is not None and seconds > allowed:
            return f"longer than execution.cell_seconds ({self.limits.seconds:g} s)"
        if self.limits.memory is not None and own_memory() > self.limits.memory * GIB:
            return f"more memory than execution.worker_memory ({self.limits.memory:g} GiB)"
        return ""

    def disarm(self) -> None:
        """After this no exception comes any more."""
        with self.lock:
            self.ended.set()
            if self.why:  # fired, perhaps not delivered: the training ended in the same moment
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.watched), None)


def own_memory() -> int:
    """Bytes that this process holds for itself alone; 0 where the system does not say."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def end_process(why: str) -> None:
    """Leave at once: the thread that trains does not listen."""
    os._exit(3)
