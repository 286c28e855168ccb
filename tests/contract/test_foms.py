"""Every built-in figure of merit keeps the contract that ships; broken ones do not."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import numpy as np
import pytest

from raresearch.metrics import foms
from raresearch.metrics.base import Fom
from raresearch.testing.fom_contract import FigureOfMeritContract


class TestSignificance(FigureOfMeritContract):
    fom = foms.Significance()


class TestSignificanceOfExpectedCounts(FigureOfMeritContract):
    fom = foms.Significance(n_signal=3.0, n_background=200.0)


class TestXi(FigureOfMeritContract):
    fom = foms.Xi()


class TestXiWithoutMinimum(FigureOfMeritContract):
    fom = foms.Xi(min_background=0)


class TestRejection(FigureOfMeritContract):
    fom = foms.Rejection()


class TestAcceptance(FigureOfMeritContract):
    fom = foms.Acceptance()


class TestRocAuc(FigureOfMeritContract):
    fom = foms.RocAuc()


class TestAccuracy(FigureOfMeritContract):
    fom = foms.Accuracy()


class TestRecall(FigureOfMeritContract):
    fom = foms.Recall()


class TestPrecision(FigureOfMeritContract):
    fom = foms.Precision()


class TestAveragePrecision(FigureOfMeritContract):
    fom = foms.AveragePrecision()


class TestAveragePrecisionOfBinaryPredictions(FigureOfMeritContract):
    fom = foms.AveragePrecision(binarised=True)


def test_every_entry_point_names_a_built_in_that_bears_its_name() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["raresearch.foms"]
    assert points
    for name, target in points.items():
        module, attribute = target.split(":")
        # An experiment's own figures live in its room.
        assert module == foms.__name__ or module.startswith("raresearch.experiments.")
        assert getattr(importlib.import_module(module), attribute).name == name


def test_the_contract_is_applied_to_every_built_in() -> None:
    here = [c for c in FigureOfMeritContract.__subclasses__() if c.__module__ == __name__]
    tested = {type(c.fom) for c in here}
    assert {getattr(foms, name) for name in foms.__all__} <= tested


class CountsSpectators(foms.Recall):
    def __call__(self, scores, labels, weights=None, **options):
        return super().__call__(scores, np.maximum(labels, 0), weights, **options)


class IgnoresWeights(foms.RocAuc):
    def __call__(self, scores, labels, weights=None, **options):
        return super().__call__(scores, labels, None, **options)


class DependsOnOrder(foms.Accuracy):
    def __call__(self, scores, labels, weights=None, **options):
        return super().__call__(scores, labels, np.linspace(1, 2, len(scores)), **options)


class RoundsScores(foms.RocAuc):
    def __call__(self, scores, labels, weights=None, **options):
        return super().__call__(np.round(scores, 1), labels, weights, **options)


class ForgetsItsCut(foms.Significance):
    def _estimate(self, sample, threshold, level):
        return super()._estimate(sample, None if threshold is None else threshold + 0.1, level)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (CountsSpectators(), "test_spectators_change_nothing"),
        (IgnoresWeights(), "test_weight_two_counts_as_the_event_twice"),
        (DependsOnOrder(), "test_the_order_of_events_does_not_matter"),
        (RoundsScores(), "test_a_strictly_increasing_transform_of_scores_changes_nothing"),
        (ForgetsItsCut(), "test_its_threshold_given_back_gives_the_same_value"),
    ],
    ids=lambda x: x if isinstance(x, str) else type(x).__name__,
)
def test_the_contract_catches_a_broken_figure(broken: Fom, test: str) -> None:
    contract = FigureOfMeritContract()
    contract.fom = broken
    with pytest.raises(AssertionError):
        getattr(contract, test)()


def test_the_contract_catches_values_that_differ_from_calls() -> None:
    class Differs(foms.RocAuc):
        def _values(self, scores_MN, events):
            return 1.0 - super()._values(scores_MN, events)

    contract = FigureOfMeritContract()
    contract.fom = Differs()
    with pytest.raises(AssertionError):
        contract.test_values_equal_calls_row_by_row(weighted=False)
