"""An experiment's own tables (`Experiment.read_out`), made when a study ends and kept for its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from raresearch.data.dataset import Dataset
from raresearch.errors import StoreError, UserError, brief
from raresearch.experiment import Experiment, Findings, ScoredEvents
from raresearch.report.readouts import FILE
from raresearch.store.files import write_atomic
from raresearch.store.records import parse_config
from raresearch.types import Array, Member

if TYPE_CHECKING:
    from raresearch.api.choice import Choice, Unsealed
    from raresearch.api.opened import OpenStudy

Value = TypeVar("Value")


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
    best = _of_config(opened, choice, choice.config)
    scored: dict[str, Sequence[ScoredEvents]] = dict(best.scored)
    if unsealed is not None:
        scored["test"] = [unsealed.sample(e) for e in choice.ensembles if e.config == choice.config]
    chosen = {e.config for e in choice.ensembles}
    labels = {config: label for config, label in opened.labels.items() if config in chosen}
    every = Lazy({label: partial(_of_config, opened, choice, config) for config, label in labels.items()})
    return Findings(best.config, best.events, scored, every, best.state)


def _of_config(opened: OpenStudy, choice: Choice, config: str) -> Findings:
    first = next(e for e in choice.ensembles if e.config == config).members[0]
    row = next(r for r in opened.cells().to_pylist() if r["cell"] == first.cell)
    dataset = Dataset.open(opened.folder / "datasets" / str(json.loads(row["identity"])["data"]))
    events = Lazy({s: partial(dataset.events, s) for s in ("train", "validation", "test") if dataset.size(s)})
    scored = Lazy({"validation": partial(choice.samples, config)})
    return Findings(parse_config(row["values"]), events, scored, state=partial(_state, opened, row["landing"], first))


def _state(opened: OpenStudy, landing: str, member: Member) -> Mapping[str, Array] | None:
    """Weights of ``member``; None where they were not kept."""
    try:
        return opened.store.weights(landing, member.cell, member.epoch)
    except StoreError:
        return None


class Lazy(Mapping[str, Value]):
    """Values that are made when they are first asked for: a study of thousands of configs is not read for a table of one."""

    def __init__(self, makers: Mapping[str, Callable[[], Value]]) -> None:
        self._makers = dict(makers)
        self._made: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
