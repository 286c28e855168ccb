"""Is A better than B? Repeats are independent trainings, validation events are shared.

Difference of the means over repeats, oriented so that above 0 means A is better. Its variance: var_A/n_A + var_B/n_B from the
repeats' spread, plus what the shared events make of the difference (paired bootstrap: the same resampled events for both, the
part that all repeats have in common). Folds are paired too: a repeat's value is its mean over folds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy

from raresearch.metrics.base import FigureOfMerit
from raresearch.metrics.intervals import check_level
from raresearch.statistics.bootstrap import event_draws
from raresearch.statistics.multiple import adjust
from raresearch.statistics.panel import Panel, paired
from raresearch.statistics.planning import THREE_SIGMA, degrees, events_to_decide, repeats_to_decide
from raresearch.types import ONE_SIGMA, Array

Verdict = Literal["A better", "B better", "not decided"]


@dataclass(frozen=True)
class Comparison:
    """What is known of A against B by one figure of merit.

    ``difference`` with [``low``, ``high``] at ``level``: positive where A is better, whatever the figure's goal. ``probability``:
    that A is better, given repeats and events. ``p``: two-sided; ``verdict`` is decided below 3 sigma (p < 0.0027).
    ``repeats_needed``: of each, to decide at 3 sigma with 90 % chance if the difference is as seen; None where the finite
    validation events alone blur it too much: then ``events_needed`` times as many are needed (for the decided: None, None).
    ``spread_a``, ``spread_b``: standard deviations of single repeats; ``events``: of the difference, from shared events.
    """

    a: str
    b: str
    fom: str
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    level: float
    probability: float
    p: float
    sigmas: float
    verdict: Verdict
    repeats_a: int
    repeats_b: int
    spread_a: float
    spread_b: float
    events: float
    repeats_needed: int | None
    events_needed: float | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @property
    def more_repeats(self) -> int | None:
        """Repeats to add to each, if any number decides."""
        if self.repeats_needed is None:
            return None
        return max(0, self.repeats_needed - min(self.repeats_a, self.repeats_b))

    def __str__(self) -> str:
        text = f"{self.a} − {self.b}: {self.difference:+.4g} [{self.low:+.4g}, {self.high:+.4g}] in {self.fom}"
        return f"{text}; P({self.a} better) = {self.probability:.3g}; {self.verdict} ({self.sigmas:.1f} σ){self._plan()}"

    def _plan(self) -> str:
        if self.verdict != "not decided":
            return ""
        if self.more_repeats is not None:
            return f"; {self.more_repeats} more repeats of each would decide at 3 σ (9 times in 10, if it is as seen)"
        if self.events_needed is not None and math.isfinite(self.events_needed):
            return f"; no number of repeats would: {self.events_needed:.3g} times as many validation events are needed"
        return "; nothing to decide: the difference is 0"


def compare(
    a: Panel,
    b: Panel,
    fom: FigureOfMerit,
    *,
    names: tuple[str, str] = ("A", "B"),
    resamples: int = 200,
    seed: int = 0,
    level: float = ONE_SIGMA,
) -> Comparison:
    """Compare two panels. Raises `DataError` where their validation events differ.

    A side with a single repeat counts as one fixed ensemble: its training is taken as it is, and a note says so.
    """
    a, b = paired(a, b)
    sign = 1.0 if fom.goal == "max" else -1.0
    values_a, values_b = a.values(fom), b.values(fom)
    draws = event_draws([a, b], fom, resamples, np.random.default_rng(seed))
    return decide(
        sign * values_a, sign * values_b, shared_variance(*draws), fom=fom.name, names=names, level=level, sign=sign,
        notes=_notes(a, b, names),
    )  # fmt: skip


def shared_variance(draws_a: Array, draws_b: Array) -> float:
    """Variance of the difference from events that both share, without what each repeat makes of them on its own.

    ``draws_a`` (B, R_A), ``draws_b`` (B, R_B): values on the same resampled events. The difference of the means has the
    variance wanted plus each repeat's own part over R; that part is in the repeats' spread already.
    """
    difference = draws_a.mean(axis=1) - draws_b.mean(axis=1)
    total = float(difference.var(ddof=1))
    own: float = sum(_own_variance(d) / d.shape[1] for d in (draws_a, draws_b))
    rest: float = max(total - own, 0.0)
    return rest


def _own_variance(draws_BR: Array) -> float:
    """Variance of a repeat's draws around the mean of all repeats' draws; 0 for one repeat."""
    n = draws_BR.shape[1]
    if n < 2:
        return 0.0
    inside = draws_BR - draws_BR.mean(axis=1, keepdims=True)
    summed = float(inside.var(axis=0, ddof=1).sum())
    own: float = summed / (n - 1)
    return own


def decide(
    values_a: Array,
    values_b: Array,
    events: float,
    *,
    fom: str = "",
    names: tuple[str, str] = ("A", "B"),
    level: float = ONE_SIGMA,
    sign: float = 1.0,
    notes: tuple[str, ...] = (),
) -> Comparison:
    """The comparison of repeats' values (higher is better; times ``sign`` they are the figure itself) with the ``events`` variance."""
    n_a, n_b = len(values_a), len(values_b)
    variance_a, variance_b = (float(v.var(ddof=1)) if len(v) > 1 else 0.0 for v in (values_a, values_b))
    difference = float(values_a.mean() - values_b.mean())
    error = math.sqrt(variance_a / n_a + variance_b / n_b + events)
    dof = degrees(variance_a, variance_b, n_a, n_b, events)
    half = _quantile(0.5 + check_level(level) / 2, dof) * error
    pull = difference / error if error > 0 else math.copysign(math.inf, difference) if difference else 0.0
    probability = float(scipy.special.stdtr(dof, pull) if math.isfinite(dof) else scipy.special.ndtr(pull))
    p = 2 * min(probability, 1 - probability) if abs(pull) < 5 else _two_sided(pull, dof)
    verdict = _verdict(p, difference)
    open_ = verdict == "not decided"
    needed = repeats_to_decide(difference, variance_a, variance_b, events) if open_ and min(n_a, n_b) > 1 else None
    return Comparison(
        names[0], names[1], fom, sign * float(values_a.mean()), sign * float(values_b.mean()), difference,
        difference - half, difference + half, level, probability, p, _sigmas(p), verdict, n_a, n_b,
        math.sqrt(variance_a), math.sqrt(variance_b), math.sqrt(events), needed,
        events_to_decide(difference, events) if open_ and needed is None else None, notes,
    )  # fmt: skip


