"""What a training takes of memory at its peak, beyond what its worker held before it began.

On a CPU that is the growth of the process's resident set: the network, its gradients, the optimiser's memories, activations, and
the scores that are kept; events count where they are read from disk in the course of it. The system keeps the highest value
itself (Linux: VmHWM, which a process may set back), so no short peak is missed, as it would be by looking now and then. What the
C library still holds of earlier trainings is given back first: it would be used again, and not be seen. Gaps between blocks in
use count, so the same training may take some blocks more or fewer the next time (25 to 49 MiB, of blocks of 8). On a GPU it is
what torch has allocated on it. To begin costs a training 4 to 13 ms (measured on a busy core).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_PEAK_AGAIN = "5"  # proc(5): sets the highest resident set back to the present one

Peak = Callable[[], float | None]


def unknown() -> None:
    """The peak of a training that shares its worker with others at the same time, or of a system that does not say."""


def gauge(device: torch.device) -> Peak:
    """Begin to measure. What is returned gives the highest number of bytes that were held since then beyond those of now.

    One at a time in a process. `unknown` where the system does not say (anything but Linux).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        return lambda: float(torch.cuda.max_memory_allocated(device) - held)
    _first_step()
    _give_back()
    try:
        _CLEAR.write_text(_PEAK_AGAIN)
        before = _resident("VmRSS")
    except OSError:
        return unknown
    return lambda: max(0.0, _resident("VmHWM") - before)


@cache
def _first_step() -> None:
    """What torch loads and keeps from the first step of a process on (150 MiB with 2.15) is no training's."""
    parameter = torch.nn.Parameter(torch.zeros(1))  # draws nothing from torch's generator
    optimizer = torch.optim.Adam([parameter])
    (parameter * parameter).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _resident(which: str) -> float:
    """Bytes of a line of the process's status."""
    return next(float(line.split()[1]) * 1024 for line in _STATUS.read_text().splitlines() if line.startswith(f"{which}:"))


def _give_back() -> None:
    library: Any = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
