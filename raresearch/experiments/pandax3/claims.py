"""Which of the paper's claims the study at hand can decide, from the errors seen in it. Legend: N events, R repeats, D draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from raresearch.errors import DataError
from raresearch.experiment import Findings, ReadOut, ScoredEvents
from raresearch.metrics.significance import Xi
from raresearch.types import Array, Value

DRAWS = 60  # of the events: their error to a tenth of itself
SIGMAS = 3.0  # a claim is decided beyond
_REPEATS = 2  # fewer say nothing of the next training


@dataclass(frozen=True)
class Claim:
    """Ξ with ``name`` = ``better`` is above Ξ with ``worse``, all else equal; by ``gain``, a share, where the paper prints it."""

    text: str
    name: str
    better: Value
    worse: Value
    gain: float | None
    also: Mapping[str, Value]


_B0: Mapping[str, Value] = {"model.network": "EfficientNetB0"}
_B4: Mapping[str, Value] = {"model.network": "EfficientNetB4"}
#: Sec. 4.3 and Fig. 11; Table 1; Table 3
CLAIMS = (
    Claim("n = 8 beats n = 1792", "model.top_channels", 8, 1792, 0.10, {}),
    Claim("n = 8 beats n = 2", "model.top_channels", 8, 2, None, {}),
    Claim("EfficientNetB4 beats ResNet50", "model.network", "EfficientNetB4", "ResNet50", 9.80 / 6.80 - 1, {}),
    Claim("EfficientNetB4 beats DenseNet169", "model.network", "EfficientNetB4", "DenseNet169", 9.80 / 7.92 - 1, {}),
    Claim("128 pixels beat 64 (B0)", "model.pixels", 128, 64, 8.39 / 6.66 - 1, _B0),
    Claim("256 pixels beat 128 (B4)", "model.pixels", 256, 128, 10.78 / 9.80 - 1, _B4),
)


@dataclass(frozen=True)
class Ratio:
    """ln of the ratio of two configs' mean Ξ; its error from shared ``events`` and from ``repeats`` (NaN where one alone)."""

    log: float
    events: float
    repeats: float
    freedom: int

    def reach(self, sigmas: float) -> float:
        """The error at ``sigmas``: of few repeats by Student's distribution, whose tails are long."""
        if self.freedom < 1:
            return math.nan
        return math.hypot(sigmas * self.events, float(stdtrit(self.freedom, ndtr(sigmas))) * self.repeats)


def claims(findings: Findings) -> list[ReadOut]:
    """A row for each claim whose two configs the study has; no table where it has none."""
    rows = []
    for claim in CLAIMS:
        found = (_with(findings.every, claim, claim.better), _with(findings.every, claim, claim.worse))
        if found[0] is not None and found[1] is not None:
            rows.append(_row(claim, *(f.scored["validation"] for f in found if f is not None)))
    if not rows:
        return []
    columns = ("claim", "in the paper", "seen", "interval", "error of repeats", "error of events", "decided from", "can decide")
    note = (
        f"Ratio of mean Ξ on validation, one-sigma interval: spread of the repeats, and {DRAWS} bootstraps of the events that both "
        f"share. Decided from: the smallest difference beyond {SIGMAS:g} σ (Student for the repeats). Simulated "
        "events; the network and their number are this study's, not the paper's, unless its scale says so."
    )
    return [ReadOut("Which of the paper's claims this study can decide", columns, tuple(rows), note)]


def _with(every: Mapping[str, Findings], claim: Claim, value: Value) -> Findings | None:
    wanted = {**claim.also, claim.name: value}
    for each in every.values():
        if all(each.config.get(name) == v for name, v in wanted.items()):
            return each
    return None


def _row(claim: Claim, better: Sequence[ScoredEvents], worse: Sequence[ScoredEvents]) -> tuple[str, ...]:
    printed = "better" if claim.gain is None else f"+{claim.gain:.0%}"
    try:
        found = ratio(better, worse)
    except DataError as error:
        return claim.text, printed, "—", "—", "—", "—", "—", f"no: {error.rule}"
    if not math.isfinite(found.reach(1.0)):
        return claim.text, printed, _share(found.log), "—", "unknown", f"{found.events:.0%}", "—", "no: one training each"
    ends = f"[{_share(found.log - found.reach(1.0))}, {_share(found.log + found.reach(1.0))}]"
    least = math.expm1(found.reach(SIGMAS))
    errors = f"{found.repeats:.0%}", f"{found.events:.0%}", f"±{least:.0%}"
    return claim.text, printed, _share(found.log), ends, *errors, _verdict(claim, found, least)


def _verdict(claim: Claim, found: Ratio, least: float) -> str:
    if abs(found.log) > found.reach(SIGMAS):
        return "yes: as claimed" if found.log > 0 else "yes: the other way round"
    if claim.gain is None:
        return "no"
    if claim.gain > least:
        return "yes: not by as much" if math.log1p(claim.gain) - found.log > found.reach(SIGMAS) else "not yet"
    return f"no: {(least / claim.gain) ** 2:.0f} × the events and trainings would, at a cut that keeps the same shares"


def _share(log: float) -> str:
    return f"{math.expm1(log):+.0%}"


def ratio(better: Sequence[ScoredEvents], worse: Sequence[ScoredEvents], draws: int = DRAWS) -> Ratio:
    """Of the mean Ξ of R repeats of two configs, which score the same events in the same order.

    Raises `DataError` where the background is too small for a Ξ.
    """
    rng, (a, b) = np.random.default_rng(0), (_logs(better), _logs(worse))
    label = better[0].label
    each = [np.flatnonzero(label == y) for y in (0, 1)]
    seen = []
    for _ in range(draws):
        events = np.concatenate([mine[rng.integers(len(mine), size=len(mine))] for mine in each])
        seen.append(_logs(better, events).mean() - _logs(worse, events).mean())
    alone = min(len(a), len(b)) < _REPEATS
    repeats = math.nan if alone else math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return Ratio(float(a.mean() - b.mean()), float(np.std(seen, ddof=1)), repeats, 0 if alone else len(a) + len(b) - 2)


def _logs(samples: Sequence[ScoredEvents], events: Array | None = None) -> Array:
    """(R,) ln Ξ of each repeat on ``events``; all that are counted, if None."""
    values = []
    for sample in samples:
        rows = np.flatnonzero(sample.label >= 0) if events is None else events
        values.append(math.log(Xi()(sample.scores[rows], sample.label[rows], sample.weight[rows]).value))
    return np.asarray(values)
