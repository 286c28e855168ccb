"""An experiment's plan becomes a dataset: simulated, or read from its files."""

from __future__ import annotations

from pathlib import Path

from raresearch.data.blocks import SimulatedBlocks
from raresearch.data.dataset import Dataset
from raresearch.data.engines import Engine, Progress, check_engine
from raresearch.data.ingest import land_files, provenance
from raresearch.data.mapping import Mapping
from raresearch.data.plan import DataPlan
from raresearch.data.produce import Origin, existing, produce
from raresearch.errors import DataError


def prepare(plan: DataPlan, root: Path, *, engine: Engine, progress: Progress | None = None) -> Dataset:
    """The dataset of ``plan`` under ``root``: returned at once if it has landed, otherwise made.

    ``engine`` "ray" runs the blocks through Ray Data on the cluster that the caller has initialised (``root`` must lie on a
    file system that all nodes share; a user's own module must be registered with
    ``ray.cloudpickle.register_pickle_by_value``); "local" runs them here; "auto" decides after the first block. All give the
    same bytes. ``progress(done, total)`` counts blocks.

    Raises `DataError` for events that cannot be used, `StoreError` where ``root`` cannot be written (a full disk among the
    reasons), `UserError` where Ray is not running. Whatever is raised, KeyboardInterrupt too, nothing half-written stays.
    """
    check_engine(engine)
    root = Path(root)
    if plan.files is not None and plan.file_set is not None:
        origin = _origin(plan, provenance(plan.file_set, plan.files.mapping))
        mapping = Mapping.parse(plan.files.mapping)
        return land_files(plan.file_set, mapping, plan.experiment.schema(), origin, root, engine, progress)
    return existing(root, plan.fingerprint) or _simulate(plan, root, engine, progress)


def _simulate(plan: DataPlan, root: Path, engine: Engine, progress: Progress | None) -> Dataset:
    kind = type(plan.experiment)
    events, size = (_positive(plan, name) for name in ("data.events", "data.block"))
    blocks = SimulatedBlocks(plan.experiment, plan.values, plan.seed, plan.fractions, events, size)
    by = f"{kind.__module__}:{kind.__qualname__} version {plan.experiment.version}"
    origin = _origin(plan, {"kind": "simulated", "simulated_by": by})
    return produce(blocks, origin, root, engine, progress)


def _positive(plan: DataPlan, name: str) -> int:
    value = plan.values[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DataError(name, f"must be a whole number above 0, not {value!r}")
    return value


def _origin(plan: DataPlan, found: dict[str, object]) -> Origin:
    return Origin(
        fingerprint=plan.fingerprint,
        experiment=plan.experiment.name,
        version=plan.experiment.version,
        provenance=found,
        config=plan.values,
        seed=plan.seed,
        fractions=plan.fractions,
    )
