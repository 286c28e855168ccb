"""One worker at a time trains a cell: byte-range locks that die with their process.

After a driver is killed its workers may live on for seconds. A resumed study must not train their cells a second time:
each cell's key is an offset in one lock file, and whoever trains the cell holds that byte. The operating system drops the
lock with the process, so a lease needs no heartbeat and leaves nothing to clean up. (Byte-range locks work on local disks
and NFSv4; an object store needs another way.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raresearch.store.files import refusals

_descriptors: dict[tuple[int, str], int] = {}


def _descriptor(path: Path) -> int:
    # POSIX drops all of a process's locks on a file when ANY of its descriptors closes, so one stays open for good.
    slot = (os.getpid(), str(path))
    if slot not in _descriptors:
        with refusals(path):
            _descriptors[slot] = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    return _descriptors[slot]


def _try_lock(descriptor: int, offset: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset, os.SEEK_SET)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


@contextmanager
def lease(path: Path, key: str, settled: Callable[[], bool], poll: float = 0.05) -> Iterator[bool]:
    """Hold ``key``'s lease; yields True when it is ours, False when ``settled()`` became true while we waited for it.

    A cell may have landed before that: who has a lease looks once more.

    ``path`` is the lock file, ``key`` hexadecimal, ``poll`` the seconds between two tries.
    """
    descriptor = _descriptor(path)
    offset = int(key[:15], 16)  # 60 bits: two of 10^6 cells share a byte with probability 10^-6, and then only wait
    while not _try_lock(descriptor, offset):
        if settled():
            yield False
            return
        time.sleep(poll)
    try:
        yield True
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset, os.SEEK_SET)


def held(path: Path, key: str) -> bool:
    """Whether another process holds ``key``'s lease. Not for keys that this process holds: asking would drop them."""
    if not os.access(path, os.W_OK):  # nothing was leased yet, or the run lies on a disk that this process only reads
        return False
    descriptor, offset = _descriptor(path), int(key[:15], 16)
    if not _try_lock(descriptor, offset):
        return True
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset, os.SEEK_SET)
    return False


@contextmanager
def only_driver(path: Path) -> Iterator[bool]:
    """True while this process is the one that drives the study at ``path``'s folder."""
    with refusals(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
