"""The members of a weighted ensemble and what each one weighs."""

from __future__ import annotations

import numpy as np

from raresearch.report.figures.style import SIGNAL, Drawing, best_of, canvas
from raresearch.report.results import Results
from raresearch.types import Member

MOST = 30


def draw(results: Results) -> Drawing | None:
    """Of the ensemble of the best config's best cell; None where its members weigh the same."""
    ensemble = results.best_cell.ensemble if results.best_cell else None
    if ensemble is None or len({m.weight for m in ensemble.members}) < 2:
        return None
    total = sum(m.weight for m in ensemble.members)
    members = sorted(ensemble.members, key=lambda m: -m.weight)
    shown = members[:MOST]
    share = np.asarray([m.weight / total for m in shown])
    figure = canvas(9, 1.4 + 0.32 * len(shown), results.stamp)
    axes = figure.add_subplot()
    place = np.arange(len(shown))
    axes.barh(place, share, color=SIGNAL, height=0.68)
    for y, width in enumerate(share.tolist()):
        axes.text(width + 0.008 * float(share.max()), y, f"{width:.1%}", va="center", fontsize=10.5)
    axes.set_yticks(place, [_name(results, m) for m in shown], fontsize=11)
    axes.invert_yaxis()
    axes.set(xlabel="share of the weight", xlim=(0, 1.12 * share.max()))
    caption = (
        f"Members of the ensemble ({ensemble.combine} combined), heaviest first. Weights were chosen on validation. With "
        f"{len(members)} members, {1 / sum((m.weight / total) ** 2 for m in members):.1f} equal ones would scatter as much."
        f"{best_of(len(shown), len(members), 'members')}"
    )
    rows = [{"member": _name(results, m), "cell": m.cell, "epoch": m.epoch, "weight": m.weight / total} for m in members]
    alt = f"Bars of the weights of {len(shown)} members, from {share[0]:.1%} to {share[-1]:.1%}."
    return Drawing("members", "Weights of the members", caption, alt, figure, rows)


def _name(results: Results, member: Member) -> str:
    row = results.reader.cells[member.cell]
    fold = f", fold {row['fold']}" if results.folds > 1 else ""
    return f"{results.short[row['config']]}, seed {row['seed']}{fold}, epoch {member.epoch}"
