"""The one class that a user subclasses: a detector's data, network, loss and figures of merit.

Importing this module loads neither ray nor torch; the default loss imports torch when it is first called.

Legend for axes: B events of a batch, N events of a block, any further axes belong to a tensor's ``shape``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from raresearch.errors import DataError, nearest
from raresearch.types import Array, Config, Value

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class TensorField:
    """One input tensor of an event: ``shape`` without the event axis; ``columns`` names the entries of a flat tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    columns: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Schema:
    """What an event consists of.

    ``classes`` are the species by number (column ``class`` holds 0, 1, …). ``signal`` and ``background`` name those that
    are trained on and enter figures of merit (label 1 and 0); the others are spectators (label -1): scored, never trained on.
    ``observers`` are label-free scalars kept with each event (charge, radius, …) to plot efficiencies against.
    """

    tensors: tuple[TensorField, ...]
    classes: tuple[str, ...]
    signal: tuple[str, ...]
    background: tuple[str, ...]
    observers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (*self.signal, *self.background):
            if name not in self.classes:
                raise DataError(f"schema: class {name!r}", "must be one of `classes`", nearest(name, self.classes))
        if set(self.signal) & set(self.background):
            raise DataError("schema", "a class cannot be signal and background at once")
        names = [t.name for t in self.tensors] + list(self.observers)
        clash = {n for n in names if names.count(n) > 1} | ({*names} & RESERVED)
        if clash:
            raise DataError(f"schema: {sorted(clash)}", "names must be unique and not reserved", "rename the column")

    def labels(self, class_number: Array, spectator: Array | None = None) -> Array:
        """Label (int8: 1 signal, 0 background, -1 spectator) of each event of ``class_number``, shape (N,)."""
        table = np.full(len(self.classes), -1, dtype=np.int8)
        for number, name in enumerate(self.classes):
            if name in self.signal:
                table[number] = 1
            elif name in self.background:
                table[number] = 0
        labels: Array = table[np.asarray(class_number, dtype=np.int64)]
        if spectator is not None:
            labels = np.where(spectator, np.int8(-1), labels).astype(np.int8)
        return labels

    def to_json(self) -> dict[str, Any]:
        return {
            "tensors": [
                {"name": t.name, "shape": list(t.shape), "dtype": t.dtype, "columns": list(t.columns)} for t in self.tensors
            ],
            "classes": list(self.classes),
            "signal": list(self.signal),
            "background": list(self.background),
            "observers": list(self.observers),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Schema:
        return cls(
            tensors=tuple(
                TensorField(t["name"], tuple(t["shape"]), t["dtype"], tuple(t["columns"])) for t in content["tensors"]
            ),
            classes=tuple(content["classes"]),
            signal=tuple(content["signal"]),
            background=tuple(content["background"]),
            observers=tuple(content["observers"]),
        )


RESERVED = frozenset({"event_id", "class", "label", "weight", "spectator", "split", "fold"})


@dataclass(frozen=True, slots=True)
class Files:
    """Events that lie in files: what `Experiment.dataset` returns in place of a simulator.

    ``paths``: files, or one folder; ``mapping``: the reader's instructions, as in the YAML of `raresearch ingest`
    (see `raresearch.data.mapping`): which branches make which tensor, which column holds the class.
    """

    paths: tuple[str, ...]
    mapping: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a loss sees: ``inputs`` name → (B, *shape), ``label`` (B,) float 0/1, ``weight`` (B,) float."""

    inputs: Mapping[str, torch.Tensor]
    label: torch.Tensor
    weight: torch.Tensor


class ScoredEvents(Protocol):
    """Events as an ensemble scores them; all arrays (N,). ``label`` is 1 signal, 0 background, -1 spectator."""

    @property
    def event_id(self) -> Array: ...
    @property
    def scores(self) -> Array: ...
    @property
    def label(self) -> Array: ...
    @property
    def weight(self) -> Array: ...
    @property
    def class_number(self) -> Array: ...
    @property
    def observers(self) -> Mapping[str, Array]: ...


@dataclass(frozen=True)
class Findings:
    """What `Experiment.read_out` is given: the best config of a study, its events, and how its ensembles score them.

    ``events``: "train", "validation" and "test" → events with ``event_id``, ``tensors`` and ``class_number`` (None in test: it
    is sealed). ``scored``: "validation" and, once unsealed, "test" → one entry an ensemble (a repeat, or a fold of one).
    ``every``: the same of each config by its label, read when it is asked for, without test and with ``every`` empty.
    ``state()``: parameters and buffers of the first ensemble's first member by name; None where the study keeps no weights.
    """

    config: Config
    events: Mapping[str, Any]
    scored: Mapping[str, Sequence[ScoredEvents]]
    every: Mapping[str, Findings] = field(default_factory=dict)
    state: Callable[[], Mapping[str, Array] | None] = lambda: None


@dataclass(frozen=True)
class ReadOut:
    """A table for the report. Entries of ``rows`` are text or numbers; ``note`` says what a reader must know besides."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    note: str = ""


class Experiment:
    """Subclass this; one file is enough. Instances hold no state: every method is a function of its arguments.

    Obligations: methods run in worker processes and may be called in any order and any number of times; randomness comes
    from the ``rng`` given, or, in `model` and in layers such as dropout, from torch's global generator, which the trainer
    seeds for each cell. ``version`` changes whenever a change of the code changes results: cells of another version are
    other cells.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    #: every `data.*` and `model.*` name that a study may set, with its default (`train.*` names come with the trainer)
    defaults: ClassVar[Mapping[str, Value]] = {}
    #: one line for each `defaults` name: meaning, unit, provenance ([P] paper, [R] reference, [A] assumed, [T] tuned)
    described: ClassVar[Mapping[str, str]] = {}
    #: figures of merit reported besides the study's objective
    figures_of_merit: ClassVar[tuple[str, ...]] = ("roc_auc",)
    #: a CSV beside the module with the publication's figures (columns label, value, spread, best_epoch): shown in columns
    #: headed `paper`, read by nothing else
    paper: ClassVar[str] = ""
    #: BibTeX keys or DOIs of what this experiment stands on
    cites: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema:
        """The tensors, classes and observers of an event."""
        raise NotImplementedError(f"{type(self).__name__}.schema")

    def simulate(self, config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Exactly ``n`` events: each tensor (n, *shape), ``class`` (n,) numbers into ``schema().classes``, each observer
        (n,), and if wanted ``weight`` (n,) and ``spectator`` (n,) bool (events to score but neither train on nor count).

        Called once per block, in any process; ``rng`` is the block's own stream.
        """
        raise NotImplementedError(f"{type(self).__name__}.simulate")

    def dataset(self, config: Config) -> Files | None:
        """One's own files instead of `simulate`; None (the default) means: simulate."""
        return None

    def model(self, config: Config) -> nn.Module:
        """The network. Its output's last axis of size 1 is squeezed; by default it is the logit of the signal."""
        raise NotImplementedError(f"{type(self).__name__}.model")

    def forward(self, model: nn.Module, inputs: Mapping[str, torch.Tensor], config: Config) -> torch.Tensor:
        """The network applied to a batch. One tensor is passed as is, several by name."""
        if len(inputs) == 1:
            return model(next(iter(inputs.values())))  # type: ignore[no-any-return]
        return model(**inputs)  # type: ignore[no-any-return]

    def loss(self, output: torch.Tensor, batch: Batch, config: Config) -> torch.Tensor:
        """Scalar loss of a batch; the default is weighted binary cross-entropy on logits."""
        from torch.nn import functional

        logit = self.logit(output, config)
        each = functional.binary_cross_entropy_with_logits(logit, batch.label, reduction="none")
        return (each * batch.weight).sum() / batch.weight.sum()

    def logit(self, output: torch.Tensor, config: Config) -> torch.Tensor:
        """Score of each event on the logit scale, (B,): what the store keeps. Default: the output without its last axis."""
        return output.squeeze(-1)

    def augment(self, inputs: Mapping[str, torch.Tensor], config: Config) -> Mapping[str, torch.Tensor]:
        """Random changes of a training batch, on its device, with torch's generator; the default changes nothing."""
        return inputs

    def read_out(self, findings: Findings) -> Sequence[ReadOut]:
        """Tables that only this experiment can make, such as its conventional analysis beside the network.

        Called once a study has been run and after each unsealing, in the driver, with the best config on validation. The
        default makes none.
        """
        return ()

    def optimizer(self, parameters: Any, config: Config) -> torch.optim.Optimizer | None:
        """An optimiser of one's own; None (the default) means the trainer's, named by `train.optimizer`."""
        return None

    @property
    def simulated(self) -> bool:
        """True where events come from `simulate`: every page that shows them says so."""
        return type(self).dataset is Experiment.dataset


#: what every experiment understands, with defaults; `described` below says what each means
COMMON_DEFAULTS: Mapping[str, Value] = {
    "data.events": 10_000,
    "data.block": 2_000,
    "train.epochs": 100,
    "train.batch_size": 32,
    "train.learning_rate": 1e-3,
    "train.optimizer": "adam",
    "train.beta1": 0.9,
    "train.beta2": 0.999,
    "train.weight_decay": 0.0,
    "train.patience": 0,
    "train.scaling": "none",
    "train.precision": "float32",
    "train.pack": "auto",
    "train.window": 0,
    "train.micro_batches": 1,
    "train.channels_last": False,
    "train.compile": False,
}

COMMON_DESCRIBED: Mapping[str, str] = {
    "data.events": "number of events to simulate, all classes and splits together (ignored where events come from files)",
    "data.block": "events per simulated block: one block, one random stream, one task",
    "train.epochs": "largest number of epochs (passes over the training events)",
    "train.batch_size": "events per optimiser step; the last, shorter batch of an epoch is used too",
    "train.learning_rate": "step size of the optimiser",
    "train.optimizer": "adam, adamw, sgd or rmsprop",
    "train.beta1": "Adam's first decay rate; the momentum of sgd and rmsprop",
    "train.beta2": "Adam's second decay rate",
    "train.weight_decay": "L2 term: added to the gradient (adam, sgd, rmsprop) or decoupled (adamw)",
    "train.patience": "epochs without a new lowest validation loss before stopping; 0: never stop early",
    "train.scaling": "none, minmax or standard: per feature, fitted on the training events only",
    "train.precision": "float32, float64 (slower; for comparisons) or bfloat16 (the network's products; all else in float32)",
    "train.pack": "trainings of one shape at a time in one worker: auto, off or a number; changes no result",
    "train.window": "events among which an epoch's order is random, for events read from disk in runs; 0: all of them",
    "train.micro_batches": "pieces in which each batch is computed, a power of two: less memory, or several workers for one cell",
    "train.compile": "the network through torch.compile: faster steps after minutes of compiling; other last bits",
    "train.channels_last": "images with their channels innermost, which some GPUs compute faster",
}


def parameters(experiment: Experiment) -> dict[str, Value]:
    """Every name that a config of ``experiment`` may hold, with its default."""
    return {**COMMON_DEFAULTS, **experiment.defaults}
