"""The expected limit on the WIMP-nucleon cross section as a figure of merit: what the network's cut is for (Table 3)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from raresearch.errors import SpecError
from raresearch.experiments.pandax2 import search
from raresearch.experiments.pandax2.efficiencies import counted, efficiency_map
from raresearch.experiments.pandax2.figures import AtTheCut, Scored, check_choice
from raresearch.experiments.pandax2.search import Run
from raresearch.metrics.base import check_positive, estimate
from raresearch.metrics.limits import Limits, Models, expected_limits
from raresearch.metrics.limits.asymptotic import COWAN, READ, median_limits
from raresearch.metrics.sample import kish
from raresearch.types import Array, Estimate

_PAPER = "10.1088/1748-0221/18/06/T06002"
#: cuts that `cut: limit` tries, as fractions of NR below the NR median that are kept
SCAN = tuple(np.round(np.linspace(0.50, 0.98, 25), 2).tolist())


@dataclass(frozen=True)
class ExpectedLimit(AtTheCut):
    """Median expected upper limit (CL_s, 90 %) on the cross section, in 1e-46 cm², after the network's cut; smaller is better.

    A binned likelihood in (S1, log10(S2/S1)) with WIMP, ER, accidental and neutron templates, the backgrounds' normalisations
    profiled (Run holds their uncertainties), from the background-only Asimov data set (arXiv:1007.1727). ``cut``
    "significance": the paper's cut; "limit": of `SCAN` the cut with the best limit. ``mass`` in GeV. ``mixture``: of the isolated
    signals that make the template of accidentals; give the study's own. ``resamples`` of the scored events make the interval, a
    percentile bootstrap of the cut's efficiencies at a fixed cut: neither the statistics of the templates' shapes, which all networks
    share, nor the choice of the cut is in it. ``n_effective`` is the Kish count of accidentals kept.
    """

    mass: float = 40.0
    level: float = 0.9
    cut: Literal["significance", "limit"] = "significance"
    mixture: str = "I"
    resamples: int = 100
    run: Run = field(default_factory=Run)
    name: ClassVar[str] = "expected_limit"
    goal: ClassVar[Literal["max", "min"]] = "min"
    cites: ClassVar[tuple[str, ...]] = (_PAPER, COWAN, READ)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("expected_limit: mass", self.mass)
        check_choice("expected_limit: cut", self.cut, ("significance", "limit"))
        if not isinstance(self.level, float) or not 0.5 < self.level < 1.0:
            raise SpecError(f"expected_limit: level = {self.level!r}", "must lie between 0.5 and 1", "0.9 is usual")
        if isinstance(self.resamples, bool) or not isinstance(self.resamples, int) or self.resamples < 20:
            raise SpecError(f"expected_limit: resamples = {self.resamples!r}", "at least 20 are needed", "100 is usual")
        if isinstance(self.run, dict):  # options of a YAML file
            object.__setattr__(self, "run", _run(self.run))
        self.run.check("expected_limit: run")

    def at_cut(self, events: Scored, threshold: float | None, level: float) -> Estimate:
        cut = self._cut(events) if threshold is None else threshold
        value = float(self._medians(_map(events, cut)[None])[0])
        draws = self._medians(self._resampled(events, cut))
        tail = 0.5 - level / 2
        ends = np.quantile(draws, [tail, 1.0 - tail])
        kept = kish(events.weights * ((events.scores >= cut) & (events.label == 0)))
        method = f"CLs {self.level:g}, Asimov; bootstrap over events at a fixed cut"
        return estimate(value, (float(ends[0]), float(ends[1])), kept, level, method, cut)

    def many(self, events: list[Scored]) -> Array:
        """Values of several score vectors, fitted together and without intervals."""
        if not events:
            return np.empty(0)
        return self._medians(np.stack([_map(e, self._cut(e)) for e in events]))

    def band(self, events: Scored, threshold: float | None = None) -> Limits:
        """Median and ±1 sigma of the limits that experiments without signal would set, in 1e-46 cm², each (1,)."""
        cut = self._cut(events) if threshold is None else threshold
        return expected_limits(self.models(_map(events, cut)[None]), self.level)

    def models(self, efficiency: Array) -> Models:
        """The likelihoods of efficiency maps (B, 3, cells)."""
        return search.templates(self.run, search.shapes(self.mass, self.mixture), efficiency)

    def model_at(self, events: Scored, threshold: float) -> Models:
        """The one likelihood behind the value at ``threshold``."""
        return self.models(_map(events, threshold)[None])

    def _medians(self, efficiency: Array) -> Array:
        return median_limits(self.models(efficiency), self.level)

    def _cut(self, events: Scored) -> float:
        if self.cut == "significance":
            return events.at(self.significance)
        signal = np.sort(events.scores[events.label == 1])
        # `quantile` of the scores would lie between events; a cut is a score.
        cuts = np.unique(signal[((1.0 - np.asarray(SCAN)) * len(signal)).astype(int)])
        limits = self._medians(np.stack([_map(events, c) for c in cuts]))
        return float(cuts[int(np.argmin(limits))])

    def _resampled(self, events: Scored, cut: float) -> Array:
        """(resamples, 3, cells) maps of events drawn with replacement within each class."""
        rng = np.random.default_rng(0)  # one stream: a figure of merit repeats itself
        cell, passed = search.coarse(events.s1, events.distance), events.scores >= cut
        # In an order that does not depend on the order given.
        order = np.lexsort((events.weights, passed, cell, events.class_number))
        number, cell, passed, weights = (a[order] for a in (events.class_number, cell, passed, events.weights))
        starts = np.r_[0, np.flatnonzero(np.diff(number)) + 1, len(number)]
        total, kept = [], []
        for _ in range(self.resamples):
            drawn = np.concatenate([rng.integers(a, b, b - a) for a, b in pairwise(starts)])
            total.append(counted(number[drawn], cell[drawn], weights[drawn]))
            kept.append(counted(number[drawn], cell[drawn], weights[drawn] * passed[drawn]))
        return efficiency_map(np.stack(kept), np.stack(total))


def _map(events: Scored, cut: float) -> Array:
    cell = search.coarse(events.s1, events.distance)
    total = counted(events.class_number, cell, events.weights)
    passed = counted(events.class_number, cell, events.weights * (events.scores >= cut))
    return np.asarray(efficiency_map(passed[None], total[None])[0])


def _run(options: dict[str, float]) -> Run:
    known = set(Run.__dataclass_fields__)
    if unknown := sorted(set(options) - known):
        raise SpecError(f"expected_limit.run.{unknown[0]}", "there is no such number", f"it has {', '.join(sorted(known))}")
    return replace(Run(), **options)
