"""One live line while a study runs: cells done, failed, running, and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from raresearch.api.run import Progress as Listener
from raresearch.study import Counts
from raresearch.types import Cell

QUIET_SECONDS = 30.0  # where output is a file: one line this often, not a line a cell


@dataclass
class LiveLine:
    """Draws what a running study reports."""

    bar: Progress
    console: Console
    task: TaskID | None = None
    started: float = field(default_factory=time.monotonic)
    printed: float = 0.0
    epoch_of: str = ""

    def preparing(self, done: int, total: int) -> None:
        self._show(f"preparing events: block {done} of {total}", done, total, done == total)

    def changed(self, counts: Counts) -> None:
        ended = counts.done + counts.failed
        words = [f"{ended} cells" if counts.total is None else f"{ended}/{counts.total} cells"]
        words += [f"{n} {what}" for n, what in ((counts.reused, "from before"), (counts.failed, "failed")) if n]
        self._show(", ".join(words), ended, counts.total, ended == counts.total)

    def epoch(self, cell: Cell, epoch: int) -> None:
        if self.task is not None:
            self.bar.update(self.task, epoch=f"epoch {epoch}")

    def stage(self, name: str, configs: Sequence[str]) -> None:
        self.epoch_of = ""  # the next line is drawn anew
        shown = ", ".join(configs[:5]) + (f" and {len(configs) - 5} more" if len(configs) > 5 else "")
        self.console.print(f"stage {name}: {shown}", highlight=False, markup=False)

    def note(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def _show(self, words: str, done: int, total: int | None, last: bool) -> None:
        kind = words.split(":")[0] if ":" in words else "training"
        if self.epoch_of != kind:
            self.epoch_of = kind
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.task = self.bar.add_task(kind, total=total, completed=done, words=words, epoch="")
        else:
            assert self.task is not None
            self.bar.update(self.task, completed=done, total=total, words=words)
        if not self.console.is_terminal and (last or time.monotonic() - self.printed > QUIET_SECONDS):
            self.printed = time.monotonic()
            self.console.print(f"[{time.monotonic() - self.started:6.0f} s] {words}", highlight=False, markup=False)


@contextmanager
def live_line() -> Iterator[Listener]:
    """A listener for `run` that keeps one line on standard error up to date."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.fields[words]}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[epoch]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True, speed_estimate_period=600) as bar:
        line = LiveLine(bar, console)
        yield Listener(line.preparing, line.changed, line.epoch, line.stage, line.note)
