"""A block of events on its way to disk: the unit of work, of a random stream and of a part file.

Legend: N events of the block, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from raresearch.data.splits import Fractions, assign
from raresearch.errors import DataError, UserError, brief, nearest
from raresearch.experiment import Experiment, Schema
from raresearch.types import Array, Config, named_stream


@dataclass(frozen=True, slots=True)
class Block:
    """Checked events. All arrays have N rows; ``split`` numbers as in `splits.SPLITS`; ``dropped`` rows are gone already."""

    event_id: Array
    tensors: Mapping[str, Array]
    observers: Mapping[str, Array]
    class_number: Array
    label: Array
    weight: Array
    split: Array
    dropped: int = 0


class Blocks(Protocol):
    """What makes blocks: picklable, and a pure function of the block's number, so that a block can be made again anywhere."""

    @property
    def schema(self) -> Schema: ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of files that were damaged and left out."""
        ...

    def __len__(self) -> int: ...

    def make(self, number: int) -> Block:
        """Block ``number``. Raises `DataError` for events that cannot be used. Called in any process, in any order."""
        ...


@dataclass(frozen=True)
class SimulatedBlocks:
    """Blocks of an experiment's simulator: ``events`` in all, ``size`` in each block but the last."""

    experiment: Experiment
    config: Config
    seed: int
    fractions: Fractions
    events: int
    size: int
    skipped: tuple[str, ...] = ()

    @property
    def schema(self) -> Schema:
        return self.experiment.schema()

    def __len__(self) -> int:
        return -(-self.events // self.size)

    def make(self, number: int) -> Block:
        start = number * self.size
        n = min(self.size, self.events - start)
        # Without the fingerprint in its name a block stays the same when more blocks are asked for.
        stream = named_stream(self.seed, self.experiment.name, "simulate", str(number))
        raw = self._simulate(np.random.default_rng(stream), n, number)
        event_id = np.arange(start, start + n, dtype=np.int64)
        split = assign(event_id, self.fractions, self.seed)
        return checked(raw, self.schema, event_id, split, f"{self.experiment.name}.simulate: block {number}")

    def _simulate(self, rng: np.random.Generator, n: int, number: int) -> Mapping[str, Array]:
        try:
            return self.experiment.simulate(self.config, rng, n)
        except UserError:
            raise
        except Exception as error:  # the boundary to a user's code: one line that names hers, not pages of ours and Ray's
            raise DataError(f"{self.experiment.name}.simulate: block {number}", brief(error), "mend the experiment") from error


def checked(raw: Mapping[str, Array], schema: Schema, event_id: Array, split: Array, place: str) -> Block:
    """A block from the arrays that `Experiment.simulate` describes.

    Raises `DataError` for a missing or unknown column, a wrong length, shape or dtype, and for values that are not finite.
    """
    n = len(event_id)
    wanted = {**{t.name: t.shape for t in schema.tensors}, **dict.fromkeys(schema.observers, ()), "class": ()}
    shapes = {**wanted, "weight": (), "spectator": ()}
    for name in wanted:
        if name not in raw:
            raise DataError(f"{place}: column {name!r}", "is missing", nearest(name, raw))
    for name in raw:
        if name not in shapes:
            raise DataError(f"{place}: column {name!r}", "is not in the schema", nearest(name, shapes))
    dtypes = {**{t.name: t.dtype for t in schema.tensors}, "class": "int64", "spectator": "bool"}
    columns = {
        name: _cast(np.asarray(x), (n, *shapes[name]), dtypes.get(name, "float64"), f"{place}: column {name!r}")
        for name, x in raw.items()
    }
    class_number = columns["class"]
    if n and not 0 <= class_number.min() <= class_number.max() < len(schema.classes):
        raise DataError(
            f"{place}: column 'class'",
            f"must lie in 0 … {len(schema.classes) - 1}, not {class_number.min()} … {class_number.max()}",
        )
    entries = {t.name: t.columns for t in schema.tensors}
    for name, x in columns.items():
        refuse_non_finite(name, x, place, entries=entries.get(name, ()))
    return Block(
        event_id=event_id,
        tensors={t.name: columns[t.name] for t in schema.tensors},
        observers={name: columns[name] for name in schema.observers},
        class_number=class_number.astype(np.int8),
        label=schema.labels(class_number, columns.get("spectator")),
        weight=columns.get("weight", np.ones(n)),
        split=split,
    )


def _cast(x: Array, shape: tuple[int, ...], dtype: str, place: str) -> Array:
    if x.shape != shape:
        raise DataError(place, f"has shape {x.shape}, must be {shape}")
    # A narrower float is fine (float64 → float32); a float for an integer or an object for a number is a mistake.
    if not np.can_cast(x.dtype, dtype, "same_kind"):
        raise DataError(place, f"has dtype {x.dtype}, must be {dtype}", f"convert it with .astype({dtype!r})")
    if x.dtype.kind in "iu" and np.dtype(dtype).kind in "iu" and x.size:
        limits = np.iinfo(dtype)
        if int(x.min()) < limits.min or int(x.max()) > limits.max:
            raise DataError(place, f"holds {x.min()} … {x.max()}, which does not fit {dtype}")
    # Too large for a float32 becomes infinite, which the next check refuses by name.
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def finite_rows(x: Array) -> Array:
    """Which of the N rows of ``x`` (N, …) hold finite numbers only."""
    if x.dtype.kind != "f":
        return np.ones(len(x), dtype=bool)
    return np.asarray(np.isfinite(x).all(axis=tuple(range(1, x.ndim))))


def refuse_non_finite(name: str, x: Array, place: str, remedy: str = "", entries: tuple[str, ...] = ()) -> None:
    """Raise `DataError` with column, place and number of events where ``x`` holds NaN or infinity.

    ``entries`` names the entries of a flat tensor, so that the message names the guilty ones.
    """
    bad = np.flatnonzero(~finite_rows(x))
    if not len(bad):
        return
    guilty = np.flatnonzero(~np.isfinite(x).all(axis=0)) if entries and x.ndim == 2 else ()
    named = f" ({', '.join(entries[i] for i in guilty)})" if len(guilty) else ""
    rule = f"NaN or infinite in {len(bad)} of {len(x)} events, first in row {bad[0]}{named}"
    raise DataError(f"{place}: column {name!r}", rule, remedy)
