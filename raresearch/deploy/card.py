"""The card of a frozen ensemble: what it is, what it is worth on validation, and whether the test set was still blind."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from raresearch.deploy.frozen import Chosen, Frozen, FrozenMember
from raresearch.ensembles.evaluation import ScoreReader
from raresearch.errors import DataError, SelectionError, nearest
from raresearch.metrics.base import FigureOfMerit, on
from raresearch.store.ledger import read_ledger
from raresearch.types import Estimate

if TYPE_CHECKING:
    from raresearch.ensembles.operating import OperatingPoint

FORMAT = 1
KIND = "raresearch ensemble"
#: parts of a bundle besides the card; nothing else may lie in one
PARTS = ("ensemble.onnx", "ensemble.pt2", "weights.safetensors")


def make_card(chosen: Chosen, frozen: Frozen, cut: str | OperatingPoint | None) -> dict[str, Any]:
    """The card, without the parts' hashes. ``cut`` says which threshold is frozen (see `threshold`)."""
    ensemble, about = frozen.ensemble, chosen.store.about()
    values, notes = estimates(chosen, frozen)
    experiment = about["experiment"]
    calibration = ensemble.calibration
    return {
        "format": FORMAT,
        "kind": KIND,
        "study": {name: about.get(name) for name in ("study", "scale", "identity", "created")},
        "experiment": {name: experiment[name] for name in ("name", "version", "simulated", "cites")},
        "stamp": f"simulated by {experiment['name']} v{experiment['version']}" if experiment["simulated"] else "",
        "config": {"id": ensemble.config, "label": chosen.labels.get(ensemble.config, ensemble.config)},
        "configs": {m.config_id: dict(m.config) for m in frozen.members},
        "rule": rule_card(chosen.rule),
        "per": chosen.per,
        "choice": chosen.hash,
        "combination": ensemble.combine,
        "calibration": None if calibration is None else {"kind": calibration.kind, "parameters": list(calibration.parameters)},
        "members": [_member_card(m) for m in frozen.members],
        "inputs": frozen.schema.to_json()["tensors"],
        "classes": {name: list(getattr(frozen.schema, name)) for name in ("classes", "signal", "background")},
        "threshold": threshold(chosen, values, cut),
        "validation": {name: _estimate_card(e) for name, e in values.items()},
        "notes": notes,
        "seal": seal_card(chosen),
        "versions": {"trained with": about.get("versions", {}), "exported with": versions()},
    }


def estimates(chosen: Chosen, frozen: Frozen) -> tuple[dict[str, Estimate], list[str]]:
    """Every figure of merit of the study for this ensemble on its validation events; notes on those that cannot be had."""
    sample = ScoreReader(chosen.store).validation(frozen.ensemble)
    found, notes = {}, []
    for name, fom in {chosen.objective.name: chosen.objective, **chosen.foms}.items():
        try:
            found[name] = on(fom, sample.columns)(sample.scores, sample.label, sample.weight)
        except DataError as error:  # such as too little background for this figure: the others still stand
            notes.append(f"{name}: {error}")
    notes.append(f"{int((sample.label >= 0).sum())} labelled validation events, on which members and threshold were chosen")
    return found, notes


def threshold(chosen: Chosen, values: Mapping[str, Estimate], cut: str | OperatingPoint | None) -> dict[str, Any] | None:
    """The cut that validation fixed: ``cut``'s (a figure of merit of the study by name, or an operating point), else the
    objective's, else that of the first other figure that cuts.

    None where no figure of the study cuts. Raises `SelectionError` for a ``cut`` that is unknown or has no threshold.
    """
    if cut is not None and not isinstance(cut, str):
        return {"value": cut.threshold, "how": cut.how, "fixed_on": "validation"}
    foms: dict[str, FigureOfMerit] = {chosen.objective.name: chosen.objective, **chosen.foms}
    with_cut = [n for n, fom in foms.items() if fom.cuts and n in values and values[n].threshold is not None]
    if cut is not None and cut not in with_cut:
        raise SelectionError(f"cut {cut!r}", "is not a figure of merit of the study with a threshold", nearest(cut, with_cut))
    name = cut or next(iter(with_cut), None)
    return None if name is None else {"value": values[name].threshold, "how": f"best {name}", "fixed_on": "validation"}


def seal_card(chosen: Chosen) -> dict[str, Any]:
    """How often test labels had been opened when the ensemble was frozen, and whether training went on after that."""
    ledger = read_ledger(chosen.store.root)
    done = chosen.store.cells()["state"].to_pylist().count("done")
    late = max(done - int(ledger[0].get("cells", done)), 0) if ledger else 0
    return {
        "state": "sealed" if not ledger else "post-unblinding" if late else "opened",
        "looks": len(ledger),
        "looks at this choice": sum(entry.get("choice") == chosen.hash for entry in ledger),
        "cells trained after the first look": late,
        "ledger": ledger[-1]["hash"] if ledger else None,
    }


def rule_card(rule: Any) -> dict[str, Any]:
    """A rule's name and options."""
    options = asdict(rule) if is_dataclass(rule) and not isinstance(rule, type) else {}
    return {"rule": type(rule).__name__, "options": {k: _plain(v) for k, v in options.items() if v is not None}}


def versions() -> dict[str, str]:
    """Of what the file depends on."""
    found = {"python": platform.python_version()}
    for name in ("raresearch", "torch", "onnx", "onnxruntime", "onnxscript", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _member_card(member: FrozenMember) -> dict[str, Any]:
    return {
        **asdict(member.member),
        "config": member.config_id,
        "fold": member.fold,
        "seed": member.seed,
        "scaling": {name: scaler.to_json() for name, scaler in member.scaling.items()},
    }


def _estimate_card(estimate: Estimate) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(estimate).items()}


def _plain(value: Any) -> Any:
    """``value`` as JSON has it: infinities and NaN become null, what it does not know its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    return value
