"""The contract of a selection rule, and of a rule that asks for scores too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast, runtime_checkable

from raresearch.errors import SelectionError
from raresearch.types import Array, EpochTable, Member

#: what one ensemble is made from: one cell, one repeat (all folds of a seed), one config, or everything in the study
Per = Literal["cell", "repeat", "config", "study"]
SCOPES: dict[str, tuple[str, ...]] = {
    "cell": ("config", "fold", "seed"),
    "repeat": ("config", "seed"),
    "config": ("config",),
    "study": (),
}


@runtime_checkable
class SelectionRule(Protocol):
    """Chooses members, (cell, epoch) pairs, from validation results only.

    Obligations: pure functions of the table; no state between calls; may be called in the driver, and `keep` in workers
    after every epoch of a cell, so it must be cheap. `keep(t)` must contain every epoch of the one cell in ``t`` that
    `choose` may still pick after more epochs follow: weights and scores of all others may be dropped for good.

    Optional attributes: ``per`` (`Per`), the scope that `OpenStudy.select` uses where none is given ("cell" without it);
    ``combine``, how the members' scores combine where none is given ("scores" without it); ``needs_scores``, see
    `ScoredRule`.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Epoch columns that the rule reads; never a test column."""

    def keep(self, epochs: EpochTable) -> set[int]:
        """Epochs of the single cell in ``epochs`` that must not be dropped yet."""

    def choose(self, epochs: EpochTable) -> list[Member]:
        """Members, best first, from the epochs given (of one cell or of several). Raises `SelectionError`."""


@dataclass(frozen=True)
class Library:
    """What the candidates say of one list of validation events. Legend: M candidates, N events.

    ``rows`` (M,): rows of the epoch table that was asked for. ``logits`` (M, N) float32. ``label`` (N,) int8: 1 signal,
    0 background, -1 spectator; ``weight`` (N,).
    """

    events: str
    rows: Array
    logits: Array
    label: Array
    weight: Array
    columns: Mapping[str, Array] = field(default_factory=dict)


class ScoreSource(Protocol):
    """Where scores of validation events come from. It has no method that gives a test event."""

    def libraries(self, epochs: EpochTable) -> list[Library]:
        """The scores of every row of ``epochs``, one library for each list of events (each fold has its own).

        Only the rows asked for are read: filter by columns first. Raises `SelectionError` where scores were not kept, are
        NaN, or do not fit their list of events.
        """


@runtime_checkable
class ScoredRule(SelectionRule, Protocol):
    """A rule whose ``needs_scores`` is True: `select` calls `choose_scored` in place of `choose`.

    The rule sees validation scores, labels and weights; `choose` without them raises `SelectionError`.
    """

    @property
    def needs_scores(self) -> bool:
        """Whether columns alone do not do."""

    def choose_scored(self, epochs: EpochTable, scores: ScoreSource) -> list[Member]:
        """Members, best first, with weights. Raises `SelectionError`, and `DataError` where the figure cannot be computed."""


def choose(rule: SelectionRule, epochs: EpochTable, scores: ScoreSource | None) -> list[Member]:
    """What ``rule`` chooses, with ``scores`` where it needs them."""
    if not getattr(rule, "needs_scores", False):  # an isinstance of a protocol takes longer than a simple choice
        return rule.choose(epochs)
    if scores is None:
        raise without_scores(rule)
    return cast(ScoredRule, rule).choose_scored(epochs, scores)


def without_scores(rule: SelectionRule) -> SelectionError:
    """The refusal of a rule that needs scores and was given columns alone."""
    remedy = "choose from `epoch_table(store)`, which brings the scores along"
    return SelectionError(f"rule {type(rule).__name__}", "needs the scores of the validation events", remedy)


def refuse_missing(rule: SelectionRule, epochs: EpochTable) -> None:
    """Name a missing column before anything is chosen."""
    for name in sorted(rule.needs):
        epochs[name]


def ordered(members: Sequence[Member]) -> list[Member]:
    """Heaviest member first; of equal weights the order given."""
    return sorted(members, key=lambda m: -m.weight)
