"""What a node finds out about itself. Runs in a Ray worker there, or in this process."""

from __future__ import annotations

import importlib
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raresearch.jobs.pins import versions
from raresearch.store.files import write_atomic
from raresearch.store.lease import lease

MODULES = ("raresearch.api.run", "raresearch.execution.worker", "raresearch.training.pack", "ray.tune", "torch")


@dataclass(frozen=True)
class Report:
    """One node about itself. ``clock``: its time() when asked; ``asked``: the driver's. Problems are texts, empty where fine."""

    node: str
    versions: dict[str, str]
    code: str
    imports: str
    folder: str
    locks: str
    seen: tuple[str, ...]
    clock: float
    gpus: int
    expected_gpus: float
    free_disk: int
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)


def probe(name: str, folder: Path | None, expected_gpus: float) -> Report:
    """The report of the node called ``name``. ``folder`` is where runs are to be written; each node leaves one small file there."""
    return Report(
        node=name,
        versions=versions(),
        code=code_digest(),
        imports=_problem(_import_all),
        folder="" if folder is None else _problem(lambda: _write_and_read(folder, name)),
        locks="" if folder is None else _problem(lambda: _lock(folder)),
        seen=_seen(folder),
        clock=time.time(),
        gpus=_gpus(),
        expected_gpus=expected_gpus,
        free_disk=_free(folder),
    )


def code_digest() -> str:
    """Hash of raresearch's own source: an editable installation can differ where the version does not."""
    import hashlib

    import raresearch

    root, whole = Path(raresearch.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        whole.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:12]


def _problem(act: Callable[[], None]) -> str:
    """What stopped ``act``, in one line; empty where nothing did. A doctor reports every illness, so it stops at none."""
    try:
        act()
    except Exception as error:  # the boundary to whatever is broken on that machine
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ""


def _import_all() -> None:
    for name in MODULES:
        importlib.import_module(name)


def _write_and_read(folder: Path, name: str) -> None:
    content = uuid.uuid4().hex
    path = folder / ".doctor" / re.sub(r"\W+", "-", name)
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(draft: Path) -> None:
        draft.write_text(content)

    write_atomic(path, write)
    if path.read_text() != content:
        raise OSError("what was written is not what is read")


def _lock(folder: Path) -> None:
    with lease(folder / ".doctor" / "locks", uuid.uuid4().hex, lambda: False):
        pass


def _seen(folder: Path | None) -> tuple[str, ...]:
    there = folder / ".doctor" if folder is not None else None
    return (
        tuple(sorted(p.name for p in there.iterdir() if p.name != "locks" and p.name[0] != "."))
        if there and there.is_dir()
        else ()
    )


def _gpus() -> int:
    import torch

    return int(torch.cuda.device_count())


def _free(folder: Path | None) -> int:
    if folder is None or not folder.exists():
        return 0
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
