"""Leases where there are no locks: claims as objects, kept alive by a heartbeat. No clock of another machine is read.

    claims/<key>/<worker>      "I take it"
    beats/<worker>             a number that its process raises every `BEAT` seconds

A worker writes its claim, *then* looks who else claims: of two that overlap, the later one's look comes after the earlier one's
write, so at least one sees the other, and whoever sees a living rival withdraws. So no two hold a key (on a store whose
listings are consistent, as S3's are); both may withdraw, and try again after a random wait. A rival lives as long as its number
changes within `STALE` seconds of *our* monotonic clock. A worker that was stopped for longer may return and land a cell that
another has trained meanwhile: the numbers are the same, and one landing counts.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Protocol

from raresearch.errors import WriteFailed

BEAT = 3.0
STALE = 15.0
POLL = 0.5
AT_ONCE = 16


class Objects(Protocol):
    """What claims need of a store."""

    def put(self, name: str, content: bytes) -> None: ...

    def get(self, name: str) -> bytes | None: ...

    def names(self, folder: str) -> list[str]: ...

    def remove(self, name: str) -> None: ...


#: which of these cells have landed
Settled = Callable[[Sequence[str]], Collection[str]]


class Claims:
    """This process's claims in ``objects``, under a name that nobody else has."""

    def __init__(self, objects: Objects, beat: float | None = None, stale: float | None = None) -> None:
        self.objects, self.beat, self.stale = objects, beat or BEAT, stale or STALE
        self.me = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._seen: dict[str, tuple[bytes | None, float]] = {}  # rival → its last number, and when we first saw that

    @contextmanager
    def held(self, keys: Sequence[str], settled: Settled) -> Iterator[dict[str, bool]]:
        """Hold ``keys``: key → True where it is ours, False where it was settled while we waited (see `lease.lease`)."""
        with self._beating():
            mine: dict[str, bool] = {}
            try:
                while open_ := [key for key in keys if key not in mine]:
                    decided = self._round(open_, settled)
                    if len(decided) == len(open_):
                        mine |= decided
                    else:
                        # All that is left or nothing: who holds some and waits for others may wait for ever.
                        self._each(self._withdraw, [key for key, ours in decided.items() if ours])
                        mine |= {key: False for key, ours in decided.items() if not ours}
                        time.sleep(random.uniform(0.5, 1.5) * POLL)
                yield mine
            finally:
                self._each(self._withdraw, [key for key, ours in mine.items() if ours])

    @contextmanager
    def at_once(self, key: str) -> Iterator[bool]:
        """Hold ``key`` or learn that a living rival does; waits only as long as it takes to be sure of that."""
        end = time.monotonic() + 2 * self.stale

        def given_up(keys: Sequence[str]) -> Collection[str]:
            return keys if time.monotonic() > end else ()

        with self._beating():
            mine: dict[str, bool] = {}
            while not mine:
                mine = self._round([key], given_up)
                if not mine:
                    time.sleep(random.uniform(0.5, 1.5) * POLL)
            try:
                yield mine[key]
            finally:
                self._each(self._withdraw, [k for k, ours in mine.items() if ours])

    def _round(self, keys: Sequence[str], settled: Settled) -> dict[str, bool]:
        """One try for each of ``keys``; what it decides."""
        self._each(lambda key: self.objects.put(f"claims/{key}/{self.me}", b"1"), keys)
        rivals = dict(zip(keys, self._each(self._rivals, keys), strict=True))
        lost = [key for key in keys if rivals[key]]
        self._each(self._withdraw, lost)
        given_up = settled(lost) if lost else ()
        return {key: True for key in keys if not rivals[key]} | {key: False for key in lost if key in given_up}

    def _rivals(self, key: str) -> list[str]:
        """Living others that claim ``key``; claims of the dead are cleared away."""
        found = [name for name in self.objects.names(f"claims/{key}") if name != self.me]
        living = [name for name in found if self._lives(name)]
        for name in set(found) - set(living):
            self.objects.remove(f"claims/{key}/{name}")
        return living

    def _lives(self, rival: str) -> bool:
        number, now = self.objects.get(f"beats/{rival}"), time.monotonic()
        before, since = self._seen.get(rival, (b"never", now))
        if number != before:
            self._seen[rival] = (number, now)
            return True
        return now - since < self.stale

    def _withdraw(self, key: str) -> None:
        # A store that is away now will be asked again; the claim dies with our heartbeat in any case.
        with suppress(WriteFailed):
            self.objects.remove(f"claims/{key}/{self.me}")

    def _each(self, act: Callable[[str], object], keys: Sequence[str]) -> list[object]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(act, keys))

    @contextmanager
    def _beating(self) -> Iterator[None]:
        ended = threading.Event()
        self.objects.put(f"beats/{self.me}", b"0")

        def beat() -> None:
            number = 0
            while not ended.wait(self.beat):
                number += 1
                with suppress(WriteFailed):  # missed; the next one counts
                    self.objects.put(f"beats/{self.me}", str(number).encode())

        thread = threading.Thread(target=beat, daemon=True, name="raresearch-beat")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            with suppress(WriteFailed):
                self.objects.remove(f"beats/{self.me}")
