"""The numbers in the docstrings of the metrics are what the code gives."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

from raresearch import metrics


def test_the_examples_in_docstrings_hold() -> None:
    names = [m.name for m in pkgutil.iter_modules(metrics.__path__)]
    results = [doctest.testmod(importlib.import_module(f"raresearch.metrics.{name}")) for name in names]
    assert sum(r.attempted for r in results) >= 10
    assert sum(r.failed for r in results) == 0
