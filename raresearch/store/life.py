"""What is under way: which worker trains which cells, and what the driver saw go wrong. Notes, not truth.

`status` reads them. A study never does: what is done is what has landed, whoever holds a lease is at work, and a note that is
lost or late changes nothing. One small file for each worker and one for the driver, replaced whole; no clock is compared.

    DIR/life/<host>-<pid>.json     the cells of the pack that this worker has taken
    DIR/life/driver.json           retries, their reasons, cells that were given back because the run was stopped
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from raresearch.store.remote import elsewhere

Under: TypeAlias = Literal["running", "lost", "preempted"]
RECENT = 50  # troubles that are kept with their reasons


def worker_name() -> str:
    """This process, as the cells that it lands name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def at_work(root: Path, cells: Sequence[str]) -> Iterator[None]:
    """Note for the time of the block that this worker trains ``cells`` (keys). A killed worker's note stays: it is lost."""
    path = root / "life" / f"{worker_name().replace(':', '-')}.json"
    _note(path, {"worker": worker_name(), "cells": list(cells)})
    yield
    # Not after an exception: Ray may end a worker by one, and its cells are then as lost as after a kill.
    with suppress(OSError):
        path.unlink()


@dataclass
class Troubles:
    """What went wrong under a study's driver so far; written to the store as it happens."""

    root: Path
    retries: int = 0
    gave_up: int = 0
    recent: list[dict[str, Any]] = field(default_factory=list)
    preempted: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, root: Path) -> Troubles:
        """Those of earlier drivers go on; cells that were given back are on their way again."""
        before = _read(root / "life" / "driver.json")
        kept = {name: before[name] for name in ("retries", "gave_up", "recent") if name in before}
        troubles = cls(root, **kept)
        there = elsewhere(root)
        for path in (root / "life").glob("*.json"):  # of workers that are gone: what they held is planned anew
            if path.name != "driver.json" and not any(there.held(key) for key in _read(path).get("cells", [])):
                path.unlink(missing_ok=True)
        troubles.save()
        return troubles

    def add(self, reason: str, cells: Sequence[str], attempt: int, gave_up: int) -> None:
        """A pack of ``cells`` was lost for the ``attempt``-th time; ``gave_up`` of them are not tried again."""
        self.retries += len(cells) - gave_up
        self.gave_up += gave_up
        entry = {"reason": reason, "cells": len(cells), "attempt": attempt, "gave_up": gave_up}
        self.recent = [*self.recent, entry][-RECENT:]
        self.save()

    def stopped(self, cells: Iterable[str]) -> None:
        """The run was asked to stop while ``cells`` were out."""
        self.preempted = sorted(cells)
        self.save()

    def save(self) -> None:
        content = asdict(self)
        content.pop("root")
        _note(self.root / "life" / "driver.json", content)


def under_way(root: Path, landed: Iterable[str]) -> tuple[dict[str, Under], dict[str, Any]]:
    """Cell key → state of what has been begun and is not in ``landed``, and the driver's troubles.

    *running*: its worker holds the lease. *preempted*: the run was stopped on purpose. *lost*: the worker vanished; the next
    start, or the driver that is at work, trains it again.
    """
    landed, there = set(landed), elsewhere(root)
    driver = _read(root / "life" / "driver.json")
    states: dict[str, Under] = {key: "preempted" for key in driver.pop("preempted", []) if key not in landed}
    for path in sorted((root / "life").glob("*.json")):
        if path.name != "driver.json":
            note = _read(path)
            for key in (k for k in note.get("cells", []) if k not in landed):
                mine = note["worker"] == worker_name()  # asking for a lock that this process holds would drop it
                if mine or there.held(key):
                    states[key] = "running"
                else:
                    states.setdefault(key, "lost")
    return states, driver


def workers(root: Path, states: Mapping[str, Under]) -> dict[str, int]:
    """Worker → number of cells that it trains, of those that `under_way` calls running."""
    found: dict[str, int] = {}
    for path in sorted((root / "life").glob("*.json")):
        note = _read(path)
        running = [k for k in note.get("cells", []) if states.get(k) == "running"]
        if path.name != "driver.json" and running:
            found[str(note["worker"])] = len(running)
    return found


def _note(path: Path, content: Mapping[str, Any]) -> None:
    """Replace ``path``; a disk that refuses a note stops nobody's training."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(content))
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
