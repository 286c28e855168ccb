"""Files and a mapping become a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from raresearch.data import extract, file_blocks
from raresearch.data.dataset import FORMAT, Dataset
from raresearch.data.engines import Engine, Progress, check_engine
from raresearch.data.files import FileSet
from raresearch.data.mapping import Mapping as ColumnMapping
from raresearch.data.produce import Origin, existing, produce
from raresearch.data.readers import open_table
from raresearch.data.splits import Fractions
from raresearch.errors import DataError, nearest
from raresearch.experiment import Schema
from raresearch.types import canonical, digest


def ingest(
    paths: Iterable[Path | str],
    mapping: Mapping[str, Any],
    root: Path,
    *,
    experiment_name: str = "files",
    fractions: Fractions = Fractions(0.8, 0.1, 0.1),  # noqa: B008 - frozen, so sharing it is safe
    seed: int = 0,
    engine: Engine = "local",
    progress: Progress | None = None,
) -> Dataset:
    """Read ``paths`` (files, or folders of them) as ``mapping`` says (see `raresearch.data.mapping`) into ``root``.

    Each class is split exactly in proportion. The dataset is cached by the content of the files, the mapping, the seed and
    the fractions. Raises `DataError` for files or a mapping that do not fit, `StoreError` where ``root`` cannot be written.
    """
    check_engine(engine)
    parsed = ColumnMapping.parse(mapping)
    files = FileSet.of(paths, parsed.one_event_a_file)
    identity = {"format": FORMAT, "experiment": experiment_name, "seed": seed, "fractions": fractions.to_json()}
    origin = Origin(
        fingerprint=digest({**identity, **file_identity(files, mapping)}),
        experiment=experiment_name,
        version="",
        provenance=provenance(files, mapping),
        config={},
        seed=seed,
        fractions=fractions,
    )
    return land_files(files, parsed, None, origin, Path(root), engine, progress)


def land_files(
    files: FileSet,
    mapping: ColumnMapping,
    schema: Schema | None,
    origin: Origin,
    root: Path,
    engine: Engine,
    progress: Progress | None,
) -> Dataset:
    """The dataset of ``files``, from the cache or made now; ``schema`` is the experiment's, if there is one."""
    landed = existing(root, origin.fingerprint)
    if landed is not None:
        return landed
    files, skipped = file_blocks.sound(files, mapping)
    first = files.paths[0]
    found = extract.schema_of(mapping, open_table(first, mapping.tree, mapping.labels), first)
    if schema is not None:
        refuse_disagreement(schema, found)
    blocks = file_blocks.plan_file_blocks(files, mapping, schema or found, origin.fractions, origin.seed, skipped)
    return produce(blocks, origin, root, engine, progress)


def file_identity(files: FileSet, mapping: Mapping[str, Any]) -> dict[str, Any]:
    """What of files and mapping decides the events: names (classes may hang on them), content, and the mapping's text."""
    try:
        canonical(dict(mapping))
    except (TypeError, ValueError) as error:
        raise DataError("mapping", f"holds what JSON cannot: {error}", "use numbers, text, lists and pairs") from error
    return {"files": files.to_json(), "mapping": dict(mapping)}


def provenance(files: FileSet, mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "files", **file_identity(files, mapping)}


def refuse_disagreement(schema: Schema, found: Schema) -> None:
    """Raise `DataError` where a mapping makes other events than the experiment's ``schema`` says."""
    for key in ("classes", "signal", "background"):
        mine, theirs = getattr(schema, key), getattr(found, key)
        # The order of `classes` numbers them; that of the others means nothing.
        same = mine == theirs if key == "classes" else set(mine) == set(theirs)
        if not same:
            raise DataError(f"mapping.{key}", f"{list(theirs)} differs from the experiment's {list(mine)}", "leave it out")
    tensors = {t.name: t for t in found.tensors}
    for t in found.tensors:
        if t.name not in {s.name for s in schema.tensors}:
            raise DataError(
                f"mapping.tensors.{t.name}",
                "is not in the experiment's schema",
                nearest(t.name, [s.name for s in schema.tensors]),
            )
    for t in schema.tensors:
        if (t.shape, t.dtype) != (tensors[t.name].shape, tensors[t.name].dtype):
            rule = f"makes {tensors[t.name].shape} {tensors[t.name].dtype}, the experiment's schema says {t.shape} {t.dtype}"
            raise DataError(f"mapping.tensors.{t.name}", rule)
        if t.columns and tensors[t.name].columns and t.columns != tensors[t.name].columns:
            raise DataError(
                f"mapping.tensors.{t.name}.columns", f"differ from the experiment's {list(t.columns)}", "leave them out"
            )
    if set(schema.observers) != set(found.observers):
        raise DataError("mapping.observers", f"{list(found.observers)} differ from the experiment's {list(schema.observers)}")
