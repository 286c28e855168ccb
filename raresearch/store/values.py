"""The objective of thousands of cells as `raresearch watch` last took it: a cache, so that opening a terminal is answered at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from raresearch.errors import StoreError
from raresearch.store.files import make_folder, write_atomic

FILE = "values.json"


def remembered(root: Path, asked: str) -> dict[str, float]:
    """What names a cell → value under the question ``asked`` (a hash of rule, figure of merit and code); nothing where another was asked,
    where there is none, or where the file is damaged."""
    try:
        content = json.loads((root / "index" / FILE).read_text(encoding="utf-8"))
        return {str(k): float(v) for k, v in content["values"].items()} if content["asked"] == asked else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def remember(root: Path, asked: str, values: Mapping[str, float]) -> None:
    """Keep ``values``; not at all where ``root`` cannot be written."""
    with suppress(OSError, StoreError):
        make_folder(root / "index")
        text = json.dumps({"asked": asked, "values": dict(values)})
        write_atomic(root / "index" / FILE, lambda path: _write(path, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
