"""Scoring from a study's folder, with torch and the experiment's own code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from raresearch import plugins
from raresearch.deploy.card import estimates, seal_card, threshold
from raresearch.deploy.frozen import Chosen, Frozen, freeze_choice, pick
from raresearch.deploy.scorer import CHUNK, checked_inputs
from raresearch.experiment import TensorField
from raresearch.types import Array

if TYPE_CHECKING:
    from raresearch.ensembles.operating import OperatingPoint


class StoredScorer:
    """A `Scorer` of one ensemble of a choice; see `raresearch.deploy.export.export_choice` for the arguments."""

    def __init__(
        self,
        chosen: Chosen,
        *,
        config: str | None = None,
        seed: int | None = None,
        fold: int | None = None,
        cut: str | OperatingPoint | None = None,
    ) -> None:
        self.frozen: Frozen = freeze_choice(chosen, pick(chosen, config, seed, fold))
        about = chosen.store.about()
        self._fixed = threshold(chosen, estimates(chosen, self.frozen)[0], cut)
        experiment = about["experiment"]
        self._origin = {
            "study": {name: about.get(name) for name in ("study", "scale", "identity", "created")},
            "experiment": {name: experiment[name] for name in ("name", "version", "simulated", "cites")},
            "stamp": f"simulated by {experiment['name']} v{experiment['version']}" if experiment["simulated"] else "",
            "choice": chosen.hash,
            "threshold": self._fixed,
            "seal": seal_card(chosen),
            "bundle": None,
        }

    def __getstate__(self) -> dict[str, Any]:
        module = sys.modules[type(self.frozen.experiment).__module__]
        if plugins.from_file(module):  # workers cannot import a user's file by name
            import ray

            ray.cloudpickle.register_pickle_by_value(module)
        return {name: value for name, value in vars(self).items() if name != "_module"}

    @property
    def inputs(self) -> tuple[TensorField, ...]:
        return self.frozen.schema.tensors

    @property
    def threshold(self) -> float | None:
        return None if self._fixed is None else float(self._fixed["value"])

    @property
    def origin(self) -> Mapping[str, Any]:
        return self._origin

    @cached_property
    def _module(self) -> Any:
        from raresearch.deploy.module import EnsembleModule

        return EnsembleModule(self.frozen)

    def score(self, inputs: Mapping[str, Array]) -> Array:
        """Scores (N,) float64 of ``inputs`` name → (N, *S); raises `DataError` for events that do not fit."""
        import torch

        checked = checked_inputs(self.inputs, inputs)
        n = len(next(iter(checked.values())))
        scores = np.empty(n)
        with torch.no_grad():
            for start in range(0, n, CHUNK):
                # torch.tensor copies: Arrow's and Ray's memory is read-only, which torch warns about.
                part = {name: torch.tensor(x[start : start + CHUNK]) for name, x in checked.items()}
                scores[start : start + CHUNK] = self._module(part).numpy()
        return scores
