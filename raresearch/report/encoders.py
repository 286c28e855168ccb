"""Figures made files by processes beside this one: matplotlib needs 0.2 to 1.4 s a figure, and one core at a time.

Each is Python with this file as its program; a figure goes to it as a pickle through its pipe, its PNG and SVG come back as bytes.
What such a process cannot do (it is not there, the figure cannot be pickled) is done here, with the same bytes.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from matplotlib.figure import Figure

from raresearch.report.figures.style import encode, style

MOST = 4  # processes; a study has 8 to 12 figures. Measured with two cores only, where one process is best
Files = tuple[bytes, bytes]


@dataclass(frozen=True)
class Encoding:
    """A figure on its way to PNG and SVG: ``content`` is its pickle, None where it has none; ``made`` comes from a process beside
    this one, and is None where that could not."""

    figure: Figure
    content: bytes | None
    made: Future[Files | None] = field(default_factory=Future)


class Encoders:
    """``processes`` that encode (None: one less than there are cores, `MOST` at most), from ``with`` on to its end.

    They import matplotlib first, so whatever takes time before the first figure should be begun after them.
    """

    def __init__(self, processes: int | None = None) -> None:
        able = (
            min(MOST, _cores() - 1) if sys.executable else 0
        )  # where Python is part of another program, there may be no such file
        self._count = able if processes is None else processes
        self._all: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._waiting: list[Encoding] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Encoders:
        self._threads = ThreadPoolExecutor(max(1, self._count))
        with suppress(OSError):  # no memory for another process, or too many of them
            for _ in range(self._count):
                self._all.append(_started())
                self._idle.put(self._all[-1])
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            process.kill()  # it holds nothing
        self._threads.shutdown(cancel_futures=True)
        for process in self._all:
            process.communicate()

    def begin(self, figure: Figure) -> Encoding:
        """Have ``figure`` encoded. It must not be changed any more."""
        encoding = Encoding(figure, _pickled(figure) if self._all else None)
        if encoding.content is not None:
            with self._lock:
                self._waiting.append(encoding)
            self._threads.submit(self._beside)
        return encoding

    def finish(self, encodings: Sequence[Encoding]) -> list[Files]:
        """The files of all that was begun, in order: helps with the smallest, then waits."""
        made = {id(e): _encoded(e.figure) for e in encodings if e.content is None}
        while (encoding := self._take(min)) is not None:
            made[id(encoding)] = _encoded(encoding.figure)
        return [made.get(id(e)) or e.made.result() or _encoded(e.figure) for e in encodings]

    def _take(self, which: Callable[[Sequence[int]], int]) -> Encoding | None:
        """The largest or the smallest that nobody works on."""
        with self._lock:
            sizes = [len(e.content or b"") for e in self._waiting]
            return self._waiting.pop(sizes.index(which(sizes))) if sizes else None

    def _beside(self) -> None:
        encoding = self._take(max)  # the slowest should not be the last
        if encoding is None or encoding.content is None:
            return
        process = self._idle.get()
        try:
            encoding.made.set_result(_asked(process, encoding.content))
        except (OSError, EOFError):  # the process has ended: for want of memory, say
            encoding.made.set_result(None)
        finally:
            self._idle.put(process)


def _pickled(figure: Figure) -> bytes | None:
    try:
        return pickle.dumps(figure, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):  # a formatter that is a lambda, say
        return None


def _encoded(figure: Figure) -> Files:
    with style():
        return encode(figure)


def _started() -> subprocess.Popen[bytes]:
    # Its own group: Ctrl-C is for who waits for the report, and this ends when its pipe does.
    return subprocess.Popen(
        [sys.executable, "-m", "raresearch.report.encoders"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        process_group=0,
    )


def _asked(process: subprocess.Popen[bytes], content: bytes) -> Files:
    assert process.stdin is not None
    assert process.stdout is not None
    _put(process.stdin, content)
    return _got(process.stdout), _got(process.stdout)


def _put(pipe: IO[bytes], content: bytes) -> None:
    pipe.write(len(content).to_bytes(8) + content)
    pipe.flush()


def _got(pipe: IO[bytes]) -> bytes:
    """What `_put` wrote. Raises `EOFError` where the other end has closed before all of it was there."""
    head = pipe.read(8)
    content = pipe.read(int.from_bytes(head)) if len(head) == 8 else b""
    if len(head) < 8 or len(content) < int.from_bytes(head):
        raise EOFError
    return content


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Encode what comes in until nothing does."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nobody's print may stand between the answers
    with suppress(EOFError):
        while True:
            for file in _encoded(pickle.loads(_got(sys.stdin.buffer))):
                _put(answers, file)


if __name__ == "__main__":
    main()
