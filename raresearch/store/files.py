"""Atomic files: nothing in a store is ever seen half-written."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from raresearch.errors import StoreError, WriteFailed

T = TypeVar("T")

#: what a file server says that is restarted or overloaded; a local disk says EIO when it is dying
PASSING = {
    getattr(errno, name)
    for name in (
        "EIO",
        "EAGAIN",
        "EBUSY",
        "ESTALE",
        "ETIMEDOUT",
        "EHOSTDOWN",
        "ENETDOWN",
        "ENOTCONN",
        "ECONNRESET",
        "EREMOTEIO",
    )
    if hasattr(errno, name)
}
TRIES, FIRST_WAIT = 5, 0.05  # 0.05 + 0.1 + 0.2 + 0.4 s: longer troubles are the executor's to wait for


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals at ``path`` into one clear line (`StoreError`)."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "free space, or choose another folder with --out; what has landed stays, run the same line again"
            raise WriteFailed(str(path), "the disk is full", remedy) from error
        if error.errno in PASSING:
            remedy = "what has landed stays: run the same line again when the disk or file server is well"
            raise WriteFailed(str(path), f"cannot be written at the moment ({error.strerror})", remedy) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise StoreError(str(path), f"cannot be written ({error.strerror})", "choose another folder with --out") from error
        raise


def make_folder(path: Path) -> Path:
    """Create ``path`` with its parents; a `StoreError` where that is refused."""
    with refusals(path):
        path.mkdir(parents=True, exist_ok=True)
        return path


def persistently(act: Callable[[], T]) -> T:
    """Call ``act``, again after a short wait where a passing trouble stopped it; raises `WriteFailed` after the last try.

    A full disk is not waited for here: it does not pass in a second.
    """
    for attempt in range(TRIES):
        try:
            return act()
        except WriteFailed as error:
            cause = error.__cause__
            full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
            if attempt == TRIES - 1 or full:
                raise
            time.sleep(FIRST_WAIT * 2**attempt)
    raise AssertionError("unreachable: the last try returns or raises")


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it into place; passing troubles are tried again."""
    persistently(lambda: _write_once(path, write))


def _write_once(path: Path, write: Callable[[Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with refusals(path):
            write(temporary)
            flush_to_disk(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """fsync: after a power cut a renamed file must not turn out empty."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def landing_folder(final: Path, temporary_root: Path) -> Iterator[Path]:
    """A scratch folder that becomes ``final`` by one rename when the block ends well, and vanishes otherwise.

    Where ``final`` exists already, the same content was landed by another worker and stays.
    """
    scratch = temporary_root / f"{final.name}.{uuid.uuid4().hex[:8]}"
    try:
        with refusals(final):
            scratch.mkdir(parents=True)
            yield scratch
            for file in scratch.iterdir():
                flush_to_disk(file)
            try:
                os.rename(scratch, final)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
