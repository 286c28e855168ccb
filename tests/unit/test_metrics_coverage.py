"""Intervals cover the truth as often as they say: 2,000 simulated samples each, two unit Gaussians 2 sigma apart.

The bounds are the level ± 3.5 binomial standard errors (0.036), widened where the docstrings say that an interval is
conservative (exact intervals over-cover) or that few effective events make it too short.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from raresearch.metrics import foms
from raresearch.metrics.base import Fom
from raresearch.types import ONE_SIGMA, Estimate

TOYS = 2000
TOLERANCE = 3.5 * math.sqrt(ONE_SIGMA * (1 - ONE_SIGMA) / TOYS)
SEPARATION = 2.0


def efficiencies(cut: float) -> tuple[float, float]:
    """True ε_s and ε_b at a cut on the probability scale."""
    x = float(logit(cut))
    return float(stats.norm.sf(x - SEPARATION / 2)), float(stats.norm.sf(x + SEPARATION / 2))


def average_precision(signal_share: float) -> float:
    """The area under the true precision-recall curve, by integration over cuts."""
    x = np.linspace(-9, 9, 200_001)
    signal, background = stats.norm.sf(x - SEPARATION / 2), stats.norm.sf(x + SEPARATION / 2)
    precision = signal_share * signal / (signal_share * signal + (1 - signal_share) * background)
    return float(-np.trapezoid(precision, signal))


def covers(found: Estimate, truth: float) -> bool:
    """A lower limit has no upper end."""
    return found.low <= truth and (found.lower_limit or truth <= found.high)


def coverage(fom: Fom, truth: float, n_signal: int, n_background: int, cut: float | None, weighted: bool) -> float:
    rng = np.random.default_rng(20230301)
    labels = np.repeat([1, 0], [n_signal, n_background])
    hits = 0
    for _ in range(TOYS):
        scores = expit(rng.normal(size=len(labels)) + SEPARATION * (labels - 0.5))
        weights = None
        if weighted:  # normalised to the class, as weights that stand for known rates are
            weights = rng.exponential(size=len(labels))
            weights /= np.where(labels == 1, weights[labels == 1].sum() / n_signal, weights[labels == 0].sum() / n_background)
        hits += covers(fom(scores, labels, weights, threshold=cut), truth)
    return hits / TOYS


def xi(cut: float) -> float:
    eps_s, eps_b = efficiencies(cut)
    return eps_s / math.sqrt(eps_b)


def significance(cut: float) -> float:
    eps_s, eps_b = efficiencies(cut)
    return 100 * eps_s / math.sqrt(100 * (eps_s + eps_b))


SMALL, LARGE = (50, 100, 0.65), (600, 600, 0.5)  # events, and a cut that keeps 5.5 and 95 background events


@pytest.mark.parametrize(
    ("size", "weighted", "below", "above"),
    [
        (SMALL, False, 0, 0.03),
        (LARGE, False, 0, 0),
        (LARGE, True, 0.01, 0.01),
        (SMALL, True, 0.06, 0.03),  # three effective background events kept
    ],
)
def test_xi_and_significance_cover_at_a_fixed_cut(size, weighted, below, above) -> None:
    n_signal, n_background, cut = size
    for fom, truth in ((foms.Xi(1), xi(cut)), (foms.Significance(100, 100), significance(cut))):
        found = coverage(fom, truth, n_signal, n_background, cut, weighted)
        assert ONE_SIGMA - TOLERANCE - below <= found <= ONE_SIGMA + TOLERANCE + above, (fom.name, found)


def test_the_lower_limit_of_xi_claims_too_much_in_at_most_one_of_ten_samples() -> None:
    # The worst case: the true ε_b is just above its limit 2.3/N_b, so that every limit that is given is wrong.
    rng, n_background = np.random.default_rng(5), 400
    eps_b = 2.31 / n_background
    labels, signal = np.repeat([1, 0], [10, n_background]), np.repeat([0.9, 0.1], 5)
    wrong = 0
    for _ in range(TOYS):
        found = foms.Xi(0)(np.r_[signal, np.where(rng.random(n_background) < eps_b, 0.9, 0.1)], labels, threshold=0.5)
        wrong += found.lower_limit and found.value > 0.5 / math.sqrt(eps_b)
    assert 0 < wrong / TOYS <= 0.1 + 3.5 * math.sqrt(0.1 * 0.9 / TOYS)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_exact_intervals_at_a_fixed_cut_cover_at_least_their_level(size, weighted) -> None:
    n_signal, n_background, cut = size
    eps_s, eps_b = efficiencies(cut)
    for fom, truth in ((foms.Recall(), eps_s), (foms.Acceptance(), eps_s), (foms.Rejection(), 1 - eps_b)):
        found = coverage(fom, truth, n_signal, n_background, cut, weighted)
        assert ONE_SIGMA - TOLERANCE <= found <= ONE_SIGMA + 0.2, (fom.name, found)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [(50, 100), (500, 500), (600, 200)])
def test_working_points_chosen_on_the_sample_cover_the_true_working_point(size, weighted) -> None:
    rejection = stats.norm.cdf(stats.norm.ppf(0.1) + SEPARATION)
    acceptance = stats.norm.sf(stats.norm.ppf(0.9) - SEPARATION)
    for fom, truth in ((foms.Rejection(0.9), rejection), (foms.Acceptance(0.9), acceptance)):
        found = coverage(fom, truth, *size, None, weighted)
        assert ONE_SIGMA - TOLERANCE <= found <= ONE_SIGMA + 0.16, (fom.name, found)


def test_acceptance_covers_where_two_background_events_decide_the_cut() -> None:
    truth = stats.norm.sf(stats.norm.ppf(0.99) - SEPARATION)
    assert ONE_SIGMA - TOLERANCE <= coverage(foms.Acceptance(0.99), truth, 600, 200, None, False) <= 0.85


@pytest.mark.parametrize(
    ("size", "weighted", "below"),
    [((20, 20), False, 0.03), ((500, 500), False, 0), ((500, 500), True, 0.015), ((50, 100), True, 0.04)],
)
def test_areas_cover(size, weighted, below) -> None:
    auc = stats.norm.cdf(SEPARATION / math.sqrt(2))
    for fom, truth in ((foms.RocAuc(), auc), (foms.AveragePrecision(), average_precision(size[0] / sum(size)))):
        found = coverage(fom, truth, *size, None, weighted)
        assert ONE_SIGMA - TOLERANCE - below <= found <= ONE_SIGMA + TOLERANCE, (fom.name, found)


def test_a_threshold_chosen_on_the_same_sample_is_optimistic_as_the_docstring_says() -> None:
    rng = np.random.default_rng(9)
    labels = np.repeat([1, 0], [200, 200])
    chosen, fresh = [], []
    for _ in range(200):
        first, second = (expit(rng.normal(size=400) + SEPARATION * (labels - 0.5)) for _ in range(2))
        found = foms.Xi()(first, labels)
        chosen.append(found.value)
        fresh.append(foms.Xi()(second, labels, threshold=found.threshold))
    kept = [f.value for f in fresh if not f.lower_limit]
    assert np.mean(chosen) > np.median(kept) + 3 * np.std(kept) / math.sqrt(200)
