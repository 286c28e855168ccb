"""What every test shares."""

from __future__ import annotations

import os
import sys

# The suite starts Python more than a hundred times. Where the environment forbids compiled files, each start would compile
# torch, Ray and pandas anew: five times the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
