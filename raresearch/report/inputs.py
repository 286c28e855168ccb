"""What numbers and pages are made of, as hashes: the same inputs give the same report.

Landed cells and events enter by name, size and time of change of their files, not by their bytes: a store of 10^4 landings is
asked in a fraction of a second. Everything small enters by its bytes. Not seen is code outside raresearch and outside the folders
of a user's own files, and matplotlib's settings of a user (``matplotlibrc``): ``raresearch report --anew`` asks nothing.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from raresearch.ensembles.figures import own_fom
from raresearch.errors import UserError
from raresearch.metrics.base import FigureOfMerit
from raresearch.store.store import Store

PACKAGE = Path(__file__).resolve().parents[1]
CODE = (".py", ".j2", ".js", ".css", ".csv")  # of raresearch: what computes, draws and words a report
BEGUN = time.time()
LIBRARIES = ("numpy", "scipy", "pyarrow", "matplotlib", "mplhep", "jinja2", "tensorboard", "contourpy", "pillow")


def figures_asked(objective: FigureOfMerit, others: Sequence[FigureOfMerit]) -> str:
    """The hash of what decides the estimates of given scores: the figures with their options, and the code."""
    foms = [objective, *others]
    return hashed([code(), *(named(fom) for fom in foms)], own_code(foms))


def landing_marks(store: Store) -> dict[str, str]:
    """Landing → its files with their sizes and times of change, and those of the lists of events: what its scores are of."""
    return {path.name: " ".join(marks(path)) for path in store.landings()}


def events_mark(store: Store) -> str:
    """The same of the lists of events."""
    return " ".join(marks(store.root / "events"))


def named(part: object) -> str:
    """A rule or figure of merit with its options. One without a `repr` of its own, or whose code stands in no file (a notebook's),
    is another one every time: nothing of it is ever found again."""
    module = sys.modules.get(type(part).__module__)
    nameless = type(part).__repr__ is object.__repr__  # an address, which another object may have in another process
    written = uuid.uuid4().hex if nameless or not getattr(module, "__file__", None) else ""
    return f"{type(part).__module__}.{type(part).__qualname__} {part!r} {written}"


def own_code(parts: Iterable[object]) -> list[Path]:
    """The files of code beside those that define ``parts``, raresearch's own left out: a user's file and what it may import."""
    every = [each for part in parts for each in (part, *_inner(part))]
    named = (getattr(sys.modules.get(type(each).__module__), "__file__", None) for each in every)
    files = {Path(name).resolve() for name in named if name}
    folders = {file.parent for file in files if PACKAGE not in file.parents}
    return sorted(path for folder in folders for path in folder.glob("*.py"))


def _inner(part: object) -> Iterator[object]:
    """The figure of merit that a rule chooses by: raresearch's own rules take a user's."""
    fom = getattr(part, "fom", None)
    if isinstance(fom, str | Mapping):
        with suppress(UserError):  # another rule's word for something else
            yield own_fom(part)
    elif fom is not None:
        yield fom


@cache
def code() -> str:
    """The hash of raresearch's own source, with the versions of what computes and draws for it."""
    found = [f"{name} {_version(name)}" for name in LIBRARIES]
    return hashed([sys.version, *found], sorted(p for p in PACKAGE.rglob("*") if p.suffix in CODE))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def marks(folder: Path) -> Iterator[str]:
    """Name, size and time of change of every file in ``folder``."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((e.name, e.stat()) for e in found)
    except FileNotFoundError:
        return
    for name, stat in entries:
        yield f"{name}:{stat.st_size}:{stat.st_mtime_ns}"


def hashed(texts: Iterable[str], files: Iterable[Path]) -> str:
    """One hash of texts and of files' names and bytes; another one every time for code that changed while this process ran."""
    whole = hashlib.sha256()
    for text in texts:
        _add(whole, text.encode())
    for path in files:
        _add(whole, str(path).encode())
        _add(whole, path.read_bytes() if path.is_file() else b"")
        if path.suffix == ".py" and path.stat().st_mtime > BEGUN:
            _add(whole, uuid.uuid4().bytes)  # this process may still run what stood there before
    return whole.hexdigest()


def _add(whole: Any, part: bytes) -> None:
    """With its length, so that what stands at the end of one part cannot pass for the beginning of the next."""
    whole.update(len(part).to_bytes(8, "big") + part)
