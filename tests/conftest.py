"""What every test shares."""

from __future__ import annotations

import os
import sys

import hypothesis

# The suite starts Python more than a hundred times. Where the environment forbids compiled files, each start would compile
# torch, Ray and pandas anew: five times the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Two workers of pytest with as many threads each as there are cores fight for them: half as long again for the whole suite.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples every time: a landing must not hang on the luck of a draw. `--hypothesis-profile=default` explores.
hypothesis.settings.register_profile("raresearch", derandomize=True)
hypothesis.settings.load_profile("raresearch")
