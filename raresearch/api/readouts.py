"""An experiment's own tables (`Experiment.read_out`), made when a study ends and kept for its report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from raresearch.data.dataset import Dataset
from raresearch.errors import UserError, brief
from raresearch.experiment import Experiment, Findings
from raresearch.report.readouts import FILE
from raresearch.store.files import write_atomic
from raresearch.store.records import parse_config

if TYPE_CHECKING:
    from raresearch.api.choice import Unsealed
    from raresearch.api.opened import OpenStudy


def keep_read_outs(opened: OpenStudy, unsealed: Unsealed | None = None) -> str:
    """Write the read-outs of the study's own choice into its folder; why there are none, where that needs saying.

    An experiment without any costs nothing. One that fails spoils no study: its reason is returned.
    """
    if not opened.done():
        return ""
    experiment = opened.spec.load_experiment()
    if type(experiment).read_out is Experiment.read_out:
        return ""
    try:
        made = experiment.read_out(findings(opened, unsealed))
        content = json.dumps([asdict(table) for table in made], indent=1, allow_nan=False)
    except UserError as error:
        return f"no read-outs: {error}"
    except Exception as error:  # the boundary to a user's code: the study is done and stays so
        return f"no read-outs: {experiment.name}.read_out: {brief(error)}"
    write_atomic(opened.folder / FILE, lambda path: _write(path, content))
    return ""


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


def findings(opened: OpenStudy, unsealed: Unsealed | None = None) -> Findings:
    """The best config of the study's own choice, with its events and scores; those of test once ``unsealed``."""
    choice = opened.select() if unsealed is None else unsealed.choice
    mine = [e for e in choice.ensembles if e.config == choice.config]
    row = next(r for r in opened.cells().to_pylist() if r["cell"] == mine[0].members[0].cell)
    dataset = Dataset.open(opened.folder / "datasets" / str(json.loads(row["identity"])["data"]))
    splits = [s for s in ("train", "validation", "test") if dataset.size(s)]
    scored = {"validation": choice.samples()}
    if unsealed is not None:
        scored["test"] = [unsealed.sample(e) for e in mine]
    first = mine[0].members[0]
    kept = opened.spec.keep.weights == "kept"  # else the member that the rule chooses may have lost them
    weights = opened.store.weights(row["landing"], first.cell, first.epoch) if kept else {}
    return Findings(parse_config(row["values"]), {s: dataset.events(s) for s in splits}, scored, weights)
