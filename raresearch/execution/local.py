"""Everything in this process, one pack after another: for debugging, for one machine, for machines without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from raresearch.errors import Interrupted, WriteFailed
from raresearch.execution.base import Source, Waiting
from raresearch.execution.worker import WorkContext, run_pack
from raresearch.types import Cell


def _silent(cell: Cell, epoch: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class LocalExecutor:
    """One worker: this process."""

    context: WorkContext
    report: Callable[[Cell, int], None] = _silent

    def run(self, source: Source) -> None:
        """Run ``source`` dry; Ctrl-C raises `Interrupted`, the cell under way is lost, the landed ones stay."""
        try:
            while (pack := source.next_pack()) is not None:
                if isinstance(pack, Waiting):
                    time.sleep(0.05)
                    continue
                try:
                    outcomes = run_pack(self.context, pack, self.report)
                except WriteFailed as error:
                    source.crashed(pack, error.rule, error)
                else:
                    source.finished(pack, outcomes)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted") from error
