"""Versions that must agree between the machine that submits and those that train: they decide a result's last bits."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping

from raresearch.errors import UserError

PINNED = ("raresearch", "ray", "torch", "numpy", "scipy", "pyarrow", "safetensors", "scikit-learn")


def versions() -> dict[str, str]:
    """Name → version of Python (without the patch level) and of every package that is pinned."""
    return {"python": ".".join(platform.python_version_tuple()[:2]), **{name: _version(name) for name in PINNED}}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name).partition("+")[0]  # +cpu, +cu128: the same sources for another machine
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def different(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """One phrase for each version of ``wanted`` that ``found`` has not."""
    return [f"{n} {found.get(n, 'missing')} instead of {v}" for n, v in wanted.items() if found.get(n, "missing") != v]


def check(wanted: Mapping[str, str]) -> None:
    """Raise `UserError` where this machine's versions are not the ``wanted`` ones."""
    if wrong := different(wanted, versions()):
        remedy = "install the same versions on the cluster, or submit from a machine that has the cluster's (--any-versions)"
        raise UserError("versions on the cluster", ", ".join(wrong), remedy)
