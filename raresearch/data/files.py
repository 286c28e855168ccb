"""Which files, in which order, with which content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raresearch.data.readers import SUFFIXES, readable
from raresearch.errors import DataError


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files in the order that numbers their events, with the SHA-256 of each."""

    paths: tuple[Path, ...]
    sha256: tuple[str, ...]

    @classmethod
    def of(cls, paths: Iterable[Path | str], one_event_a_file: bool = False) -> FileSet:
        """``paths`` in their order; a folder stands for the readable files in it, ordered by name, or, where
        ``one_event_a_file``, for itself.

        Raises `DataError` where there is no file, or where two files hold the same bytes: their events would be counted
        twice, and could lie in training and test at once.
        """
        expand = _folder if one_event_a_file else _expand
        found = [file for path in paths for file in expand(Path(path))]
        if not found:
            raise DataError("files", "none were given", f"known suffixes: {', '.join(SUFFIXES)}")
        sums = [_sha256(path) for path in found]
        for i, value in enumerate(sums):
            if value in sums[:i]:
                raise DataError(str(found[i]), f"has the same content as {found[sums.index(value)]}", "give each file once")
        return cls(tuple(found), tuple(sums))

    def to_json(self) -> list[dict[str, Any]]:
        """Names and sums, without folders: the same files elsewhere are the same data."""
        return [{"name": p.name, "sha256": s} for p, s in zip(self.paths, self.sha256, strict=True)]


def _expand(path: Path) -> list[Path]:
    path = path.expanduser()
    if path.is_dir():
        found = readable(sorted(p for p in path.iterdir() if p.is_file()))
        if not found:
            raise DataError(str(path), "holds no readable file", f"known suffixes: {', '.join(SUFFIXES)}")
        return [p.resolve() for p in found]
    if not path.is_file():
        raise DataError(str(path), "does not exist", "check the path")
    if path.stat().st_size == 0:
        raise DataError(str(path), "is an empty file", "remove it from the list or write it again")
    return [path.resolve()]


def _folder(path: Path) -> list[Path]:
    path = path.expanduser()
    if not path.is_dir():
        raise DataError(str(path), "is not a folder", "with `one_event_a_file` give the folder of the events")
    return [path.resolve()]


def _sha256(path: Path) -> str:
    if path.is_dir():  # every file counts, since a CSV among them may hold the labels
        parts = [[p.name, _sha256(p)] for p in sorted(path.iterdir()) if p.is_file()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", "check its permissions") from error
