"""Binned models with one signal and several backgrounds, and what they are compared with.

Legend for axes: B models (or toys) that are worked on together, P backgrounds, K bins.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from raresearch.errors import DataError
from raresearch.types import Array

#: background that a bin with signal is given where its templates have none: such a bin would be a discovery by one event
FLOOR = 1e-9


@dataclass(frozen=True)
class Models:
    """B models of Poisson counts: ν_k = μ s_k + γ_k Σ_p exp(α_p ln κ_p) b_pk.

    ``signal`` (B, K): events at strength μ = 1. ``backgrounds`` (B, P, K): expected events. ``relative`` (P,): relative
    uncertainty of each background's normalisation, κ_p = 1 + relative_p with a standard normal constraint on α_p; 0 holds it.
    ``tau`` (K,) or None: a Poisson constraint on γ_k with expectation τ_k γ_k, τ = (b/σ_b)² for a bin known to σ_b; None: γ = 1.

    Raises `DataError` for shapes that differ, negative or non-finite entries, or a model without signal.
    """

    signal: Array
    backgrounds: Array
    relative: Array
    tau: Array | None = None

    def __post_init__(self) -> None:
        s, b = np.asarray(self.signal, dtype=np.float64), np.asarray(self.backgrounds, dtype=np.float64)
        relative = np.asarray(self.relative, dtype=np.float64)
        if s.ndim != 2 or b.ndim != 3 or b.shape[0] != len(s) or b.shape[2] != s.shape[1] or relative.shape != b.shape[1:2]:
            shapes = f"signal {s.shape}, backgrounds {b.shape}, relative {relative.shape}"
            raise DataError("limits: templates", f"{shapes} given, (B, K), (B, P, K) and (P,) are needed")
        tau = None if self.tau is None else np.asarray(self.tau, dtype=np.float64)
        if tau is not None and tau.shape != s.shape[1:]:
            raise DataError("limits: tau", f"shape {tau.shape} given, one number a bin, {s.shape[1:]}, is needed")
        for name, array in (("signal", s), ("backgrounds", b), ("relative", relative), ("tau", tau)):
            if array is not None and not (np.isfinite(array) & (array >= 0)).all():
                raise DataError(
                    f"limits: {name}", "negative, NaN or infinite entries", "templates are expected numbers of events"
                )
        if not (s.sum(axis=1) > 0).all():
            raise DataError("limits: signal", "no signal event is expected", "loosen the cut, or give more signal events")
        b = np.where((b.sum(axis=1, keepdims=True) <= 0) & (np.arange(b.shape[1]) == 0)[:, None], FLOOR, b)
        for name, array in (("signal", s), ("backgrounds", b), ("relative", relative), ("tau", tau)):
            object.__setattr__(self, name, array)

    @classmethod
    def one(
        cls, signal: npt.ArrayLike, backgrounds: npt.ArrayLike, relative: npt.ArrayLike, tau: npt.ArrayLike | None = None
    ) -> Models:
        """A single model: ``signal`` (K,), ``backgrounds`` (P, K)."""
        return cls(
            np.asarray(signal)[None],
            np.asarray(backgrounds)[None],
            np.asarray(relative),
            None if tau is None else np.asarray(tau),
        )

    @property
    def size(self) -> int:
        """B."""
        return len(self.signal)

    def repeated(self, times: int) -> Models:
        """The single model ``times`` times, to meet as many observations."""
        return Models(
            np.repeat(self.signal, times, axis=0), np.repeat(self.backgrounds, times, axis=0), self.relative, self.tau
        )

    def where(self, rows: Array) -> Models:
        """The models of ``rows``."""
        return Models(self.signal[rows], self.backgrounds[rows], self.relative, self.tau)


@dataclass(frozen=True)
class Observations:
    """What was counted, ``counts`` (B, K), and where the constraints are centred: ``alpha`` (B, P), 0 by default, and
    ``gamma`` (B, K), 1 by default. Asimov data sets hold expectations in place of counts."""

    counts: Array
    alpha: Array = field(default_factory=lambda: np.zeros((1, 1)))
    gamma: Array = field(default_factory=lambda: np.ones((1, 1)))

    @classmethod
    def one(cls, counts: npt.ArrayLike) -> Observations:
        """Counts (K,) of one experiment with nominal constraints."""
        return cls(np.asarray(counts, dtype=np.float64)[None])


def background_only(models: Models) -> Observations:
    """The background-only Asimov data set at nominal nuisance parameters: counts (B, K) are the expected background."""
    return Observations(models.backgrounds.sum(axis=1))


def expectation(models: Models, mu: Array, alpha: Array) -> tuple[Array, Array]:
    """Signal μ s (B, K) and each background at ``alpha`` (B, P): (B, P, K); γ is left out."""
    scale = np.exp(alpha * np.log1p(models.relative))
    return mu[:, None] * models.signal, scale[:, :, None] * models.backgrounds
