"""Names of classes and observers, apart from the simulator so that reading a schema loads no compiler."""

from __future__ import annotations

CLASSES = ("Tl208", "Bi214", "0vbb")
SIGNAL = "0vbb"
OBSERVERS = ("energy", "hits", "contained")
