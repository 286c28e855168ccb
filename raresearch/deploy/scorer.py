"""What scores events, and what events must look like. Legend: N events, *S a tensor's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from raresearch.data.blocks import refuse_non_finite
from raresearch.errors import DataError, PluginError, nearest
from raresearch.experiment import TensorField
from raresearch.types import Array

CHUNK = 8192  # events scored at once, as in training: bounds memory whatever the block's size


class Scorer(Protocol):
    """A frozen ensemble. Picklable: it travels to workers once."""

    @property
    def inputs(self) -> tuple[TensorField, ...]:
        """The tensors of an event."""

    @property
    def threshold(self) -> float | None:
        """Events with score >= threshold are accepted; None where validation fixed no cut."""

    @property
    def origin(self) -> Mapping[str, Any]:
        """What the ensemble is, as JSON: study, experiment, choice, stamp."""

    def score(self, inputs: Mapping[str, Array]) -> Array:
        """Scores (N,) float64 of ``inputs`` name → (N, *S). Raises `DataError` for events that do not fit."""


def checked_inputs(fields: Sequence[TensorField], inputs: Mapping[str, Array], place: str = "events") -> dict[str, Array]:
    """``inputs`` in the order of ``fields``, each (N, *S) in the network's input dtype.

    Raises `DataError` for a missing or unknown tensor, another shape, text, unequal lengths, NaN or infinity.
    """
    known = [f.name for f in fields]
    for name in inputs:
        if name not in known:
            raise DataError(f"{place}: tensor {name!r}", "is not an input of this ensemble", nearest(name, known))
    checked = {}
    for field in fields:
        if field.name not in inputs:
            raise DataError(f"{place}: tensor {field.name!r}", "is missing", f"the ensemble reads {', '.join(known)}")
        checked[field.name] = _checked(field, np.asarray(inputs[field.name]), place)
    lengths = {name: len(x) for name, x in checked.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(place, f"tensors differ in length: {lengths}", "one entry for each event")
    return checked


def _checked(field: TensorField, x: Array, place: str) -> Array:
    where = f"{place}: tensor {field.name!r}"
    if x.ndim == 0 or x.shape[1:] != field.shape:
        rule = f"has shape {x.shape}, must be (events, {', '.join(map(str, field.shape))})"
        raise DataError(where, rule, f"its entries are {', '.join(field.columns)}" if field.columns else "")
    if x.dtype.kind not in "biuf":
        raise DataError(where, f"holds {x.dtype}, must hold numbers ({field.dtype})")
    # Through the stored dtype, as training events went: a float64 that lay in the dataset as float32 must round the same way.
    with np.errstate(over="ignore", invalid="ignore"):
        stored = x.astype(field.dtype, copy=False)
    if stored.dtype.kind in "biu" and not np.array_equal(stored, x):
        raise DataError(where, f"{x.dtype} values do not fit {field.dtype}", "these are whole numbers in the training data")
    if len(stored):
        refuse_non_finite(field.name, stored, place, "leave such events out", field.columns)
    return stored.astype(network_dtype(field), copy=False)


def network_dtype(field: TensorField) -> str:
    """What a network is handed: float64 where events are stored so (scaling may need it), else float32."""
    return "float64" if field.dtype == "float64" else "float32"


def require(*packages: str) -> None:
    """Raise `PluginError` where an optional package is missing."""
    for name in packages:
        if find_spec(name) is None:
            raise PluginError(f"package {name!r}", "is needed here and not installed", "pip install 'raresearch[export]'")
