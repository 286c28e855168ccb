"""Where a study was begun: which machine, which state of raresearch's own source."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
PATIENCE = 5.0  # seconds: on a slow network disk the study must not wait for its own label


def machine() -> str:
    """Operating system, architecture and processors of this machine; names neither host nor user."""
    return f"{platform.system()}, {platform.machine()}, {os.cpu_count() or 1} processors"


def commit(package: Path = PACKAGE) -> str:
    """The commit that ``package`` runs from, with ``-dirty`` where its files differ from it; empty where it is installed from a
    release, or without git.

    A package inside the repository of somebody else (a virtual environment there) has no commit of its own.
    """
    found = _git(package, "rev-parse", "--show-toplevel")
    if not found or Path(found).resolve() != package.parent.resolve():
        return ""
    return _git(package, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str:
    try:
        ran = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""
