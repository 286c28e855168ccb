"""The ledger of unsealing: one line for each look at test labels, each line chained to the one before by its hash.

It is written before the labels are read, so that a look cannot go unrecorded. Lines are only ever appended, one writer at a
time. The chain shows a line that was changed, removed from the middle or inserted. It cannot show that the last lines, or
the whole file, were taken away, nor that an owner rewrote everything: for that somebody else must keep the last hash, which
reports, exported cards and `raresearch status` print.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raresearch.errors import StoreError
from raresearch.store.files import refusals
from raresearch.store.remote import elsewhere
from raresearch.types import canonical, digest

START = "0" * 32
FILE = "ledger.jsonl"


def read_ledger(root: Path) -> list[dict[str, Any]]:
    """Every entry in order; `StoreError` where a line was changed, removed or inserted, or is incomplete."""
    path = root / FILE
    if not path.is_file():
        return []
    try:
        return _checked(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(str(path), f"the ledger cannot be read ({error})", "restore the file") from error


def append_ledger(root: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Add an entry with number, time and chain; returns it as written, once it is on disk.

    Two processes that unseal at once write one after the other. Raises as `read_ledger`, and where nothing can be written.
    """
    there = elsewhere(root)
    with there.alone("ledger"):
        entry = _append(root / FILE, content)
        there.push(root / FILE)
    return entry


def _append(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    with refusals(path), path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two entries with one predecessor would break the chain for good
        file.seek(0)
        entries = _checked(file.read(), path)
        entry = {
            **content,
            "number": len(entries) + 1,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "previous": entries[-1]["hash"] if entries else START,
        }
        entry["hash"] = _hash(entry)
        file.write(canonical(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return entry


def _checked(text: str, path: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            rule = "the ledger was altered, or a machine stopped while it wrote this line (then no label was read for it)"
            raise StoreError(f"{path}:{number}", rule, "restore the file, or remove a line that was never finished")
        entry = _parsed(line)
        sound = (
            entry is not None
            and entry.get("number") == number
            and entry.get("previous") == (entries[-1]["hash"] if entries else START)
            and entry.get("hash") == _hash(entry)
        )
        if entry is None or not sound:
            raise StoreError(f"{path}:{number}", "the ledger was altered: the chain of hashes breaks here", "restore the file")
        entries.append(entry)
    return entries


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _hash(entry: Mapping[str, Any]) -> str:
    return digest({k: v for k, v in entry.items() if k != "hash"}, 32)
