"""Faults below Python: loaded by every process whose PYTHONPATH names this folder. Rules come from the file $CHAOS_RULES.

{"root": "/store", "every": 10, "full": false, "step": 0.0}: under ``root`` every tenth system call that makes a write last
(fsync, rename) fails with EIO; ``full``: all fail with ENOSPC; ``step``: seconds by which the wall clock is wrong.
"""

import builtins
import errno
import json
import os
import random
import time

RULES = os.environ.get("CHAOS_RULES", "")
_real = {"time": time.time, "fsync": os.fsync, "rename": os.rename, "replace": os.replace}
_open, _dice = builtins.open, random.Random(os.getpid())
_state = {"read": -1.0, "rules": {}, "writes": _dice.randrange(10)}  # workers do not all fail at their tenth


def rules():
    if time.monotonic() - _state["read"] > 0.05:
        _state["read"] = time.monotonic()
        try:
            with _open(RULES) as file:
                _state["rules"] = json.load(file)
        except (OSError, ValueError):
            pass  # being replaced at this moment: the last ones hold
    return _state["rules"]


def refuse(path):
    now = rules()
    if not now or not os.path.abspath(path).startswith(now["root"]):
        return
    if now["full"]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    _state["writes"] += 1
    if now["every"] and _state["writes"] % now["every"] == 0:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)


def fsync(descriptor):
    number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    refuse(os.readlink(f"/proc/self/fd/{number}"))
    return _real["fsync"](descriptor)


def rename(source, target, **more):
    refuse(os.fspath(target))
    return _real["rename"](source, target, **more)


def replace(source, target, **more):
    refuse(os.fspath(target))
    return _real["replace"](source, target, **more)


def wall_clock():
    return _real["time"]() + rules().get("step", 0.0)


if RULES:
    os.fsync, os.rename, os.replace, time.time = fsync, rename, replace, wall_clock
