"""One fold's events as arrays, ready for training. Legend: N events, *S a tensor's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from raresearch.data.dataset import Dataset, Events
from raresearch.data.splits import folds
from raresearch.errors import DataError
from raresearch.types import Array


@dataclass(frozen=True)
class Sample:
    """Events in memory: ``inputs`` name → (N, *S); ``label`` (N,) int8, ``weight`` (N,) float64, None where sealed."""

    inputs: Mapping[str, Array]
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
    """A dataset's splits as plain arrays: what is put once into Ray's object store and mapped by every worker."""

    fingerprint: str
    train: Events
    validation: Events
    test: Events


def load(dataset: Dataset) -> Loaded:
    """Read every split of ``dataset``; the test split comes without labels, they lie elsewhere."""
    return Loaded(dataset.fingerprint, dataset.events("train"), dataset.events("validation"), dataset.events("test"))


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
    """The events where ``mask`` holds, in their order."""

    def cut(column: Array | None) -> Array | None:
        return None if column is None else column[mask]

    return Events(
        event_id=events.event_id[mask],
        tensors={n: a[mask] for n, a in events.tensors.items()},
        observers={n: a[mask] for n, a in events.observers.items()},
        label=cut(events.label),
        class_number=cut(events.class_number),
        weight=cut(events.weight),
    )


def concatenate(a: Events, b: Events) -> Events:
    """Both samples, ordered by event id, so that the order does not depend on which split an event came from."""

    def both(x: Array | None, y: Array | None) -> Array | None:
        return None if x is None or y is None else np.concatenate([x, y])

    joined = Events(
        event_id=np.concatenate([a.event_id, b.event_id]),
        tensors={n: np.concatenate([v, b.tensors[n]]) for n, v in a.tensors.items()},
        observers={n: np.concatenate([v, b.observers[n]]) for n, v in a.observers.items()},
        label=both(a.label, b.label),
        class_number=both(a.class_number, b.class_number),
        weight=both(a.weight, b.weight),
    )
    return take(joined, np.argsort(joined.event_id, kind="stable"))


def _required(column: Array | None) -> Array:
    if column is None:
        raise DataError("events", "these carry no labels", "test labels are sealed; train and validation have them")
    return column
