"""What the C library does with freed memory: a worker keeps it between two steps, a driver gives it back between two runs."""

from __future__ import annotations

import ctypes
from typing import Any

# Of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_OWN = 32 * 2**20  # bytes; the library takes no more
_KEPT = 512 * 2**20


def keep_freed_memory() -> bool:
    """Let the C library use freed blocks of up to 32 MiB again, instead of giving them back; False where it cannot.

    A training step frees what the next one allocates. glibc maps blocks of more than 128 KiB anew each time and the system
    fills each of their pages with zeros, which took a fifth of the time of small convolutions on a processor (measured on the
    XENON1T grid). Larger blocks, such as datasets, go back at once; of the rest a worker keeps 512 MiB. For processes of
    our own only: it is the whole process that changes.
    """
    library: Any = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST_OWN)) and bool(library.mallopt(_TRIM_THRESHOLD, _KEPT))


def give_back_freed_memory() -> bool:
    """Let the C library give the system what the process has freed, now; False where there was nothing, or it cannot.

    glibc keeps part of what a run of Tune frees, between pieces that live: 17 to 29 MiB after 1,000 trials (measured).
    """
    library: Any = ctypes.CDLL(None)
    return hasattr(library, "malloc_trim") and bool(library.malloc_trim(0))
