"""The nouns: config, cell, pack, outcome, estimate, member. Frozen, small, picklable; no ray, no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from raresearch.errors import SealError, SelectionError, nearest

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...] | None"
Config: TypeAlias = Mapping[str, Value]  # flat: {"model.hidden": (32, 16), "train.learning_rate": 1e-3}
Array: TypeAlias = npt.NDArray[Any]

ONE_SIGMA = 0.682689492137086
PREFIXES = ("data.", "model.", "train.")
#: names of a config that decide how it is computed and not what comes out
MOOT = frozenset({"train.pack"})
#: names that came after the first studies, with the values at which a config says no more than one without them: cells keep
#: their keys
LATER: Mapping[str, Value] = {
    "train.window": 0,
    "train.micro_batches": 1,
    "train.channels_last": False,
    "train.compile": False,
}


def freeze(value: Any) -> Value:
    """Lists become tuples and NumPy scalars become Python's, so that equal values hash and print equally."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return tuple(freeze(v) for v in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a config holds numbers, strings, booleans and lists of them, not {type(value).__name__}")


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for the same content on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any, length: int = 16) -> str:
    """Hexadecimal SHA-256 of ``canonical(value)``, cut to ``length`` characters."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def deciding(config: Config) -> dict[str, Value]:
    """What of ``config`` decides the result."""
    return {n: v for n, v in config.items() if n not in MOOT and not (n in LATER and LATER[n] == v)}


def config_id(config: Config) -> str:
    """Short content hash of a config; neither the order of its names matters nor names that change no result."""
    return digest(deciding(config), 12)


@dataclass(frozen=True, slots=True)
class Cell:
    """One complete training, the atom: (config, fold, seed).

    ``seed`` counts the repeat (0, 1, …). ``epochs`` is the budget. ``identity`` carries what else decides the result:
    the experiment's version, the data's fingerprint, the number of folds and the study's seed. ``stream_key`` is the key
    without the budget: cells that differ in nothing else draw the same random numbers, so that the shorter one is the
    beginning of the longer one, bit for bit.
    """

    config: Config
    fold: int
    seed: int
    epochs: int
    identity: Mapping[str, Value]
    key: str = field(init=False)
    stream_key: str = field(init=False)

    def __post_init__(self) -> None:
        content = {
            # The budget stands for `train.epochs`, so that a shorter budget can be read off a longer training.
            "config": {k: v for k, v in deciding(self.config).items() if k != "train.epochs"},
            "fold": self.fold,
            "seed": self.seed,
            "identity": dict(self.identity),
        }
        object.__setattr__(self, "key", digest({**content, "epochs": self.epochs}, 24))
        object.__setattr__(self, "stream_key", digest(content, 24))

    def stream(self, study_seed: int, purpose: str) -> np.random.SeedSequence:
        """The named random stream of this cell: independent of scheduling, packing, machine and retry."""
        return named_stream(study_seed, self.stream_key, purpose)


def named_stream(study_seed: int, *names: str) -> np.random.SeedSequence:
    """A `SeedSequence` derived from a study's seed and names ("order", "dropout", …)."""
    words = np.frombuffer(hashlib.sha256("\x1f".join(names).encode()).digest()[:16], dtype="<u4")
    return np.random.SeedSequence([study_seed, *(int(w) for w in words)])


@dataclass(frozen=True, slots=True)
class Pack:
    """Cells that are handed to one worker together; ``why`` says why they form this pack."""

    cells: tuple[Cell, ...]
    why: str = ""


CellState: TypeAlias = Literal["done", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one cell. ``best_epoch`` and ``stop_epoch`` count from 1; 0 where there is none."""

    key: str
    state: CellState
    stop_epoch: int = 0
    best_epoch: int = 0
    best_val_loss: float | None = None
    seconds: float = 0.0
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Outcome:
        return cls(**content)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of merit with its interval.

    ``level`` is the interval's coverage (one sigma by default). ``n_effective`` is the effective number of events that
    limit the value (sum(w)^2 / sum(w^2) of, say, the background left after the cut). ``lower_limit`` is True where
    the background ran out and ``value`` is only a bound from below. ``threshold`` is the cut in use, if there is one.
    """

    value: float
    low: float
    high: float
    n_effective: float
    level: float = ONE_SIGMA
    method: str = ""
    lower_limit: bool = False
    threshold: float | None = None

    def __str__(self) -> str:
        sign = "≥ " if self.lower_limit else ""
        return f"{sign}{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an ensemble: the weights of ``cell`` after ``epoch`` (from 1)."""

    cell: str
    epoch: int
    weight: float = 1.0


@dataclass(frozen=True)
class EpochTable:
    """One row per (cell, epoch), columns as arrays of equal length. What selection rules read.

    Always there: ``cell``, ``config``, ``fold``, ``seed``, ``epoch``, ``train_loss``, ``val_loss``, ``val_accuracy``.
    Rows are ordered by (config, fold, seed, epoch). There is no test column and none can be asked for.
    """

    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Array:
        if name.startswith("test"):
            raise SealError(f"column {name!r}", "rules read validation only", "choose on a val_ column, then `unseal`")
        if name not in self.columns:
            raise SelectionError(f"column {name!r}", "the epochs do not have it", nearest(name, self.columns))
        return self.columns[name]

    def where(self, mask: Array) -> EpochTable:
        """The rows where ``mask`` (boolean, or row numbers) holds."""
        return EpochTable({name: column[mask] for name, column in self.columns.items()})

    def groups(self, *names: str) -> Iterator[tuple[tuple[Any, ...], EpochTable]]:
        """Tables of rows that agree in ``names``, in the order of first appearance."""
        if not len(self):
            return
        codes = np.zeros(len(self), dtype=np.int64)
        for name in names:
            _, inverse = np.unique(self[name], return_inverse=True)
            codes = codes * (int(inverse.max()) + 1) + inverse
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        bounds = np.r_[0, np.cumsum(np.bincount(inverse))]
        for g in np.argsort(first):
            rows = order[bounds[g] : bounds[g + 1]]
            yield tuple(_plain(self[n][rows[0]]) for n in names), self.where(rows)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
