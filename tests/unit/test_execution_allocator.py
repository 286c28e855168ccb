"""Memory that a worker keeps."""

import subprocess
import sys

import pytest

CODE = """
import resource
import sys

import numpy as np

from raresearch.execution.allocator import keep_freed_memory

if sys.argv[1] == "kept" and not keep_freed_memory():
    print("none")
    raise SystemExit
for step in range(60):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = [np.ones(2**20) for _ in range(3)]  # 8 MiB each
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> str:
    return subprocess.run([sys.executable, "-c", CODE, mode], check=True, capture_output=True, text=True).stdout.strip()


def test_a_worker_uses_freed_blocks_again_without_new_pages():
    kept = faults("kept")
    if kept == "none":
        pytest.skip("a C library without mallopt")
    assert int(kept) < 1000
    assert int(faults("usual")) > 10_000
