"""Compiled kernels are kept on disk, never outlive a change of any of their files, and work without a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from raresearch.experiments.pandax3.compiled import content

CODE = """
import numpy as np
from raresearch.experiments.pandax3.compiled import cache_folder
from raresearch.experiments.pandax3.geometry import turned
print(cache_folder(), turned(0.0, 0.0, 1.0, -1.0, 0.5)[2])
"""


def run(home: Path) -> list[str]:
    settings = {**os.environ, "NUMBA_CACHE_DIR": str(home)}
    return subprocess.run([sys.executable, "-c", CODE], env=settings, capture_output=True, text=True, check=True).stdout.split()


def test_a_change_of_any_file_is_another_folder(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 1\n")
    first = content(tmp_path)
    assert content(tmp_path) == first
    (tmp_path / "b.py").write_text("y = 2\n")
    assert content(tmp_path) != first


def test_kernels_are_kept_where_they_can_be(tmp_path):
    folder, cosine = run(tmp_path)
    assert folder.startswith(str(tmp_path))
    assert float(cosine) == -1.0
    assert list(Path(folder).rglob("*.nbc"))


def test_kernels_work_where_nothing_can_be_kept(tmp_path):
    home = tmp_path / "file"
    home.write_text("")  # no folder can be made below a file, whoever tries
    assert run(home) == ["None", "-1.0"]
