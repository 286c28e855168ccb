"""The ledger of unsealing: one line for each look at test labels, each line chained to the one before by its hash.

It is written before the labels are read, so that a look cannot go unrecorded. It proves order and content to somebody who
kept the last hash; it does not stop an owner of the files from rewriting them all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raresearch.errors import StoreError
from raresearch.store.files import refusals
from raresearch.types import canonical, digest

START = "0" * 32


def read_ledger(root: Path) -> list[dict[str, Any]]:
    """Every entry in order; `StoreError` where a line was changed, removed or inserted."""
    path = root / "ledger.jsonl"
    if not path.is_file():
        return []
    entries = []
    previous = START
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            entry = json.loads(line)
            sound = entry["previous"] == previous and entry["hash"] == _hash(entry)
        except (json.JSONDecodeError, KeyError, TypeError):
            sound = False
        if not sound:
            raise StoreError(f"{path}:{number}", "the ledger was altered: the chain of hashes breaks here", "restore the file")
        previous = entry["hash"]
        entries.append(entry)
    return entries


def append_ledger(root: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Add an entry with time, number and chain; returns it as written."""
    entries = read_ledger(root)
    entry = {
        **content,
        "number": len(entries) + 1,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "previous": entries[-1]["hash"] if entries else START,
    }
    entry["hash"] = _hash(entry)
    path = root / "ledger.jsonl"
    with refusals(path), path.open("a") as file:
        file.write(canonical(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return entry


def _hash(entry: Mapping[str, Any]) -> str:
    return digest({k: v for k, v in entry.items() if k != "hash"}, 32)
