"""The short form of chaos.py: three seeds. The long one is that command with --seeds 25."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

CHAOS = Path(__file__).with_name("chaos.py")
pytestmark = pytest.mark.cluster


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_dies_nothing_is_lost_nothing_runs_twice_and_the_table_is_the_same():
    # A process of its own: its raylets and workers inherit the faults, this one must not.
    out = subprocess.run(
        [sys.executable, str(CHAOS), "--seeds", "3", "--json"], capture_output=True, text=True, env={**os.environ}, check=False
    )
    assert out.stdout, out.stderr
    results = json.loads(out.stdout.splitlines()[-1])
    assert [r["seed"] for r in results] == [0, 1, 2]
    for result in results:
        assert (result["identical"], result["lost"], result["committed_twice"]) == (True, 0, 0), result
    assert out.returncode == 0
    struck = sum((Counter(r["faults"]) for r in results), Counter())
    assert {"worker", "raylet", "driver", "disk", "clock", "head"} <= set(struck), "every kind of fault struck"
    assert sum(r["retries"] for r in results) > 0, "and was felt"
    assert sum(r["starts"] for r in results) >= 7, "three drivers and a head died, and the same line went on"
