"""The variance of a figure of merit, split into config, fold, seed and finite events.

Model of a cell: y_cfs = μ + a_c + b_f + (ab)_cf + s_cfs with independent random parts. The luck of a fold's events is shared by
all its cells: with several folds it is part of b_f, together with the fold's training events; with one fold it is common to
the whole study and no spread of cells shows it. It is measured by resampling events instead (see `bootstrap`), which also
says how much of the seeds' spread is the seeds' own answer to finite events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from raresearch.ensembles.evaluation import Ensemble, ScoreReader
from raresearch.errors import SelectionError
from raresearch.metrics.base import FigureOfMerit
from raresearch.statistics.bootstrap import EventNoise, event_draws, event_noise
from raresearch.statistics.panel import panel
from raresearch.types import Array


@dataclass(frozen=True)
class VarianceSplit:
    """Variances; None where the study cannot tell (one config, one fold, one repeat).

    ``seed`` is the spread of repeats with the part taken out that finite events make in each repeat on its own
    (``seed_events``). ``events``: the luck of the events that a config's repeats share. ``clipped`` names components whose unbiased
    estimate came out negative and is given as 0.
    """

    config: float | None
    fold: float | None
    config_fold: float | None
    seed: float | None
    seed_events: float
    events: float
    clipped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Plain values by name."""
        return asdict(self)


def components(values_N: Array, factors: Mapping[str, Array]) -> dict[str, float]:
    """Unbiased variance of each random factor and of the ``residual``, for any pattern of missing cells.

    ``values_N`` (N,), ``factors``: name → (N,) levels. Quadratic forms of the centred values in each factor's indicator
    matrix are set equal to their expectations: MINQUE(0) (Rao 1971, doi 10.1016/0047-259X(71)90001-7), which is the
    analysis of variance where the design is balanced. An estimate can be negative. Raises `SelectionError` where factors
    cannot be told apart in these cells.

    >>> one_way = components(np.array([1.0, 3.0, 5.0, 7.0]), {"config": np.array([0, 0, 1, 1])})
    >>> {name: round(value, 6) for name, value in one_way.items()}
    {'config': 7.0, 'residual': 2.0}
    """
    y = values_N - values_N.mean()
    designs = [_centred(levels) for levels in factors.values()]
    designs.append(np.eye(len(y)) - 1.0 / len(y))
    kernels = [z @ z.T for z in designs[:-1]] + [designs[-1]]
    observed = np.asarray([y @ k @ y for k in kernels])
    expected = np.asarray([[float((k * m).sum()) for m in kernels] for k in kernels])
    if np.linalg.matrix_rank(expected, tol=1e-9 * float(expected.max(initial=1.0))) < len(kernels):
        names = ", ".join(factors)
        raise SelectionError(
            "variance", f"{names} and repeats cannot be told apart in {len(y)} cells", "run more repeats or folds"
        )
    solved = np.linalg.solve(expected, observed)
    return dict(zip([*factors, "residual"], (float(v) for v in solved), strict=True))


def _centred(levels: Array) -> Array:
    """(N, L) indicators of the levels, with the mean over cells taken out."""
    _, number = np.unique(levels, return_inverse=True)
    indicators = np.eye(int(number.max()) + 1)[number]
    return np.asarray(indicators - indicators.mean(axis=0))


def split(values_N: Array, config: Array, fold: Array, seed_events: float, events: float) -> VarianceSplit:
    """The split of cells' values (N,), with the events' parts as a bootstrap found them (variances of one cell)."""
    factors: dict[str, Array] = {}
    _, configs = np.unique(config, return_inverse=True)
    _, folds = np.unique(fold, return_inverse=True)
    both = configs * (int(folds.max()) + 1) + folds
    if configs.max() > 0:
        factors["config"] = configs
    if folds.max() > 0:
        factors["fold"] = folds
    repeated = len(np.unique(both)) < len(both)
    if len(factors) == 2 and repeated:
        factors["config_fold"] = both
    found = components(values_N, factors) if repeated else {}
    clipped = tuple(name for name, value in found.items() if value < 0)
    known = {name: max(value, 0.0) for name, value in found.items()}
    spread = known.get("residual")
    seed = None if spread is None else max(spread - seed_events, 0.0)
    return VarianceSplit(
        known.get("config"), known.get("fold"), known.get("config_fold"), seed, seed_events, events, tuple(_named(clipped))
    )


def cell_noise(
    reader: ScoreReader, ensembles: Sequence[Ensemble], config: str, fom: FigureOfMerit, resamples: int = 100
) -> EventNoise:
    """What finite events do to one cell of ``config``: the mean over its folds of each fold's `EventNoise`."""
    mine = [e for e in ensembles if e.config == config]
    found = []
    for fold in sorted({e.fold for e in mine}):
        repeats = panel(reader, [e for e in mine if e.fold == fold])
        found.append(event_noise(event_draws([repeats], fom, resamples, np.random.default_rng(fold))[0]))
    return EventNoise(float(np.mean([n.common for n in found])), float(np.mean([n.own for n in found])))


def _named(clipped: tuple[str, ...]) -> list[str]:
    return ["seed" if name == "residual" else name for name in clipped]
