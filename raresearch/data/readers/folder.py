"""A folder of images, one event a file: PNG pictures or NPZ arrays, with what a CSV says of each.

Columns: ``file`` (names), ``image`` (PNG: channels first) or the arrays of the NPZ files, and the columns of the CSV, which
names the files in its column ``file``.
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from raresearch.data.readers.table import Column, reading, require
from raresearch.errors import DataError, nearest
from raresearch.types import Array

PICTURES, ARRAYS = (".png",), (".npz",)
_DAMAGED = (OSError, EOFError, ValueError, KeyError, SyntaxError, zipfile.BadZipFile, zlib.error)


def event_files(folder: Path) -> list[Path]:
    """The events of ``folder`` by name, all of one kind. Raises `DataError` where there is none, or both kinds."""
    kinds = [sorted(p for p in folder.iterdir() if p.suffix.lower() in kind and p.is_file()) for kind in (PICTURES, ARRAYS)]
    if not any(kinds):
        raise DataError(str(folder), "holds no PNG or NPZ file", "with `one_event_a_file` give the folder of the events")
    if all(kinds):
        rule = f"holds both PNG and NPZ files ({kinds[0][0].name}, {kinds[1][0].name})"
        raise DataError(str(folder), rule, "put each kind into a folder of its own")
    return kinds[0] or kinds[1]


@dataclass(frozen=True)
class FolderTable:
    path: Path
    files: tuple[Path, ...]
    told: Mapping[str, Array]
    seekable: ClassVar[bool] = True

    @cached_property
    def _inside(self) -> tuple[str, ...]:
        first = self.files[0]
        if first.suffix.lower() in PICTURES:
            return ("image",)
        with reading(first, *_DAMAGED), first.open("rb") as raw, np.load(raw, allow_pickle=False) as archive:
            return tuple(archive.files)

    def columns(self) -> tuple[str, ...]:
        return ("file", *self._inside, *self.told)

    def rows(self, names: Sequence[str]) -> int:
        require(self.path, names, self.columns())
        return len(self.files)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        require(self.path, names, self.columns())
        inside = [name for name in names if name in self._inside]
        events = [_event(path, inside) for path in self.files[start:stop]] if inside else []
        found: dict[str, Column] = {name: _stacked(name, self.files[start:stop], events) for name in inside}
        if "file" in names:
            found["file"] = np.asarray([path.name for path in self.files[start:stop]], dtype=object)
        return found | {name: self.told[name][start:stop] for name in names if name in self.told}


def _event(path: Path, names: Sequence[str]) -> dict[str, Array]:
    if path.suffix.lower() in PICTURES:
        return {"image": _picture(path)}
    with reading(path, *_DAMAGED), path.open("rb") as raw, np.load(raw, allow_pickle=False) as archive:
        require(path, names, archive.files)
        return {name: archive[name] for name in names}


def _picture(path: Path) -> Array:
    """Channels first: (1, H, W) of a grey picture, (3, H, W) or (4, H, W) of a coloured one; a palette is resolved."""
    from PIL import Image

    with reading(path, *_DAMAGED), Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _stacked(name: str, files: Sequence[Path], events: Sequence[Mapping[str, Array]]) -> Array:
    shape = events[0][name].shape
    for path, event in zip(files, events, strict=True):
        if event[name].shape != shape:
            rule = f"has shape {event[name].shape}, {files[0].name} has {shape}"
            raise DataError(f"{path}: {name!r}", rule, "all events must have one shape: resize or remove it")
    return np.stack([event[name] for event in events])


def open(path: Path, labels: str | None) -> FolderTable:
    """The events of the folder ``path``; ``labels`` is the name of a CSV in it. Raises `DataError`."""
    files = event_files(path)
    return FolderTable(path, tuple(files), _told(path / labels, files) if labels else {})


def _told(path: Path, files: Sequence[Path]) -> dict[str, Array]:
    """The CSV's columns in the order of ``files``."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = {str(row["file"]): row for row in reader} if "file" in columns else {}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(str(path), f"cannot be read ({error})", "`labels` is a CSV inside the folder of the events") from error
    if "file" not in columns:
        raise DataError(f"{path}: column 'file'", "is missing", nearest("file", columns))
    missing = [f.name for f in files if f.name not in rows]
    if missing:
        rule = f"says nothing of {len(missing)} files, such as {missing[0]}"
        raise DataError(str(path), rule, "add a row for each, or remove the files")
    return {name: _typed([rows[f.name][name] or "" for f in files]) for name in columns if name != "file"}


def _typed(texts: list[str]) -> Array:
    """Numbers where every text is one."""
    for kind in (np.int64, np.float64):
        try:
            return np.asarray(texts, dtype=object).astype(kind)
        except ValueError:
            continue
    return np.asarray(texts, dtype=object)
