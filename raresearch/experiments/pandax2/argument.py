"""The whole argument in two tables: what each variant is worth, and whether the spread of ER efficiency is cured.

    import raresearch as rs
    from raresearch.experiments.pandax2.argument import argument

    found = argument(rs.open("runs/pandax2-variants-…").findings().every)

Everything is on validation: the cut, the epochs and the selected parameters are chosen there.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raresearch.errors import DataError
from raresearch.experiment import Findings, ReadOut, ScoredEvents
from raresearch.experiments.pandax2.boosted import Boosted, boosted
from raresearch.experiments.pandax2.figures import BelowMedianSignificance, ElectronEfficiency
from raresearch.experiments.pandax2.limit import ExpectedLimit
from raresearch.experiments.pandax2.spreads import SpreadRatio, spread_ratio
from raresearch.metrics.averaging import averaged
from raresearch.metrics.base import FigureOfMerit, on
from raresearch.types import Array, Estimate

#: labels in pandax2_variants.yaml → names of the paper's Table 3 and Section 4
NAMES: Mapping[str, str] = {
    "4C · nr_sample=below · dropout=0 · weight_decay=0": "4C",
    "4C · nr_sample=below · dropout=0 · weight_decay=0.02": "4C with L2",
    "4C · nr_sample=below · dropout=0.2": "4C with dropout",
    "4C · nr_sample=all": "4Cu",
    "4E · nr_sample=below": "4E",
    "4E · nr_sample=all": "4Eu",
}


@dataclass(frozen=True)
class Variant:
    """One method: three estimates for each repeat, all at the repeat's own cut."""

    name: str
    significance: tuple[Estimate, ...]
    er_efficiency: tuple[Estimate, ...]
    limit: tuple[Estimate, ...]

    @classmethod
    def of(cls, name: str, samples: Sequence[ScoredEvents], limit: ExpectedLimit) -> Variant:
        """From the validation events as each repeat scores them."""
        figures: tuple[FigureOfMerit, ...] = (BelowMedianSignificance(), ElectronEfficiency(), limit)
        found = [tuple(_estimate(figure, sample) for sample in samples) for figure in figures]
        return cls(name, *found)

    def chosen(self, by: str) -> int:
        """Number of the repeat with the highest "significance" or "er_efficiency"; ties go to the other, then to the first.

        As `SelectedParameters`: of those whose significance is no lower than the median.
        """
        s, e = ([v.value for v in values] for values in (self.significance, self.er_efficiency))
        first, second = (s, e) if by == "significance" else (e, s)
        able = [n for n in range(len(s)) if s[n] >= float(np.median(s))]
        return max(able, key=lambda n: (first[n], second[n], -n))

    def er(self) -> Array:
        """(R,) ER efficiencies."""
        return np.asarray([e.value for e in self.er_efficiency])


@dataclass(frozen=True)
class Argument:
    """``variants`` by name, BDT among them; ``spread``: 4C against 4Cu where both are there; ``trees``: the search of the BDT."""

    variants: Mapping[str, Variant]
    spread: SpreadRatio | None
    trees: Boosted | None

    def tables(self) -> tuple[ReadOut, ...]:
        """For a report."""
        return (_worth(self), _table3(self))


def argument(every: Mapping[str, Findings], limit: ExpectedLimit | None = None, with_trees: bool = True) -> Argument:
    """Compare the variants of pandax2_variants.yaml (label → findings) and boosted trees, grown on the events of a network that was
    trained below the NR median.

    Raises `DataError` where there is none of the paper's variants.
    """
    figure = limit or ExpectedLimit()
    if not set(every) & set(NAMES):
        raise DataError("findings", "no config is a variant of the paper", "run search_spaces/pandax2_variants.yaml")
    named = {NAMES.get(label, label): found for label, found in every.items()}
    variants = {name: Variant.of(name, found.scored["validation"], figure) for name, found in named.items()}
    trees = boosted(_below(named).events) if with_trees else None
    if trees is not None:
        variants = {"BDT": Variant.of("BDT", [trees.validation], figure), **variants}
    return Argument(variants, _cure(variants), trees)


def _below(named: Mapping[str, Findings]) -> Findings:
    """Of the first config that was trained below the NR median."""
    for found in named.values():
        if found.config.get("data.nr_sample", "below") == "below":
            return found
    raise DataError("findings", "no network was trained below the NR median", "add data.nr_sample: below")


def _cure(variants: Mapping[str, Variant]) -> SpreadRatio | None:
    if not {"4C", "4Cu"} <= set(variants):
        return None
    steps = [e.n_effective for e in variants["4Cu"].er_efficiency]
    if min(len(variants["4C"].er()), len(steps)) < 3:
        return None
    return spread_ratio(variants["4C"].er(), variants["4Cu"].er(), 1.0 / min(steps))


def _estimate(figure: FigureOfMerit, sample: ScoredEvents) -> Estimate:
    columns = {"class": sample.class_number, **sample.observers}
    return on(figure, columns)(sample.scores, sample.label, sample.weight)


def _mean(values: Sequence[Estimate]) -> tuple[float, float, float]:
    found = averaged(values)
    return found.value, found.low, found.high


def _worth(found: Argument) -> ReadOut:
    rows = []
    for name, v in found.variants.items():
        er = v.er()
        spread = float(er.std(ddof=1)) if len(er) > 1 else None
        rows.append(
            (
                name,
                len(er),
                *_mean(v.significance),
                *_mean(v.er_efficiency),
                spread,
                float(er.min()),
                float(er.max()),
                *_mean(v.limit),
            )
        )
    columns = (
        "method", "repeats", "significance", "low", "high", "ER efficiency", "low", "high", "sd over repeats", "min", "max",
        "expected limit (1e-46 cm²)", "low", "high",
    )  # fmt: skip
    note = "Means over repeats, on validation, at the cut of largest significance below the NR median."
    if found.spread is not None:
        note += f" Spread of ER efficiency, 4C over 4Cu: {found.spread}."
    return ReadOut("Significance, ER efficiency and expected limit", columns, tuple(rows), note)


#: which parameter set stands for a method in Table 3, as the paper chose
_CHOSEN_BY = {"BDT": "significance", "4C": "er_efficiency", "4Cu": "significance", "4Eu": "significance"}


def _table3(found: Argument) -> ReadOut:
    printed = paper_table3()
    rows: list[tuple[str | float | None, ...]] = []
    for name, by in _CHOSEN_BY.items():
        if name not in found.variants:
            continue
        v = found.variants[name]
        n = v.chosen(by)
        s, er, limit = v.significance[n], v.er_efficiency[n], v.limit[n]
        paper = printed[name]
        rows.append(
            (
                name,
                by,
                s.value,
                s.low,
                s.high,
                er.value,
                limit.value,
                limit.low,
                limit.high,
                paper["significance"],
                paper["sensitivity"],
            )
        )
    columns = (
        "method", "highest", "significance", "low", "high", "ER efficiency", "expected limit (1e-46 cm²)", "low", "high",
        "paper: significance", "paper: sensitivity",
    )  # fmt: skip
    note = "One selected training each, 40 GeV/c², 90 % CLs. The best of many on validation is optimistic. Exposure and rates are assumed."
    return ReadOut("The paper's Table 3, expected limits", columns, tuple(rows), note)


def paper_table3() -> Mapping[str, Mapping[str, float]]:
    """The paper's Table 3 by method: shown beside, read by nothing that makes a result."""
    with Path(__file__).with_name("table3.csv").open(newline="") as file:
        return {row["method"]: {k: float(v) for k, v in row.items() if k != "method"} for row in csv.DictReader(file)}
