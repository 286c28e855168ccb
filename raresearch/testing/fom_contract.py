"""The contract of figures of merit as tests: inherit them, set ``fom``, and pytest runs them on yours.

class TestMine(FigureOfMeritContract):
    fom = Mine()
"""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from raresearch.ensembles.figures import estimates
from raresearch.errors import DataError, UserError
from raresearch.metrics.base import FigureOfMerit
from raresearch.types import Array, Estimate

EVENTS = 600
SPECTATORS = 80


def contract_sample(seed: int = 20) -> tuple[Array, Array, Array]:
    """Scores with ties on the probability scale, labels with spectators, weights: what the contract tests use.

    Three of ten events are signal; scores overlap, and some background scores higher than most signal.
    """
    rng = np.random.default_rng(seed)
    labels = (rng.random(EVENTS) < 0.3).astype(np.int8)
    scores = np.round(1.0 / (1.0 + np.exp(-(rng.normal(size=EVENTS) + 2.0 * labels - 1.0))), 3)
    labels[rng.choice(EVENTS, SPECTATORS, replace=False)] = -1
    return scores, labels, rng.exponential(size=EVENTS) + 0.05


class FigureOfMeritContract:
    """Attributes: ``fom``, the figure under test; ``ranking_based`` False where the value changes under a strictly
    increasing transform of the scores that leaves 0.5 where it is (a calibration measure, say)."""

    fom: FigureOfMerit
    ranking_based: bool = True

    def _frozen(self, found: Estimate) -> float | None:
        """The threshold to freeze: a search may count events, so comparisons between samples are made at one cut."""
        return found.threshold if self.fom.cuts else None

    def test_it_names_itself_its_goal_and_its_sources(self) -> None:
        assert self.fom.name.isidentifier()
        assert self.fom.goal in ("max", "min")
        assert isinstance(self.fom.cites, tuple)
        assert all(isinstance(source, str) and source for source in self.fom.cites)

    def test_it_survives_pickling(self) -> None:
        scores, labels, weights = contract_sample()
        assert pickle.loads(pickle.dumps(self.fom))(scores, labels, weights) == self.fom(scores, labels, weights)

    @pytest.mark.parametrize("level", [0.5, 0.6827, 0.95])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_the_interval_is_finite_ordered_and_holds_the_value(self, level: float, weighted: bool) -> None:
        scores, labels, weights = contract_sample()
        found = self.fom(scores, labels, weights if weighted else None, level=level)
        assert all(math.isfinite(x) for x in (found.value, found.low, found.high, found.n_effective))
        assert found.low <= found.value <= found.high
        assert found.level == level
        assert found.method

    def test_a_larger_level_gives_no_narrower_interval(self) -> None:
        scores, labels, weights = contract_sample()
        narrow, wide = (self.fom(scores, labels, weights, level=level) for level in (0.5, 0.95))
        assert wide.low <= narrow.low
        assert wide.high >= narrow.high

    def test_it_returns_a_threshold_exactly_where_it_cuts(self) -> None:
        scores, labels, weights = contract_sample()
        assert (self.fom(scores, labels, weights).threshold is not None) == self.fom.cuts

    def test_its_threshold_given_back_gives_the_same_value(self) -> None:
        scores, labels, weights = contract_sample()
        found = self.fom(scores, labels, weights)
        again = self.fom(scores, labels, weights, threshold=self._frozen(found))
        assert again.value == pytest.approx(found.value, rel=1e-9)
        assert again.threshold == found.threshold

    def test_it_does_not_change_what_it_is_given_and_repeats_itself(self) -> None:
        given = contract_sample()
        for array in given:
            array.setflags(write=False)
        assert self.fom(*given) == self.fom(*given)

    def test_a_strictly_increasing_transform_of_scores_changes_nothing(self) -> None:
        if not self.ranking_based:
            pytest.skip("declared as not ranking-based")
        scores, labels, weights = contract_sample()
        found = self.fom(scores, labels, weights)
        # The cube is strictly increasing on the grid of scores and keeps 0.5, where fixed cuts are made.
        changed = self.fom(0.5 + 4.0 * (scores - 0.5) ** 3, labels, weights)
        assert changed.value == pytest.approx(found.value, rel=1e-9)
        assert (changed.low, changed.high) == pytest.approx((found.low, found.high), rel=1e-9)

    def test_the_order_of_events_does_not_matter(self) -> None:
        scores, labels, weights = contract_sample()
        order = np.random.default_rng(1).permutation(EVENTS)
        found, shuffled = self.fom(scores, labels, weights), self.fom(scores[order], labels[order], weights[order])
        assert shuffled.value == pytest.approx(found.value, rel=1e-9)
        assert (shuffled.low, shuffled.high) == pytest.approx((found.low, found.high), rel=1e-9)

    def test_weight_two_counts_as_the_event_twice(self) -> None:
        scores, labels, _ = contract_sample()
        twice = np.random.default_rng(2).random(EVENTS) < 0.5
        cut = self._frozen(self.fom(scores, labels))
        doubled = self.fom(scores, labels, np.where(twice, 2.0, 1.0), threshold=cut)
        repeated = self.fom(np.r_[scores, scores[twice]], np.r_[labels, labels[twice]], threshold=cut)
        assert doubled.value == pytest.approx(repeated.value, rel=1e-9)

    def test_equal_weights_count_as_no_weights(self) -> None:
        scores, labels, _ = contract_sample()
        assert self.fom(scores, labels, np.ones(EVENTS)).value == pytest.approx(self.fom(scores, labels).value, rel=1e-9)

    def test_spectators_change_nothing(self) -> None:
        scores, labels, weights = contract_sample()
        kept = labels >= 0
        full, without = self.fom(scores, labels, weights), self.fom(scores[kept], labels[kept], weights[kept])
        assert full == without

    @pytest.mark.parametrize("weighted", [False, True])
    def test_values_equal_calls_row_by_row(self, weighted: bool) -> None:
        scores, labels, weights = contract_sample()
        rng = np.random.default_rng(3)
        scores_MN = np.stack([scores, scores[::-1], rng.random(EVENTS), np.round(rng.random(EVENTS), 1)])
        given = weights if weighted else None
        values = self.fom.values(scores_MN, labels, given)
        assert values.dtype == np.float64
        assert values == pytest.approx([self.fom(row, labels, given).value for row in scores_MN], rel=1e-9, abs=1e-12)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_estimates_equal_calls_row_by_row_to_the_bit(self, weighted: bool) -> None:
        scores, labels, weights = contract_sample()
        rng = np.random.default_rng(3)
        scores_MN = np.stack([scores, scores[::-1], rng.random(EVENTS), np.round(rng.random(EVENTS), 1)])
        given = weights if weighted else np.ones(EVENTS)
        apart = [self.fom(row, labels, given) for row in scores_MN]
        assert repr(estimates(self.fom, scores_MN, labels, given)) == repr(apart)  # as text: NaN is no number's equal

    def test_values_of_no_rows_is_empty(self) -> None:
        _, labels, _ = contract_sample()
        assert self.fom.values(np.empty((0, EVENTS)), labels).shape == (0,)

    @pytest.mark.parametrize(("label", "name"), [(1, "signal"), (0, "background")])
    def test_one_class_alone_is_refused_by_name(self, label: int, name: str) -> None:
        scores, labels, weights = contract_sample()
        only = np.where(labels == 1 - label, -1, labels)
        with pytest.raises(DataError, match=f"only {name} events"):
            self.fom(scores, only, weights)
        with pytest.raises(DataError, match=f"only {name} events"):
            self.fom.values(scores[None], only, weights)

    def test_nan_scores_are_refused_and_counted(self) -> None:
        scores, labels, weights = contract_sample()
        scores[np.flatnonzero(labels >= 0)[:3]] = np.nan
        with pytest.raises(DataError, match="3 NaN"):
            self.fom(scores, labels, weights)
        with pytest.raises(DataError, match="3 NaN"):
            self.fom.values(scores[None], labels, weights)

    def test_shapes_that_differ_are_refused(self) -> None:
        scores, labels, weights = contract_sample()
        with pytest.raises(DataError, match="shape"):
            self.fom(scores[:-1], labels, weights)
        with pytest.raises(DataError, match="shape"):
            self.fom(scores, labels, weights[:-1])
        with pytest.raises(DataError, match="shape"):
            self.fom.values(scores, labels, weights)

    def test_a_level_outside_zero_to_one_is_refused(self) -> None:
        scores, labels, weights = contract_sample()
        with pytest.raises(UserError, match="level"):
            self.fom(scores, labels, weights, level=1.0)
