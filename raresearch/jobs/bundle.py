"""What is sent with a job: the study's YAML and the code and tables beside it. Never data, runs, histories or secrets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raresearch.errors import UserError

#: sent are texts that a study can consist of, and nothing else: what is not listed cannot leak
SENT = frozenset({".py", ".yaml", ".yml", ".toml", ".csv"})
LEFT = frozenset({"runs", "venv", "node_modules", "__pycache__", "build", "dist", "report", "datasets"})
SIGNS_OF_A_RUN = ("study.json", "manifest.json", "pyvenv.cfg")  # a run folder, a dataset, an environment
LIMIT = 16 * 2**20
MOST = 2000  # files


@dataclass(frozen=True)
class Bundle:
    """Files below ``root`` (relative paths) that a job needs, and their size in bytes."""

    root: Path
    files: tuple[Path, ...]
    size: int

    @classmethod
    def of(cls, study: Path) -> Bundle:
        """What lies beside the YAML file ``study``. Raises `UserError` where there is none, or where it is too much to send."""
        if not study.is_file():
            raise UserError(str(study), "there is no such file", "give the study's YAML file")
        root = study.resolve().parent
        files: list[Path] = []
        for path in _walk(root):
            files.append(path.relative_to(root))
            if len(files) > MOST:
                raise UserError(str(root), f"more than {MOST} files lie beside the study", "give the study a folder of its own")
        files = sorted({*files, study.resolve().relative_to(root)})
        size = sum((root / f).stat().st_size for f in files)
        if size > LIMIT:
            largest = max(files, key=lambda f: (root / f).stat().st_size)
            rule = f"{size / 2**20:.0f} MiB lie beside the study, more than {LIMIT // 2**20} MiB (largest: {largest})"
            raise UserError(str(root), rule, "put data on a disk that all nodes see and name it by its full path")
        return cls(root, tuple(files), size)

    def copy(self, folder: Path) -> None:
        """Write the files into ``folder``, which is then the job's working directory."""
        for file in self.files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.root / file, folder / file)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        # Hidden ones hold histories (.git), environments and credentials (.aws, .netrc, .env).
        folders[:] = sorted(d for d in folders if d not in LEFT and not d.startswith(".") and not _foreign(here / d))
        for name in sorted(names):
            path = here / name
            # A link may point anywhere, at a key as well as at a disk full of events.
            if path.suffix in SENT and not name.startswith(".") and not path.is_symlink():
                yield path


def _foreign(folder: Path) -> bool:
    return folder.is_symlink() or any((folder / sign).exists() for sign in SIGNS_OF_A_RUN)
