"""One fold's events as arrays, ready for training. Legend: N events, *S a tensor's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from raresearch.data.dataset import Dataset, Events
from raresearch.data.ondisk import Stored, chosen, joined
from raresearch.data.residence import Kind, Residence, tensor_bytes
from raresearch.data.splits import SPLITS, folds
from raresearch.data.unpacked import on_disk
from raresearch.errors import DataError
from raresearch.types import Array, Config

WINDOWS = 4  # of a windowed order under way at a time: one in use, one for each of two readers, one that is being shuffled


@dataclass(frozen=True)
class Sample:
    """Events in memory or on disk: ``inputs`` name → (N, *S); ``label`` (N,) int8, ``weight`` (N,) float64, None where sealed."""

    inputs: Mapping[str, Stored]
    label: Array | None = None
    weight: Array | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class FoldData:
    """What one cell may see: training and validation with labels, test without.

    ``validation_events`` and ``test_events`` name the event lists in the store.
    """

    train: Sample
    validation: Sample
    test: Sample
    validation_events: str
    test_events: str


@dataclass(frozen=True)
class Loaded:
    """A dataset's splits: plain arrays, put once into Ray's object store and mapped by every worker, or, where they are
    not ``resident``, arrays on disk, which every worker opens itself."""

    fingerprint: str
    train: Events
    validation: Events
    test: Events
    kind: Kind = "resident"


def load(dataset: Dataset, residence: Residence = Residence("resident")) -> Loaded:  # noqa: B008 - frozen
    """Open every split of ``dataset``; the test split comes without labels, they lie elsewhere."""
    kind = residence.of(tensor_bytes(dataset.schema, dataset.counts))
    train, validation, test = (
        dataset.events(split) if kind == "resident" else on_disk(dataset, split, streamed=kind == "streamed")
        for split in SPLITS
    )
    return Loaded(dataset.fingerprint, train, validation, test, kind)


def smallest_training(loaded: Loaded, of: int, seed: int) -> int:
    """Events that train in the fold that has the fewest."""
    label = _required(loaded.train.label)
    if of == 1:
        return int((label >= 0).sum())
    ids, classes, labels = (
        np.concatenate([_required(getattr(each, name)) for each in (loaded.train, loaded.validation)])
        for name in ("event_id", "class_number", "label")
    )
    number = folds(ids, classes, of, seed)[labels >= 0]
    return int(len(number) - np.bincount(number, minlength=of).max())


def refuse_large_batch(config: Config, events: int) -> None:
    """Raise `DataError` where ``train.batch_size`` is above the number of training ``events``."""
    size = int(config["train.batch_size"])  # type: ignore[arg-type]
    if size > events:
        rule = f"is more than the {events} events that train"
        raise DataError(f"train.batch_size: {size}", rule, f"give {events} or fewer, more events, or a larger train split")


def refuse_wide_window(config: Config, loaded: Loaded, residence: Residence) -> None:
    """Raise `DataError` where the windows that are under way at a time take more memory than events may."""
    window = int(config.get("train.window", 0))  # type: ignore[arg-type]
    row = sum(c.dtype.itemsize * int(np.prod(c.shape[1:])) for c in loaded.train.tensors.values())
    needed = WINDOWS * min(window, len(loaded.train)) * row
    if loaded.kind == "streamed" and needed > residence.limit:
        rule = f"{WINDOWS} windows take {needed / 1e9:.2f} GB of the {residence.limit / 1e9:.2f} GB that events may take"
        fitting = residence.limit // (WINDOWS * row)
        raise DataError(f"train.window: {window}", rule, f"give {fitting} or fewer, or raise execution.data_memory")


def validation_name(fingerprint: str, fold: int, of: int) -> str:
    return f"{fingerprint}-validation" if of == 1 else f"{fingerprint}-fold-{fold}-of-{of}"


def fold_events(loaded: Loaded, fold: int, of: int, seed: int) -> tuple[Events, Events]:
    """(train, validation) events of ``fold``. ``of`` = 1: the dataset's own splits. Else: k folds over both together."""
    if of == 1:
        return loaded.train, loaded.validation
    pool = concatenate(loaded.train, loaded.validation)
    number = folds(pool.event_id, _required(pool.class_number), of, seed)
    return take(pool, number != fold), take(pool, number == fold)


def fold_data(loaded: Loaded, fold: int, of: int, seed: int) -> FoldData:
    """The arrays of one fold. Spectators leave the training sample; they stay in validation to be scored."""
    train, validation = fold_events(loaded, fold, of, seed)
    label = _required(train.label)
    train = take(train, label >= 0)
    for name, events in (("training", train), ("validation", validation)):
        present = set(np.unique(_required(events.label)).tolist()) & {0, 1}
        if present != {0, 1}:
            missing = "background" if 0 not in present else "signal"
            raise DataError(
                f"{name} events of fold {fold}", f"no {missing} among them", "more events, fewer folds, or other splits"
            )
    return FoldData(
        train=Sample(train.tensors, train.label, train.weight),
        validation=Sample(validation.tensors, validation.label, validation.weight),
        test=Sample(loaded.test.tensors),
        validation_events=validation_name(loaded.fingerprint, fold, of),
        test_events=f"{loaded.fingerprint}-test",
    )


def take(events: Events, mask: Array) -> Events:
    """The events where ``mask`` holds, in their order, or those of its numbers; tensors on disk are not read."""

    def cut(column: Array | None) -> Array | None:
        return None if column is None else column[mask]

    return Events(
        event_id=events.event_id[mask],
        tensors={n: chosen(a, mask) for n, a in events.tensors.items()},
        observers={n: a[mask] for n, a in events.observers.items()},
        label=cut(events.label),
        class_number=cut(events.class_number),
        weight=cut(events.weight),
    )


def concatenate(a: Events, b: Events) -> Events:
    """Both samples, ordered by event id, so that the order does not depend on which split an event came from."""

    def both(x: Array | None, y: Array | None) -> Array | None:
        return None if x is None or y is None else np.concatenate([x, y])

    together = Events(
        event_id=np.concatenate([a.event_id, b.event_id]),
        tensors={n: joined([v, b.tensors[n]]) for n, v in a.tensors.items()},
        observers={n: np.concatenate([v, b.observers[n]]) for n, v in a.observers.items()},
        label=both(a.label, b.label),
        class_number=both(a.class_number, b.class_number),
        weight=both(a.weight, b.weight),
    )
    return take(together, np.argsort(together.event_id, kind="stable"))


def _required(column: Array | None) -> Array:
    if column is None:
        raise DataError("events", "these carry no labels", "test labels are sealed; train and validation have them")
    return column
