"""numba's compiler, with its results kept on disk where a folder for them can be written.

numba notices a change of a function's own file only: a kernel that calls one of another file would go on with the old machine
code of that. So the folder is named by the content of all kernels' files, and any change compiles everything anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """``function`` compiled at its first call. Random numbers come from the `numpy.random.Generator` it is given.

    numba's own generator is never used: it is global to a thread, so results would depend on what ran before.
    """
    folder = cache_folder()
    if folder is None:
        return cast(Kernel, numba.njit(function))
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)  # read while a function is decorated, and only then
    try:
        return cast(Kernel, numba.njit(cache=True)(function))
    finally:
        numba.config.CACHE_DIR = before


@cache
def cache_folder() -> Path | None:
    """Where compiled kernels of this content lie; None where that cannot be written: each process then compiles."""
    home = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "raresearch" / "numba" / content(Path(__file__).parent)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def content(folder: Path) -> str:
    """Digest of every Python file of ``folder``."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]
