"""Table 1 and the angular distributions of Figs. 5 and 6 as numbers: the network beside its conventional competitors.

Legend: N events.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raresearch.experiment import Findings, ReadOut, ScoredEvents
from raresearch.experiments.newsdm.competitors import Row, Sample, competitors, passing, threshold_of
from raresearch.experiments.newsdm.simulator import C100, CLASSES, preset_of
from raresearch.metrics.intervals import clopper_pearson
from raresearch.types import ONE_SIGMA, Array

NEAR = 22.5  # degrees: half a bin of the polariser's positions around the beam's axis; a quarter of all directions
_PAPER = Path(__file__).with_name("paper.csv")


def read_outs(findings: Findings) -> list[ReadOut]:
    """Both tables; those of test once it is unsealed."""
    return [_performance(findings), _directions(findings)]


def _performance(findings: Findings) -> ReadOut:
    paper = _paper()
    rows = [
        (r.method, r.split, r.species, r.value, r.low, r.high, r.passed, r.of, paper.get(_label(r)))
        for r in [*_conventional(findings), *_network(findings)]
    ]
    columns = ("method", "split", "class", "kept", "from", "to", "events", "of", "paper")
    preset = preset_of(findings.config)
    note = (
        f"Thresholds keep 30 % of C100keV on validation and are carried to test. Intervals: Clopper-Pearson, 68 %. Preset: {preset}. "
        "How carbon's grains differ from fog's is assumed in `default` and absent in `identical_grains`: compare the two."
    )
    return ReadOut("Fractions kept at 30 % of C100keV", columns, tuple(rows), note)


def _conventional(findings: Findings) -> list[Row]:
    events = findings.events
    test = _unsealed(findings)
    pixel = float(findings.config["data.pixel"])  # type: ignore[arg-type]
    return competitors(_sample(events["train"]), _sample(events["validation"]), test, pixel=pixel)


def _unsealed(findings: Findings) -> Sample | None:
    """The test events with the classes that an unsealing brought."""
    if not findings.scored.get("test"):
        return None
    scored, events = findings.scored["test"][0], findings.events["test"]
    place = np.searchsorted(events.event_id, scored.event_id)
    return Sample(events.tensors["frames"][place], scored.class_number)


def _sample(events: Any) -> Sample:
    return Sample(events.tensors["frames"], events.class_number)


def _network(findings: Findings) -> list[Row]:
    """Each ensemble (a repeat, or a fold) by itself, with its own threshold."""
    rows: list[Row] = []
    ensembles = findings.scored["validation"]
    for number, validation in enumerate(ensembles):
        scored = {"validation": (validation.scores, validation.class_number)}
        if findings.scored.get("test"):
            test = findings.scored["test"][number]
            scored["test"] = (test.scores, test.class_number)
        rows += passing(_name(number, ensembles), scored)
    return rows


def _name(number: int, ensembles: Sequence[ScoredEvents]) -> str:
    return "NEWSnet" if len(ensembles) == 1 else f"NEWSnet, {number + 1} of {len(ensembles)}"


def _directions(findings: Findings) -> ReadOut:
    """How many directions of barycentre shifts lie near the beam, among what is kept and what is rejected."""
    rows: list[tuple[str | float | None, ...]] = []
    for split, ensembles in findings.scored.items():
        for number, sample in enumerate(ensembles):
            validation = findings.scored["validation"][number]
            cut = threshold_of(validation.scores[validation.class_number == C100])
            shift = validation.observers["barshift"]
            long = threshold_of(shift[validation.class_number == C100])
            if number == 0:
                rows += _near("barycentre shift", split, sample, sample.observers["barshift"] >= long)
            rows += _near(_name(number, ensembles), split, sample, sample.scores >= cut)
    columns = ("method", "split", "class", "kept: near the beam", "from", "to", "rejected: near the beam", "from", "to")
    note = (
        f"Fraction of directions within {NEAR:g}° of the beam (25 % if they were even), of kept and of rejected events. "
        "Vibration of the microscope makes directions uneven by itself."
    )
    return ReadOut("Directions of what is kept", columns, tuple(rows), note)


def _near(method: str, split: str, sample: ScoredEvents, kept: Array) -> list[tuple[str | float | None, ...]]:
    away = np.abs((sample.observers["direction"] - sample.observers["orientation"] + 90.0) % 180.0 - 90.0)
    rows: list[tuple[str | float | None, ...]] = []
    for number, species in enumerate(CLASSES):
        mine = sample.class_number == number
        parts = [_fraction(away[mine & chosen] < NEAR) for chosen in (kept, ~kept)]
        rows.append((method, split, species, *parts[0], *parts[1]))
    return rows


def _fraction(near: Array) -> tuple[float | None, float | None, float | None]:
    """Value and interval; nothing of no events."""
    if not len(near):
        return None, None, None
    low, high = clopper_pearson(int(near.sum()), len(near), ONE_SIGMA)
    return float(near.mean()), float(low), float(high)


def _label(row: Row) -> str:
    return f"{row.method.split(',')[0]} · {row.split} · {row.species}"


def _paper() -> Mapping[str, float]:
    """Label → what Table 1 prints; shown beside results, used by nothing."""
    with _PAPER.open(newline="", encoding="utf-8") as file:
        return {row["label"]: float(row["value"]) for row in csv.DictReader(file)}
