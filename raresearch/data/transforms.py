"""Scaling of inputs, fitted on training events only.

Legend: N events; F features, the first axis after the event axis (a flat tensor's entries, an image's channels, as in torch).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from raresearch.errors import DataError, UserError, nearest
from raresearch.types import Array

Kind = Literal["none", "minmax", "standard"]
KINDS: tuple[Kind, ...] = ("none", "minmax", "standard")


@dataclass(frozen=True, slots=True, eq=False)
class Scaler:
    """``(x - shift) / scale`` per feature; ``shift`` and ``scale`` are (F,) float64.

    ``minmax`` maps the training events to [0, 1], ``standard`` to mean 0 and variance 1 (divided by N). A feature that
    is constant in training is shifted to 0 and not stretched.
    """

    kind: Kind
    shift: Array
    scale: Array

    @classmethod
    def fit(cls, kind: str, x: Array) -> Scaler:
        """Fit on training events ``x`` (N, F, …). Raises `UserError` for an unknown kind, `DataError` for no events."""
        if kind not in KINDS:
            raise UserError(f"scaling {kind!r}", "is not a scaling", nearest(kind, KINDS))
        if x.ndim < 2 or len(x) == 0:
            raise DataError("scaling", f"needs training events of shape (N, F, …), not {x.shape}")
        return _fitted(kind, x)

    def apply(self, x: Array) -> Array:
        """Scaled copy of ``x`` (N, F, …) as float32, computed in float64."""
        if self.kind == "none":
            return np.asarray(x, dtype=np.float32)
        if x.shape[1:2] != self.shift.shape:
            raise DataError("scaling", f"was fitted on {len(self.shift)} features, not on shape {x.shape[1:]}")
        wide = (-1,) + (1,) * (x.ndim - 2)
        return ((x - self.shift.reshape(wide)) / self.scale.reshape(wide)).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "shift": self.shift.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Scaler:
        return cls(content["kind"], np.array(content["shift"], dtype=float), np.array(content["scale"], dtype=float))


def _fitted(kind: str, x: Array) -> Scaler:
    axes = tuple(a for a in range(x.ndim) if a != 1)
    low, high = (np.asarray(f(x, axis=axes), dtype=np.float64) for f in (np.min, np.max))
    if kind == "standard":
        return settled(kind, low, high, x.mean(axis=axes, dtype=np.float64), x.std(axis=axes, dtype=np.float64))
    return settled(kind, low, high, low, high - low)


def settled(kind: str, low: Array, high: Array, shift: Array, scale: Array) -> Scaler:
    """The scaler of features (F,) whose training events lie between ``low`` and ``high``; a constant one is only shifted."""
    if kind == "none":
        return Scaler("none", np.zeros_like(low), np.ones_like(low))
    # Compared by extremes: rounding leaves a constant feature with a standard deviation of 1e-17, which would blow it up.
    constant = low == high
    return Scaler(kind, np.where(constant, low, shift), np.where(constant, 1.0, scale))  # type: ignore[arg-type]
