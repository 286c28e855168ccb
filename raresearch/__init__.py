"""raresearch: studies of neural networks for rare-event searches.

    import raresearch as rs

    study = rs.run("search_spaces/pandax2_mlp.yaml", scale="demo")   # or rs.open("runs/pandax2-mlp-…")
    choice = study.select("top_k", k=3, by="val_loss", within={"val_accuracy": 0.001})
    choice.estimate("significance")                                  # on validation: value, interval
    choice.unseal(reason="frozen for the note").estimate("significance")

Names are loaded when they are first used: importing the package loads neither ray nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raresearch.api.check import check
    from raresearch.api.choice import Choice
    from raresearch.api.opened import OpenStudy
    from raresearch.api.opened import open_study as open
    from raresearch.api.run import run
    from raresearch.errors import RaresearchError, UserError
    from raresearch.experiment import Batch, Experiment, Files, Schema, TensorField
    from raresearch.types import Estimate, Member

__version__ = "0.1.0"

_HOME = {
    "check": ("raresearch.api.check", "check"),
    "Choice": ("raresearch.api.choice", "Choice"),
    "OpenStudy": ("raresearch.api.opened", "OpenStudy"),
    "open": ("raresearch.api.opened", "open_study"),
    "run": ("raresearch.api.run", "run"),
    "RaresearchError": ("raresearch.errors", "RaresearchError"),
    "UserError": ("raresearch.errors", "UserError"),
    "Batch": ("raresearch.experiment", "Batch"),
    "Experiment": ("raresearch.experiment", "Experiment"),
    "Files": ("raresearch.experiment", "Files"),
    "Schema": ("raresearch.experiment", "Schema"),
    "TensorField": ("raresearch.experiment", "TensorField"),
    "Estimate": ("raresearch.types", "Estimate"),
    "Member": ("raresearch.types", "Member"),
}

__all__ = [
    "Batch", "Choice", "Estimate", "Experiment", "Files", "Member", "OpenStudy", "RaresearchError", "Schema", "TensorField",
    "UserError", "check", "open", "run",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'raresearch' has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
