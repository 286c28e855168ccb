"""A dataset lands whole or not at all.

It is written in ``<root>/.tmp-<fingerprint>-<uuid>/`` and renamed once. Whoever renames first wins; the others use theirs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raresearch.errors import StoreError, WriteFailed
from raresearch.store.files import PASSING, persistently

SCRATCH = ".work"  # part files in the making, and the lock that tells a live owner from a dead one
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST}
_RULES = {
    errno.ENOSPC: ("the disk is full", "free space or choose another folder; nothing was kept"),
    errno.EDQUOT: ("the disk quota is used up", "free space or choose another folder; nothing was kept"),
    errno.EACCES: ("cannot be written to", "choose a folder that you may write to"),
    errno.EPERM: ("cannot be written to", "choose a folder that you may write to"),
    errno.EROFS: ("lies on a read-only file system", "choose a folder that you may write to"),
    errno.ENOTDIR: ("is not a folder", "choose another name"),
    errno.EEXIST: ("is not a folder", "choose another name"),
    errno.ENOENT: ("cannot be made or is not visible here", "on a cluster it must lie on a file system that all nodes share"),
}


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into a one-line `StoreError`, a `WriteFailed` where they may pass."""
    try:
        yield
    except OSError as error:
        rule, remedy = _RULES.get(error.errno or 0, (f"cannot be written ({error.strerror or error})", ""))
        failed = WriteFailed if error.errno in {errno.ENOSPC, errno.EDQUOT, *PASSING} else StoreError
        raise failed(str(folder), rule, remedy) from error


@contextmanager
def landing(root: Path, fingerprint: str) -> Iterator[Path]:
    """Yield a folder to write in; rename it to ``root/fingerprint`` at the end, or remove it if anything was raised, and
    ``root``, too, where it was made for this.

    Raises `StoreError` where ``root`` cannot be written.
    """
    new = not root.exists()
    temp, lock = persistently(lambda: _begin(root, fingerprint))
    try:
        yield temp
        persistently(lambda: _land(temp, root / fingerprint))
    finally:
        os.close(lock)
        _remove(temp)
        if new:
            with suppress(OSError):  # something lies in it
                root.rmdir()


def _begin(root: Path, fingerprint: str) -> tuple[Path, int]:
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        return _claim(root, fingerprint)


def _claim(root: Path, fingerprint: str) -> tuple[Path, int]:
    token = uuid.uuid4().hex
    new, temp = root / f".new-{token}", root / f".tmp-{fingerprint}-{token}"
    (new / SCRATCH).mkdir(parents=True)
    lock = os.open(new / SCRATCH / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Named .tmp only once it is locked, so that nobody's sweep can take it for an orphan.
    try:
        new.rename(temp)
    except OSError:
        os.close(lock)
        shutil.rmtree(new, ignore_errors=True)
        raise
    return temp, lock


def _sweep(root: Path) -> None:
    """Remove what killed processes left behind: the system released their locks."""
    for temp in root.glob(".tmp-*"):
        try:
            lock = os.open(temp / SCRATCH / "lock", os.O_RDWR)
        except OSError:
            continue  # landing at this moment, or not ours to open
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(temp)
        except OSError:
            continue  # its owner lives
        finally:
            os.close(lock)


def _land(temp: Path, target: Path) -> None:
    with disk_errors(target.parent):
        if (temp / SCRATCH).exists():  # gone already at a second try
            shutil.rmtree(temp / SCRATCH)
        try:
            temp.rename(target)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        # Somebody landed the same fingerprint first; the same plan gives the same events, so theirs will do.


def _remove(folder: Path) -> None:
    # A worker that is being cancelled may add a file between listing and removing; it cannot make the folder again.
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.02)
