"""Greedy selection equals a slow, obvious twin: plain loops that call the figure of merit for every candidate at every step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raresearch.ensembles.candidates import _place_within
from raresearch.ensembles.fast_rejection import RejectionEngine, count
from raresearch.ensembles.forward import FomEngine, forward
from raresearch.metrics.foms import Acceptance, AveragePrecision, Recall, Rejection, RocAuc, Significance, Xi


def slow_forward(parts, label, fom, steps, initial=1, floor=0):
    """(candidate, value) of each step: Caruana's procedure written down as it is told."""

    def value_of(members):
        total = np.zeros(parts.shape[1])
        for member in members:
            total = total + parts[member]
        scores = total / len(members)
        found = fom(scores, label)
        kept = int(((label == 0) & (scores >= found.threshold)).sum()) if fom.cuts else floor
        return found.value if kept >= floor else -np.inf

    members, path = [], []
    for step in range(steps):
        alone = step < initial
        candidates = [c for c in range(len(parts)) if not (alone and c in members)]
        values = [value_of([c] if alone else [*members, c]) for c in candidates]
        if max(values) == -np.inf and alone and members:  # no further one may start: go on from those that may
            initial, candidates = step, list(range(len(parts)))
            values = [value_of([*members, c]) for c in candidates]
        if max(values) == -np.inf:
            break
        best = int(np.argmax(values))
        members.append(candidates[best])
        path.append((candidates[best], values[best]))
    return path


def path_of(engine, candidates, steps, n, initial=1):
    return [(p.candidate, p.value) for p in forward(engine, np.arange(candidates), steps, initial, n).picks]


@st.composite
def libraries(draw):
    """Scores (M, N) with many, some or hardly any ties, and labels with both classes and spectators."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m, n = draw(st.integers(1, 9)), draw(st.integers(6, 60))
    label = rng.choice(np.array([1, 0, 0, -1], dtype=np.int8), size=n)
    label[:2] = 1, 0
    scores = 1 / (1 + np.exp(-(rng.normal(size=(m, n)) + rng.uniform(0, 3, (m, 1)) * label)))
    return np.round(scores, draw(st.sampled_from([1, 2, 6]))), label


@settings(deadline=None, max_examples=150)
@given(libraries(), st.floats(0.05, 0.95), st.integers(1, 6), st.integers(1, 3), st.integers(0, 3))
def test_the_fast_rejection_engine_equals_the_slow_twin(library, acceptance, steps, initial, floor):
    parts, label = library
    initial = min(initial, steps, len(parts))
    fast = path_of(RejectionEngine(parts, label, acceptance, floor), len(parts), steps, len(label), initial)
    assert fast == slow_forward(parts, label, Rejection(acceptance), steps, initial, floor)


@settings(deadline=None, max_examples=25)
@given(
    libraries(), st.sampled_from([RocAuc(), Significance(), Xi(min_background=1), Acceptance(), AveragePrecision(), Recall()])
)
def test_the_general_engine_equals_the_slow_twin(library, fom):
    parts, label = library
    general = path_of(FomEngine(parts, label, None, fom, lambda mean: mean), len(parts), 4, len(label))
    slow = slow_forward(parts, label, fom, 4)
    assert [c for c, _ in general] == [c for c, _ in slow]
    assert [v for _, v in general] == pytest.approx([v for _, v in slow])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("acceptance", [0.3, 0.9, 0.99])
def test_on_many_events_the_fast_engine_equals_the_general_one_and_looks_at_few(dtype, acceptance):
    rng = np.random.default_rng(3)
    label = (rng.random(3000) < 0.5).astype(np.int8)
    truth = 1.5 * (2 * label - 1) + rng.normal(size=3000)
    logits = rng.uniform(0.6, 1.4, (150, 1)) * truth + 0.8 * rng.normal(size=(150, 3000))
    parts = (1 / (1 + np.exp(-logits))).astype(dtype)
    fast = RejectionEngine(parts, label, acceptance)
    general = FomEngine(parts, label, None, Rejection(acceptance), lambda mean: mean)
    assert path_of(fast, 150, 12, 3000) == path_of(general, 150, 12, 3000)
    if acceptance == 0.9:  # where more signal may be lost, or hardly any, the bounds are looser
        assert fast.evaluated < 150 * 12 / 2


def test_sums_that_differ_by_rounding_alone_do_not_part_the_engines():
    # A third of ones and of 0.1s: sums that are equal in exact arithmetic and not in floating point.
    label = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=np.int8)
    parts = np.array([[0.1, 0.3, 0.7, 0.1, 0.1, 0.3, 0.2, 0.1], [0.2, 0.3, 0.1, 0.2, 0.2, 0.3, 0.1, 0.2], [0.3] * 8])
    for steps in range(1, 7):
        assert path_of(RejectionEngine(parts, label, 0.5), 3, steps, 8) == slow_forward(parts, label, Rejection(0.5), steps)


@given(st.integers(1, 5), st.integers(0, 80), st.integers(0, 2**16))
def test_counting_by_lanes_equals_counting(rows, words, seed):
    mask = np.random.default_rng(seed).random((rows, 8 * words)) < 0.9
    assert count(mask).tolist() == mask.sum(axis=1).tolist()


def test_counting_by_lanes_does_not_overflow_a_byte():
    assert count(np.ones((2, 8 * 1000), dtype=bool)).tolist() == [8000, 8000]


@given(st.lists(st.integers(0, 4), max_size=30))
def test_places_within_groups_count_earlier_equals(groups):
    expected = [groups[:i].count(g) for i, g in enumerate(groups)]
    assert _place_within(np.asarray(groups, dtype=int)).tolist() == expected
