"""Every error that raresearch raises on purpose.

    RaresearchError
    ├── UserError                what was given is wrong: one line, exit status 2, nothing half-written
    │   ├── SpecError            a study's YAML: file, dotted path, rule, remedy
    │   ├── SpaceError           an axis or a config that does not fit its space
    │   ├── PluginError          a name that resolves to nothing
    │   ├── DataError            events: missing column, empty file, NaN, one class
    │   │   └── Unreadable       a file that is truncated or damaged, which a mapping may say to skip
    │   ├── StoreError           a store of another study, an unwritable folder
    │   │   └── WriteFailed      a full disk, a file server that does not answer: tried again before it ends a run
    │   ├── SelectionError       a rule that asks for what the epochs do not have
    │   └── SealError            test labels asked for by something that may not see them
    ├── CellFailure              a cell's training went wrong (NaN loss, exception): a value, never the study's end
    └── Interrupted              the user stopped the run; what has landed stays, the same line goes on

A message says what was given, the rule, and the remedy, in one line.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


class RaresearchError(Exception):
    """Base of all errors of this package."""


class UserError(RaresearchError):
    """The input is wrong; the command line prints the message as one line and exits with status 2.

    ``place`` is where (file, dotted path, column), ``rule`` what must hold, ``remedy`` what to do.
    """

    def __init__(self, place: str, rule: str, remedy: str = "") -> None:
        self.place, self.rule, self.remedy = place, rule, remedy
        super().__init__(": ".join(p for p in (place, rule) if p) + (f"; {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str]]:
        # Errors cross process borders (Ray); the default reduce would pass one joined string.
        return type(self), (self.place, self.rule, self.remedy)


class SpecError(UserError):
    """A study's YAML breaks a rule."""


class SpaceError(UserError):
    """An axis is ill-formed, or a config lies outside its space."""


class PluginError(UserError):
    """A name, import path or file resolves to nothing usable."""


class DataError(UserError):
    """Events cannot be used as they are."""


class Unreadable(DataError):
    """A file of events is truncated or damaged."""


class StoreError(UserError):
    """A run folder cannot be used as asked."""


class WriteFailed(StoreError):
    """The store refuses writes for now (full disk, I/O error); an executor tries again, later, before it gives up."""


class SelectionError(UserError):
    """A selection rule and the epochs do not fit."""


class SealError(UserError):
    """Test labels were asked for outside `unseal`."""


class CellFailure(RaresearchError):
    """One cell's training failed; it is counted and shown, and the study goes on."""


class Interrupted(RaresearchError):
    """The user interrupted a run (exit status 130); it can be resumed."""


def brief(error: BaseException) -> str:
    """One line of what was raised and where: ``ValueError: too hot (mine.py:12)``."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500] + where


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for a mistyped ``name``, or the list of what exists.

    >>> nearest("repeat", ["repeats", "folds"])
    "did you mean 'repeats'?"
    >>> nearest("zzz", ["repeats", "folds"])
    'known here: folds, repeats'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known here: " + (", ".join(known) if known else "nothing")
