"""numba's compiler, with its results kept on disk where a folder for them can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """``function`` compiled at its first call. Random numbers come from the `numpy.random.Generator` it is given.

    numba's own generator is never used: it is global to a thread, so results would depend on what ran before.
    """
    try:
        return cast(Kernel, numba.njit(cache=True)(function))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written: compile in each process
        return cast(Kernel, numba.njit(function))
