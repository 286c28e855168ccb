"""What decides a dataset, and the fingerprint of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from raresearch.data.dataset import FORMAT
from raresearch.data.files import FileSet
from raresearch.data.ingest import file_identity
from raresearch.data.mapping import complete
from raresearch.data.splits import Fractions
from raresearch.errors import DataError, nearest
from raresearch.experiment import Experiment, Files, parameters
from raresearch.types import Config, Value, digest, freeze

_OF_SIMULATION = ("data.events", "data.block")  # files ignore them, so they do not make another dataset


@dataclass(frozen=True)
class DataPlan:
    """An experiment's data under a study's ``config``, of which only the ``data.*`` names count.

    ``seed`` is the study's: it drives the simulator and the splits.
    """

    experiment: Experiment
    config: Config
    seed: int
    fractions: Fractions

    @cached_property
    def values(self) -> dict[str, Value]:
        """Every ``data.*`` name with its value; raises `DataError` for one that the experiment does not know."""
        known = {k: v for k, v in parameters(self.experiment).items() if k.startswith("data.")}
        given = {k: freeze(v) for k, v in self.config.items() if k.startswith("data.")}
        for name in given:
            if name not in known:
                raise DataError(name, f"is not a parameter of {self.experiment.name}", nearest(name, known))
        return {**known, **given}

    @cached_property
    def files(self) -> Files | None:
        """The experiment's files with their mapping completed from its schema, or None where it simulates."""
        files = self.experiment.dataset(self.values)
        return None if files is None else Files(tuple(files.paths), complete(files.mapping, self.experiment.schema()))

    @cached_property
    def file_set(self) -> FileSet | None:
        return None if self.files is None else FileSet.of(self.files.paths, bool(self.files.mapping.get("one_event_a_file")))

    @cached_property
    def fingerprint(self) -> str:
        """Digest of experiment, version, schema, ``data.*`` values, seed, fractions, and of files and mapping if any."""
        return digest({**self._identity, **self._files_identity})

    @property
    def _identity(self) -> dict[str, Any]:
        ignored = () if self.files is None else _OF_SIMULATION
        return {
            "format": FORMAT,
            "experiment": self.experiment.name,
            "version": self.experiment.version,
            "schema": self.experiment.schema().to_json(),
            "data": {k: v for k, v in self.values.items() if k not in ignored},
            "seed": self.seed,
            "fractions": self.fractions.to_json(),
        }

    @property
    def _files_identity(self) -> Mapping[str, Any]:
        if self.files is None or self.file_set is None:
            return {}
        return file_identity(self.file_set, self.files.mapping)