def corrected(comparisons: Sequence[Comparison], method: str = "holm") -> list[Comparison]:
    """The same with p-values corrected for their number, and verdicts, sigmas by them. Raises `SpecError` for an unknown method."""
    adjusted = adjust([c.p for c in comparisons], method)
    note = f"p corrected for {len(comparisons)} comparisons ({method})"
    return [
        replace(c, p=float(p), sigmas=_sigmas(float(p)), verdict=_verdict(float(p), c.difference), notes=(*c.notes, note))
        for c, p in zip(comparisons, adjusted, strict=True)
    ]


def _verdict(p: float, difference: float) -> Verdict:
    if p >= THREE_SIGMA:
        return "not decided"
    return "A better" if difference > 0 else "B better"


def _quantile(share: float, dof: float) -> float:
    return float(scipy.special.stdtrit(dof, share) if math.isfinite(dof) else scipy.special.ndtri(share))


def _two_sided(pull: float, dof: float) -> float:
    return 2 * float(scipy.special.stdtr(dof, -abs(pull)) if math.isfinite(dof) else scipy.special.ndtr(-abs(pull)))


def _sigmas(p: float) -> float:
    """Two-sided p as standard deviations; 38 stands for what a float cannot tell from 0."""
    return float(-scipy.special.ndtri(p / 2)) if p > 0 else 38.0


def _notes(a: Panel, b: Panel, names: tuple[str, str]) -> tuple[str, ...]:
    notes = []
    for name, panel in zip(names, (a, b), strict=True):
        if panel.repeats == 1:
            notes.append(f"{name} is one fixed ensemble: how another training would do is not in the interval")
        if panel.left_out:
            notes.append(f"{name}: {panel.left_out} repeats lack a fold and are left out")
    return tuple(notes)
