"""Stacking: a logistic regression on the members' out-of-fold logits, with weights of 0 and more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from raresearch.ensembles.base import Library, Per, ScoreSource, ordered, refuse_missing, without_scores
from raresearch.ensembles.candidates import Candidates, whole
from raresearch.ensembles.rules import Goal, refuse_empty, refuse_test
from raresearch.errors import SelectionError, SpecError
from raresearch.types import Array, EpochTable, Member, named_stream

#: strengths of the ridge that are tried, per event; 0.1 holds every weight near 0
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Stacking:
    """Weights of a logistic regression of the label on the members' logits (Wolpert 1992, doi 10.1016/S0893-6080(05)80023-1).

    The weights are 0 or more by default (Breiman 1996, doi 10.1007/BF00117832: without that, nearly equal members get large
    weights of opposite signs). A learner is a (config, seed): with folds, its folds' best epochs together score every
    event out of fold; without folds, its validation scores. The ``pool`` learners of best ``by`` take part. The ridge is the
    one of ``ridge``, or the one of the least log-loss on the left-out of ``parts`` parts of the validation events.
    Members whose weight comes out as 0 are left out; the ensemble is the weighted mean of logits.

    Raises `SelectionError` where a learner lacks a fold, and where no member helps.
    """

    by: str = "val_loss"
    goal: Goal | None = None
    pool: int = 30
    non_negative: bool = True
    ridge: float | None = None
    parts: int = 5
    seed: int = 0
    per: ClassVar[Per] = "study"
    combine: ClassVar[str] = "logits"
    needs_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        refuse_test(self.by)
        whole("pool", self.pool)
        whole("parts", self.parts, least=2)
        if self.ridge is not None and not (isinstance(self.ridge, (int, float)) and self.ridge >= 0):
            raise SpecError("ridge", f"{self.ridge!r} given, 0 or more is needed", "leave it out to have it chosen")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by, "config", "fold", "seed"})

    def keep(self, epochs: EpochTable) -> set[int]:
        return Candidates(1, None, self.by, self.goal).keep(epochs)

    def choose(self, epochs: EpochTable) -> list[Member]:
        refuse_empty(epochs)
        raise without_scores(self)

    def choose_scored(self, epochs: EpochTable, scores: ScoreSource) -> list[Member]:
        refuse_missing(self, epochs)
        candidates = Candidates(1, None, self.by, self.goal).table(epochs)
        learners = self._learners(candidates)
        table = candidates.where(np.asarray([row for rows in learners for row in rows]))
        features, label, weight = _features(table, learners, scores.libraries(table))
        weights = self._weights(features, label, weight)
        members = [
            Member(str(candidates["cell"][row]), int(candidates["epoch"][row]), float(w))
            for rows, w in zip(learners, weights, strict=True)
            for row in rows
            if w != 0
        ]
        if not members or sum(m.weight for m in members) <= 0:
            raise SelectionError("stacking", "no member lowers the log-loss", "use another rule: these scores do not separate")
        return ordered(members)

    def _learners(self, candidates: EpochTable) -> list[list[int]]:
        """Rows of each learner, one for each fold; best learner first."""
        learners: dict[tuple[str, int], list[int]] = {}
        for row, key in enumerate(zip(candidates["config"].tolist(), candidates["seed"].tolist(), strict=True)):
            learners.setdefault(key, []).append(row)
        folds = len(np.unique(candidates["fold"]))
        lacking = [key for key, rows in learners.items() if len(rows) != folds]
        if lacking:
            place = f"config {lacking[0][0]}, seed {lacking[0][1]}"
            raise SelectionError(place, f"has not all {folds} folds", "train it again (--retry-failed)")
        return list(learners.values())[: self.pool]

    def _weights(self, features_NL: Array, label: Array, weight: Array) -> Array:
        ridge = self.ridge if self.ridge is not None else self._chosen_ridge(features_NL, label, weight)
        return logistic(features_NL, label, weight, ridge, self.non_negative)[:-1]

    def _chosen_ridge(self, features_NL: Array, label: Array, weight: Array) -> float:
        rng = np.random.default_rng(named_stream(self.seed, "stacking", "parts"))
        part = np.empty(len(label), dtype=np.int64)
        for value in (0, 1):  # within each class, so that no part lacks one
            rows = np.flatnonzero(label == value)
            part[rows] = rng.permutation(len(rows)) % self.parts
        if min(np.bincount(label.astype(np.int64), minlength=2)) < self.parts:
            rule = f"fewer events of a class than {self.parts} parts"
            raise SelectionError("stacking", rule, "give fewer `parts`, or a `ridge`")

        losses = np.zeros(len(RIDGES))
        for number in range(self.parts):
            inside, outside = part != number, part == number
            fitted = None
            for place in reversed(range(len(RIDGES))):  # from the strongest: each solution starts the next
                given = features_NL[inside], label[inside], weight[inside], RIDGES[place]
                fitted = logistic(*given, self.non_negative, fitted, tolerance=1e-6)
                z = features_NL[outside] @ fitted[:-1] + fitted[-1]
                losses[place] += float(weight[outside] @ (np.logaddexp(0, z) - label[outside] * z))
        return RIDGES[int(np.argmin(losses))]


def _features(table: EpochTable, learners: Sequence[Sequence[int]], libraries: Sequence[Library]) -> tuple[Array, Array, Array]:
    """(N, L) logits of each learner for the labelled events of all folds, their labels (0, 1) and weights."""
    learner_of = np.repeat(np.arange(len(learners)), [len(rows) for rows in learners])
    blocks, labels, weights = [], [], []
    for library in libraries:
        columns = learner_of[library.rows]
        if len(np.unique(columns)) != len(learners) or len(columns) != len(learners):
            rule = f"not every learner scored the events {library.events}"
            raise SelectionError("stacking", rule, "stack configs that share one dataset and its folds")
        counted = (library.label >= 0) & (library.weight > 0)
        blocks.append(library.logits[np.argsort(columns)][:, counted].T.astype(np.float64))
        labels.append(library.label[counted])
        weights.append(library.weight[counted])
    label = np.concatenate(labels)
    if len(np.unique(label)) < 2:
        raise SelectionError("stacking", "validation has one class only", "give signal and background events")
    return np.concatenate(blocks), label.astype(np.float64), np.concatenate(weights)


def logistic(
    features_NL: Array,
    label: Array,
    weight: Array,
    ridge: float,
    non_negative: bool,
    start: Array | None = None,
    tolerance: float = 1e-11,
) -> Array:
    """(L + 1,) weights, then the offset, of the least mean log-loss plus ridge/2 · Σw²; the offset is free.

    Convex; solved by L-BFGS-B with its bounds (doi 10.1137/0916069). Equals scikit-learn's `LogisticRegression` with
    C = 1/(ridge · Σweight) where the bounds are off.
    """
    share = weight / weight.sum()

    def loss(p: Array) -> tuple[float, Any]:
        z = features_NL @ p[:-1] + p[-1]
        small = np.exp(-np.abs(z))  # one exponential serves the logistic function and its logarithm
        residual = share * (np.where(z >= 0, 1.0, small) / (1.0 + small) - label)
        gradient = np.r_[residual @ features_NL + ridge * p[:-1], residual.sum()]
        softplus = np.maximum(z, 0.0) + np.log1p(small)
        return float(share @ (softplus - label * z) + 0.5 * ridge * (p[:-1] @ p[:-1])), gradient

    n = features_NL.shape[1]
    bounds = [(0.0 if non_negative else None, None)] * n + [(None, None)]
    begin = np.r_[np.full(n, 1.0 / n), 0.0] if start is None else start
    options = {"maxiter": 500, "ftol": tolerance, "gtol": 10 * tolerance}
    from scipy.optimize import minimize  # here: its import takes a third of a second, and few selections stack

    return np.asarray(minimize(loss, begin, jac=True, bounds=bounds, method="L-BFGS-B", options=options).x)
