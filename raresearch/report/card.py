"""What a reader must know before she believes a table: study, events, rule, seal, failures, sources."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raresearch.report.labels import described, differing, value_text
from raresearch.report.numbers import duration
from raresearch.report.results import CellResult, Results
from raresearch.store.ledger import read_ledger


@dataclass(frozen=True)
class Reference:
    """A source and the parts of the study that stand on it. ``url`` is empty where the id has none."""

    id: str
    url: str
    used_by: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """``facts``: name → text. ``openings``: entries of the ledger. ``late``: cells done since the first opening."""

    facts: Mapping[str, str]
    stamp: str
    openings: tuple[Mapping[str, Any], ...]
    late: int
    failures: tuple[CellResult, ...]
    configs: tuple[tuple[str, ...], ...]
    config_names: tuple[str, ...]
    references: tuple[Reference, ...]
    spec: str

    def look(self, entry: str) -> str:
        """Which look at the test labels the ledger's ``entry`` (its hash) was: "look 2, "; empty where there was only one."""
        number = next((o.get("number") for o in self.openings if o.get("hash") == entry), None)
        return f"look {number}, " if number is not None and len(self.openings) > 1 else ""


def make_card(results: Results) -> Card:
    """Raises `StoreError` where the ledger was altered."""
    openings = tuple(read_ledger(results.store.root))
    done = sum(c.state == "done" for c in results.cells)
    names = differing(list(results.configs.values()))
    known = [c for c in results.labels if c in results.configs]
    return Card(
        facts={name: text for name, text in _facts(results, done).items() if text},
        stamp=results.stamp,
        openings=openings,
        late=max(done - int(openings[0].get("cells", done)), 0) if openings else 0,
        failures=tuple(c for c in results.cells if c.state == "failed"),
        configs=tuple((results.labels[c], *_values(results, c, names)) for c in known),
        config_names=("in figures", *names) if results.shortened else tuple(names),
        references=references(results),
        spec=json.dumps(results.about.get("spec", {}), indent=2, ensure_ascii=False),
    )


def _values(results: Results, config: str, names: Sequence[str]) -> list[str]:
    """What the table of configs says of one; its name in figures first where that is not its label."""
    texts = [value_text(results.configs[config].get(n)) for n in names]
    return [results.short[config], *texts] if results.shortened else texts


def _facts(results: Results, done: int) -> dict[str, str]:
    about, spec = results.about, results.about.get("spec", {})
    experiment, versions = about.get("experiment", {}), about.get("versions", {})
    origin = about.get("origin", {})
    failed = len(results.cells) - done
    return {
        "Study": str(about.get("study", "")),
        "Scale": str(about.get("scale") or "as written"),
        "Experiment": f"{experiment.get('name', '?')}, version {experiment.get('version', '?')}",
        "Events": _events(results, bool(experiment.get("simulated"))),
        "Configs": str(len(results.labels)),
        "Repeats": _known(spec.get("repeats")),
        "Folds": str(results.folds),
        "Seed": _known(spec.get("seed")),
        "Objective": described(results.objective, results.objective.name),
        "Selection": described(results.rule),
        "Cells": f"{done} done, {failed} failed",
        "Training": f"{duration(sum(c.seconds for c in results.cells))} in total, over all cells",
        "Machine": str(origin.get("machine", "")),
        "Commit": str(origin.get("commit", "")),
        "Created": str(about.get("created", "")),
        "Versions": ", ".join(f"{n} {v}" for n, v in sorted(versions.items())),
        "Identity": str(about.get("identity", "")),
    }


def _events(results: Results, simulated: bool) -> str:
    """Where the events come from, and how many were scored: folds share the validation events among them."""
    cells = results.store.cells()
    parts = ["simulated" if simulated else "from files"]
    for split in ("validation", "test"):
        sizes = [results.store.scored(name) for name in sorted(set(cells[f"{split}_events"].to_pylist())) if name]
        if any(sizes):
            parts.append(f"{split} {sum(sizes):,}" if len(sizes) == 1 else f"{split} {sum(sizes):,} in {len(sizes)} lists")
    return ", ".join(parts)


def _known(value: object) -> str:
    return "" if value is None else str(value)


def references(results: Results) -> tuple[Reference, ...]:
    """Sources of the experiment, the objective and the other figures, in that order, each once."""
    used: dict[str, list[str]] = {}
    experiment = results.about.get("experiment", {})
    parts = [(str(experiment.get("name", "experiment")), experiment.get("cites", ()))]
    parts += [(name, fom.cites) for name, fom in ((results.objective.name, results.objective), *results.others.items())]
    for name, cites in parts:
        for cite in cites:
            used.setdefault(str(cite), []).append(name)
    return tuple(Reference(cite, url_of(cite), tuple(names)) for cite, names in used.items())


def url_of(cite: str) -> str:
    """Where a DOI or an arXiv number leads; empty for anything else.

    >>> url_of("10.2307/2531595"), url_of("arXiv:2203.01870"), url_of("Wilson1927")
    ('https://doi.org/10.2307/2531595', 'https://arxiv.org/abs/2203.01870', '')
    """
    if re.match(r"10\.\d{4,}/\S+$", cite):
        return f"https://doi.org/{cite}"
    arxiv = re.match(r"(?:arxiv:)?(\d{4}\.\d{4,5}(?:v\d+)?)$", cite, re.IGNORECASE)
    return f"https://arxiv.org/abs/{arxiv[1]}" if arxiv else ""
