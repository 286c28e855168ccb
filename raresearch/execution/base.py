"""The contract between a study and an executor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from raresearch.errors import WriteFailed
from raresearch.types import Outcome, Pack


class Waiting:
    """What `Source.next_pack` answers when nothing can start now but running packs may yet bring more."""


class Source(Protocol):
    """Where packs come from and where their fate goes. Called in the driver's process only, never by two threads at once."""

    def next_pack(self) -> Pack | Waiting | None:
        """The next pack; `Waiting`: ask again after a pack ended; None: nothing more will come."""

    def finished(self, pack: Pack, outcomes: Sequence[Outcome]) -> None:
        """``pack`` ran to its end and has landed; ``outcomes`` in the order of its cells."""

    def noted(self, text: str) -> None:
        """A worker said something that is worth a line to whoever watches, and is no error."""

    def crashed(self, pack: Pack, reason: str, refused: WriteFailed | None = None) -> None:
        """The worker of ``pack`` died, or the machine under it: not the cells' fault. The source may offer it again, later.

        ``refused``: the worker lives, but the store did not take what it had trained. Raised when no try is left.
        """


class Executor(Protocol):
    """Runs everything that a source offers.

    Obligations: pulls no more packs than it has workers; reports each pulled pack exactly once; returns when the source
    says None and all is reported, or raises `Interrupted` after a user's Ctrl-C, with its workers gone.
    """

    def run(self, source: Source) -> None:
        """Run ``source`` dry."""
