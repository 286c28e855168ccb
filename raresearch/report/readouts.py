"""An experiment's own tables, as it left them beside its study (`Experiment.read_out`)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from raresearch.errors import StoreError
from raresearch.report.findings import Sheet
from raresearch.report.numbers import NONE

FILE = "readouts.json"
DIGITS = 4


def read_outs(folder: Path) -> list[tuple[str, Sheet]]:
    """(title, table) of each; none where the study has none. Raises `StoreError` for a damaged file."""
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        return [(str(each["title"]), _sheet(each)) for each in json.loads(path.read_text(encoding="utf-8"))]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise StoreError(
            str(path), "damaged (not the tables of an experiment)", "run the study again: it is made anew"
        ) from error


def _sheet(content: dict[str, Any]) -> Sheet:
    rows = tuple(tuple(_text(value) for value in row) for row in content["rows"])
    header = tuple(str(name) for name in content["columns"])
    return Sheet(header, rows, ("",) * len(header), str(content["note"]))


def _text(value: object) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return NONE
    return f"{value:.{DIGITS}g}".replace("-", "−") if isinstance(value, float) and not value.is_integer() else f"{value:g}"
