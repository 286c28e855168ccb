"""What every selection rule must keep. Inherit `RuleContract` and give `rule`."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from raresearch.ensembles.base import Library, ScoredRule, SelectionRule, choose
from raresearch.errors import SelectionError
from raresearch.types import EpochTable, Member


def random_epochs(rng: np.random.Generator, cells: int, longest: int = 30, folds: int = 1) -> EpochTable:
    """Epochs of ``cells`` cells of two configs, with ties (rounded values) as real trainings have them.

    With ``folds``, each repeat has a cell for each fold, and ``cells`` counts repeats.
    """
    parts: list[dict[str, np.ndarray]] = []
    for number in range(cells * folds):
        n = int(rng.integers(1, longest + 1))
        same = np.full(n, 1)
        repeat = number // folds
        parts.append(
            {
                "cell": np.full(n, f"cell{number:03d}"),
                "config": np.full(n, f"config{repeat % 2}"),
                "fold": same * (number % folds),
                "seed": same * (repeat // 2),
                "epoch": np.arange(1, n + 1),
                "train_loss": rng.normal(1, 0.1, n),
                "val_loss": np.round(rng.normal(1, 0.1, n), 2),
                "val_accuracy": np.round(rng.normal(0.9, 0.01, n), 3),
            }
        )
    return EpochTable({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


class RandomScores:
    """A `ScoreSource` whose logits depend on (cell, epoch) alone: 120 events a fold, a tenth of them spectators.

    ``asked``: every (cell, epoch) that was asked for.
    """

    def __init__(self, events: int = 120) -> None:
        self.events = events
        self.asked: set[tuple[str, int]] = set()

    def libraries(self, epochs: EpochTable) -> list[Library]:
        """See `ScoreSource.libraries`; one list of events for each fold."""
        found = []
        for fold in np.unique(epochs["fold"]):
            rows = np.flatnonzero(epochs["fold"] == fold)
            label = np.arange(self.events) % 10
            label = np.where(label == 9, -1, label < 4).astype(np.int8)
            logits = np.stack([self._logits(str(epochs["cell"][r]), int(epochs["epoch"][r]), label) for r in rows])
            found.append(Library(f"fold-{fold}", rows, logits, label, np.ones(self.events)))
        return found

    def _logits(self, cell: str, epoch: int, label: np.ndarray) -> np.ndarray:
        self.asked.add((cell, epoch))
        rng = np.random.default_rng(zlib.crc32(f"{cell}/{epoch}".encode()))
        return np.round(rng.normal(size=self.events) + rng.uniform(0.3, 2.0) * label, 1).astype(np.float32)


class RuleContract:
    """Obligations of `raresearch.ensembles.base.SelectionRule`, as tests.

    ``folds``: how many folds the epochs given have; a rule that needs folds sets 2 or more.
    """

    rule: SelectionRule
    folds: int = 1

    def epochs(self, seed: int, repeats: int = 4) -> EpochTable:
        """Epochs to choose from."""
        return random_epochs(np.random.default_rng(seed), repeats, folds=self.folds)

    def choose(self, epochs: EpochTable) -> list[Member]:
        """What the rule chooses, with scores where it needs them."""
        return choose(self.rule, epochs, RandomScores())

    def test_members_are_epochs_that_exist(self) -> None:
        for seed in range(20):
            epochs = self.epochs(seed)
            there = set(zip(epochs["cell"].tolist(), epochs["epoch"].tolist(), strict=True))
            members = self.choose(epochs)
            assert members
            assert {(m.cell, m.epoch) for m in members} <= there

    def test_no_member_comes_twice_and_weights_are_positive(self) -> None:
        for seed in range(20):
            members = self.choose(self.epochs(seed))
            assert len({(m.cell, m.epoch) for m in members}) == len(members)
            assert all(np.isfinite(m.weight) and m.weight > 0 for m in members)

    def test_the_online_half_never_drops_what_the_choice_needs_later(self) -> None:
        for seed in range(10):
            epochs = self.epochs(seed)
            scores = RandomScores()
            chosen = {(m.cell, m.epoch) for m in choose(self.rule, epochs, scores)} | scores.asked
            for (key,), cell in epochs.groups("cell"):
                kept = {1}
                for n in range(1, len(cell) + 1):
                    # what is dropped once is gone: what is kept now must have been kept all along
                    kept = (kept | {n}) & self.rule.keep(cell.where(np.arange(n)))
                needed = {epoch for name, epoch in chosen if name == key}
                lost = sorted(needed - kept)
                assert not lost, f"seed {seed}, {key}: epochs {lost} were looked at after they had been dropped"

    def test_the_order_of_the_rows_does_not_matter(self) -> None:
        epochs = self.epochs(1)
        shuffled = epochs.where(np.random.default_rng(1).permutation(len(epochs)))
        in_order = shuffled.where(np.lexsort((shuffled["epoch"], shuffled["cell"])))
        assert {(m.cell, m.epoch) for m in self.choose(epochs)} == {(m.cell, m.epoch) for m in self.choose(in_order)}

    def test_choosing_twice_gives_the_same(self) -> None:
        epochs = self.epochs(2)
        assert self.choose(epochs) == self.choose(epochs)

    def test_it_needs_no_test_column(self) -> None:
        assert not [n for n in self.rule.needs if n.startswith("test")]

    def test_it_reads_no_column_that_it_does_not_name(self) -> None:
        epochs = self.epochs(3)
        always = {"cell", "config", "fold", "seed", "epoch"} | self.rule.needs
        fewer = EpochTable({name: epochs[name] for name in epochs.columns if name in always})
        assert self.choose(fewer) == self.choose(epochs)

    def test_no_epochs_are_refused_in_one_line(self) -> None:
        epochs = self.epochs(3)
        with pytest.raises(SelectionError) as error:
            self.choose(epochs.where(np.zeros(len(epochs), dtype=bool)))
        assert "\n" not in str(error.value)

    def test_a_rule_with_scores_says_so_where_there_are_none(self) -> None:
        if not (isinstance(self.rule, ScoredRule) and self.rule.needs_scores):
            pytest.skip("columns do for this rule")
        with pytest.raises(SelectionError, match="needs the scores"):
            choose(self.rule, self.epochs(4), None)
        with pytest.raises(SelectionError, match="needs the scores"):
            self.rule.choose(self.epochs(4))
