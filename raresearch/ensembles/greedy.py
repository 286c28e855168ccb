"""Greedy forward selection as a rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import InitVar, dataclass
from pathlib import Path as Folder
from typing import ClassVar

import numpy as np

from raresearch.ensembles.base import Library, Per, ScoreSource, ordered, refuse_missing, without_scores
from raresearch.ensembles.candidates import Candidates, member, whole
from raresearch.ensembles.combine import additive, check_combination, finish
from raresearch.ensembles.fast_rejection import RejectionEngine
from raresearch.ensembles.figures import FomName, own_fom, unit
from raresearch.ensembles.forward import Engine, FomEngine, Path, forward
from raresearch.ensembles.rules import Goal, refuse_empty
from raresearch.errors import SelectionError, SpecError
from raresearch.metrics.base import FigureOfMerit
from raresearch.metrics.working_points import Rejection
from raresearch.types import Array, EpochTable, Member, named_stream


@dataclass(frozen=True)
class Greedy:
    """Forward selection with replacement on any figure of merit (Caruana et al. 2004, doi 10.1145/1015330.1015432).

    Candidates are the best ``epochs`` of each cell in ``by`` (None: all), of those the best ``pool`` over all cells (None:
    all; pruning the library also overfits less, Caruana, Munson and Niculescu-Mizil 2006, doi 10.1109/ICDM.2006.76). It starts
    with the ``initial`` best alone and adds ``steps`` in all, one at a time, whichever makes ``fom`` of the combined scores
    best; the shortest beginning of that path with the best value is kept. Weights count how often a candidate was picked.

    Ties: the candidate with the better ``by``, then the earlier cell and epoch. ``bags`` > 1: as many runs, each on a random
    ``fraction`` of the candidates (drawn from ``seed``), their picks added up. ``floor``: a candidate is passed over where
    the cut would leave fewer background events than that, so that nothing is won by a fluctuation of the last few.

    With folds, each fold's candidates are chosen on their own validation events, and every fold gets the same weight.
    """

    fom: FomName = "rejection"
    steps: int = 25
    initial: int = 1
    epochs: int | None = 1
    pool: int | None = 50
    by: str = "val_loss"
    goal: Goal | None = None
    bags: int = 1
    fraction: float = 0.5
    floor: int = 0
    seed: int = 0
    combine: str = "scores"
    base_dir: InitVar[Folder | None] = None  # from where a figure's file is looked for; no option, and not what the rule is
    per: ClassVar[Per] = "study"
    needs_scores: ClassVar[bool] = True

    def __post_init__(self, base_dir: Folder | None) -> None:
        object.__setattr__(self, "base_dir", base_dir)
        for place, value, least in (("steps", self.steps, 1), ("initial", self.initial, 1), ("bags", self.bags, 1)):
            whole(place, value, least)
        whole("floor", self.floor, 0)
        if self.initial > self.steps:
            raise SpecError("initial", f"{self.initial} given, more than the {self.steps} steps", "give more steps")
        if not 0 < self.fraction <= 1:
            raise SpecError("fraction", f"{self.fraction!r} given, a share above 0 and up to 1 is needed", "0.5 is usual")
        if check_combination(self.combine) in ("median", "weighted"):
            raise SpecError("combine", f"{self.combine!r} cannot be built member by member", "use scores, logits or ranks")
        self._candidates  # noqa: B018 (checks its options)
        own_fom(self)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.by})

    @property
    def _candidates(self) -> Candidates:
        return Candidates(self.epochs, self.pool, self.by, self.goal)

    def keep(self, epochs: EpochTable) -> set[int]:
        return self._candidates.keep(epochs)

    def choose(self, epochs: EpochTable) -> list[Member]:
        refuse_empty(epochs)
        raise without_scores(self)

    def choose_scored(self, epochs: EpochTable, scores: ScoreSource) -> list[Member]:
        refuse_missing(self, epochs)
        candidates, chosen = self._candidates.table(epochs), list[Member]()
        for library in scores.libraries(candidates):
            counts = self.counts(library)
            total = sum(counts.values())
            chosen += [member(candidates, int(library.rows[c]), n / total) for c, n in counts.items()]
        return ordered(chosen)

    def counts(self, library: Library) -> Counter[int]:
        """Candidate number of ``library`` → how often it was picked, over all bags."""
        engine = self._engine(library)
        counts: Counter[int] = Counter()
        for among in self._bags(len(library.rows)):
            path = forward(engine, among, self.steps, self.initial, library.logits.shape[1])
            counts.update(pick.candidate for pick in _some(path, self.floor).best())
        return counts

    def _bags(self, n: int) -> Iterator[Array]:
        """Candidate numbers of each bag, rising."""
        if self.bags == 1:
            yield np.arange(n)
            return
        for bag in range(self.bags):
            rng = np.random.default_rng(named_stream(self.seed, "greedy", "bag", str(bag)))
            yield np.sort(rng.choice(n, max(1, round(self.fraction * n)), replace=False))

    def _engine(self, library: Library) -> Engine:
        return engine(own_fom(self), library, self.combine, self.floor)


def engine(fom: FigureOfMerit, library: Library, how: str, floor: int) -> Engine:
    """The fastest engine that gives exactly the picks of `FomEngine`."""
    parts = additive(how, library.logits)
    if type(fom) is Rejection and how != "logits" and _equal_weights(library):
        fom(parts[0], library.label, library.weight)  # refuses what the figure of merit refuses: one class, no events
        return RejectionEngine(parts, library.label, fom.acceptance, floor)
    return FomEngine(parts, library.label, unit(library.weight), fom, lambda mean: finish(how, mean), floor)


def _equal_weights(library: Library) -> bool:
    """Whether counting events is the same as adding their weights, class by class."""
    per_class = (library.weight[library.label == label] for label in (0, 1))
    return all(len(w) and w[0] > 0 and (w == w[0]).all() for w in per_class)


def _some(path: Path, floor: int) -> Path:
    if not path.picks:
        rule = f"no candidate leaves {floor} background events at its cut" if floor else "the figure of merit is no number"
        raise SelectionError("greedy", rule, "lower `floor`, or give more background events")
    return path
