"""What every selection rule must keep. Inherit `RuleContract` and give `rule`."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.ensembles.base import SelectionRule
from raresearch.errors import SelectionError
from raresearch.types import EpochTable


def random_epochs(rng: np.random.Generator, cells: int, longest: int = 30) -> EpochTable:
    """Epochs of ``cells`` cells of two configs, with ties (rounded values) as real trainings have them."""
    parts: list[dict[str, np.ndarray]] = []
    for number in range(cells):
        n = int(rng.integers(1, longest + 1))
        same = np.full(n, 1)
        parts.append(
            {
                "cell": np.full(n, f"cell{number:03d}"),
                "config": np.full(n, f"config{number % 2}"),
                "fold": same * 0,
                "seed": same * (number // 2),
                "epoch": np.arange(1, n + 1),
                "train_loss": rng.normal(1, 0.1, n),
                "val_loss": np.round(rng.normal(1, 0.1, n), 2),
                "val_accuracy": np.round(rng.normal(0.9, 0.01, n), 3),
            }
        )
    return EpochTable({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


class RuleContract:
    """Obligations of `raresearch.ensembles.base.SelectionRule`, as tests."""

    rule: SelectionRule

    def test_members_are_epochs_that_exist(self) -> None:
        for seed in range(20):
            epochs = random_epochs(np.random.default_rng(seed), 4)
            there = set(zip(epochs["cell"].tolist(), epochs["epoch"].tolist(), strict=True))
            members = self.rule.choose(epochs)
            assert members
            assert {(m.cell, m.epoch) for m in members} <= there

    def test_the_online_half_never_drops_what_the_choice_needs_later(self) -> None:
        for seed in range(40):
            cell = random_epochs(np.random.default_rng(seed), 1)
            kept = {1}
            for n in range(1, len(cell) + 1):
                # weights once dropped are gone: what is kept now must have been kept all along
                kept = (kept | {n}) & self.rule.keep(cell.where(np.arange(n)))
            chosen = {m.epoch for m in self.rule.choose(cell)}
            assert chosen <= kept, f"seed {seed}: epochs {sorted(chosen - kept)} were chosen after they had been dropped"

    def test_the_order_of_the_rows_does_not_matter(self) -> None:
        rng = np.random.default_rng(1)
        epochs = random_epochs(rng, 4)
        shuffled = epochs.where(rng.permutation(len(epochs)))
        in_order = shuffled.where(np.lexsort((shuffled["epoch"], shuffled["cell"])))
        assert {(m.cell, m.epoch) for m in self.rule.choose(epochs)} == {(m.cell, m.epoch) for m in self.rule.choose(in_order)}

    def test_choosing_twice_gives_the_same(self) -> None:
        epochs = random_epochs(np.random.default_rng(2), 3)
        assert self.rule.choose(epochs) == self.rule.choose(epochs)

    def test_it_needs_no_test_column(self) -> None:
        assert not [n for n in self.rule.needs if n.startswith("test")]

    def test_no_epochs_are_refused_in_one_line(self) -> None:
        epochs = random_epochs(np.random.default_rng(3), 1)
        with pytest.raises(SelectionError) as error:
            self.rule.choose(epochs.where(np.zeros(len(epochs), dtype=bool)))
        assert "\n" not in str(error.value)
