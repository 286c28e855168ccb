"""What another search found, as observations to begin with."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from raresearch.axes import Choice
from raresearch.errors import SpaceError, SpecError, nearest
from raresearch.searchers.history import Observation
from raresearch.space import Space
from raresearch.types import Config, Value, canonical, config_id, freeze


@dataclass(frozen=True)
class Past:
    """``observations``: (config, score) of the space, each config once; ``outside``, ``unscored``: how many rows were left
    out because they lie outside the space, or have no finite score."""

    observations: tuple[Observation, ...] = ()
    outside: int = 0
    unscored: int = 0

    def __str__(self) -> str:
        skipped = [f"{n} {why}" for n, why in ((self.outside, "outside the space"), (self.unscored, "without a score")) if n]
        return f"warm start with {len(self.observations)} configs" + (f" ({', '.join(skipped)} skipped)" if skipped else "")


def read_past(place: str, source: str | Path | Sequence[Observation] | None, space: Space, score_column: str) -> Past:
    """The observations in ``source``: the path of a CSV with columns of the axes' names and ``score_column`` (higher is
    better), or (config, score) pairs, whose configs may hold more names than the space has axes.

    Rows outside the space and rows without a finite score are left out and counted. A config that comes several times
    counts once, with its mean score. Raises `SpecError` at ``place`` for a file that cannot be read or lacks a column, and
    where no row is left.
    """
    if source is None:
        return Past()
    rows = list(_csv_rows(place, Path(source), space, score_column)) if isinstance(source, (str, Path)) else source
    scores: dict[str, list[float]] = {}
    points: dict[str, Config] = {}
    outside = unscored = 0
    for config, score in rows:
        point = _point(space, config)
        if point is None:
            outside += 1
        elif not math.isfinite(score):
            unscored += 1
        else:
            key = config_id(point)
            points[key] = point
            scores.setdefault(key, []).append(score)
    past = Past(tuple((points[k], math.fsum(s) / len(s)) for k, s in scores.items()), outside, unscored)
    if not past.observations:
        rule = f"no row can be used: of {len(rows)}, {outside} lie outside the space and {unscored} have no score"
        raise SpecError(place, rule, "its values must be values of the axes")
    return past


def _point(space: Space, config: Config) -> Config | None:
    try:
        return space.project(config)
    except SpaceError:
        return None


def _csv_rows(place: str, path: Path, space: Space, score_column: str) -> Iterator[Observation]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            # An axis under a condition may be missing from all rows.
            for needed in (score_column, *(name for name in space.axes if name not in space.conditions)):
                if needed not in columns:
                    remedy = nearest(needed, columns) + ("; or set score_column" if needed == score_column else "")
                    raise SpecError(place, f"{path.name} has no column {needed!r}", remedy)
            for row in reader:
                yield _config(space, row), _score(place, f"{path.name}:{reader.line_num}", row[score_column])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(place, f"cannot read {path}: {error}", "paths start from the YAML's folder") from error


def _config(space: Space, row: Mapping[str, str | None]) -> Config:
    """The values that ``row`` gives to axes; a text that is no value of its axis stays as it is, outside the space."""
    given = {name: text.strip() for name in space.axes if (text := row.get(name))}
    return {name: _value(space, name, text) for name, text in given.items() if text}


def _value(space: Space, name: str, text: str) -> Value:
    axis = space.axes[name]
    alternatives: list[Value] = [axis.labelled(text)] if isinstance(axis, Choice) and text in axis.labels else []
    alternatives += [*_parsed(text), text]
    alone = Space({name: axis})
    return next((value for value in alternatives if _point(alone, {name: value}) is not None), text)


def _parsed(text: str) -> list[Value]:
    """What ``text`` may mean, as JSON, as Python writes its constants, as a number."""
    constants: Mapping[str, Value] = {"True": True, "False": False, "None": None}
    if text in constants:
        return [constants[text]]
    values: list[Value] = []
    for read in (json.loads, float):  # a number may be written as JSON does not: .1
        with suppress(ValueError, TypeError):
            value = freeze(read(text))
            canonical(value)  # NaN and infinity are no values
            values.append(value)
    return values


def _score(place: str, line: str, text: str | None) -> float:
    if text is None or not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise SpecError(place, f"{line}: the score {text!r} is no number", "name the column with score_column") from error
