"""The table of a choice whose ensembles span several cells: one row a config, or one for the study."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from raresearch.api.choice import Choice, Valued
from raresearch.report.labels import described
from raresearch.report.numbers import Spread
from raresearch.report.table import StudyRow, StudyTable, UnsealedTable

SCOPE = {"repeat": "all folds of a repeat", "config": "all cells of a config", "study": "all cells of the study"}


def choice_table(choice: Choice, unsealed: UnsealedTable | None = None) -> StudyTable:
    """Mean, spread and interval of the objective over the ensembles of each config, on the validation they were chosen on.

    ``done`` counts ensembles, ``failed`` cells that failed and are in none.
    """
    foms = {name: fom for name, fom in choice.foms.items() if name != choice.objective.name}
    failed = Counter(row["config"] for row in choice.store.cells().to_pylist() if row["state"] == "failed")
    values = {name: _by_config(choice.estimates(fom)) for name, fom in foms.items()}
    rows = []
    found = _by_config(choice.estimates(choice.objective))
    for config in sorted(found, key=[*choice.labels, "study"].index):
        own = found[config]
        label = choice.labels.get(config, config)
        estimates = [v.estimate for v in own]
        epochs = [float(np.mean([m.epoch for m in v.ensemble.members])) for v in own]
        row = StudyRow(
            label=label,
            config=config,
            objective=Spread.of(e.value for e in estimates),
            interval=float(np.mean([(e.high - e.low) / 2 for e in estimates])) if estimates else math.nan,
            epoch=Spread.of(epochs),
            done=len(own),
            failed=sum(failed.values()) if config == "study" else failed[config],
            open=0,
            limits=sum(e.lower_limit for e in estimates),
            others={name: Spread.of(v.estimate.value for v in other[config]) for name, other in values.items()},
            test=unsealed.row(label) if unsealed else None,
        )
        rows.append(row)
    return StudyTable(
        rows=tuple(rows),
        objective=choice.objective.name,
        goal=choice.objective.goal,
        others=tuple(foms),
        single=False,
        unsealed=unsealed,
        notes=(_note(choice),),
        described={name: described(fom, name) for name, fom in choice.foms.items()},
    )


def _by_config(values: list[Valued]) -> dict[str, list[Valued]]:
    found: dict[str, list[Valued]] = {}
    for valued in values:
        found.setdefault(valued.ensemble.config, []).append(valued)
    return found


def _note(choice: Choice) -> str:
    sizes = [len(e.members) for e in choice.ensembles]
    members = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    return f"Ensembles are made from {SCOPE[choice.per]}: {len(sizes)} with {members} members each."
