"""What a study can decide follows from its own errors."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from raresearch.experiment import Findings
from raresearch.experiments.pandax3.claims import Ratio, claims, ratio


@dataclass
class Scored:
    scores: np.ndarray
    label: np.ndarray
    weight: np.ndarray = field(init=False)

    def __post_init__(self):
        self.weight = np.ones(len(self.label))


def repeats(apart, events, count, spread=0.02, seed=0):
    """``count`` repeats of a network that separates the same events by about ``apart`` standard deviations."""
    rng, own = np.random.default_rng(1), np.random.default_rng(seed)
    label = np.arange(events) % 2
    noise = rng.normal(size=events)
    return [
        Scored(noise + 0.3 * own.normal(size=events) + label * (apart + spread * own.normal()), label) for _ in range(count)
    ]


def study(**scored):
    every = {
        name: Findings({"model.top_channels": int(name[1:]), "model.network": "tiny"}, {}, {"validation": samples})
        for name, samples in scored.items()
    }
    return Findings(next(iter(every.values())).config, {}, {}, every)


def table(**scored):
    (made,) = claims(study(**scored))
    return {row[0]: dict(zip(made.columns, row, strict=True)) for row in made.rows}


def test_a_large_difference_of_many_events_and_repeats_is_decided():
    row = table(n8=repeats(4.5, 4_000, 3), n1792=repeats(1.8, 4_000, 3, seed=1))["n = 8 beats n = 1792"]
    assert row["can decide"] == "yes: as claimed"
    assert row["in the paper"] == "+10%"
    row = table(n8=repeats(1.8, 4_000, 3), n1792=repeats(4.5, 4_000, 3, seed=1))["n = 8 beats n = 1792"]
    assert row["can decide"] == "yes: the other way round"


def test_few_events_decide_nothing_and_the_table_says_how_many_would():
    row = table(n8=repeats(2.05, 600, 3), n1792=repeats(2.0, 600, 3, seed=1))["n = 8 beats n = 1792"]
    assert row["can decide"].startswith("no: ")
    assert int(row["can decide"].split()[1]) > 5


def test_one_training_of_each_decides_nothing_however_large_the_difference():
    row = table(n8=repeats(3.0, 2_000, 1), n1792=repeats(1.0, 2_000, 1))["n = 8 beats n = 1792"]
    assert row["can decide"] == "no: one training each"


def test_two_repeats_that_agree_by_chance_decide_less_than_six():
    two, six = Ratio(0.1, 0.01, 0.01, 2), Ratio(0.1, 0.01, 0.01, 10)
    assert two.reach(3.0) > 0.15 > 0.06 > six.reach(3.0)
    assert two.reach(1.0) == pytest.approx(np.hypot(0.01, 1.3213 * 0.01), rel=1e-3)  # Student, 2 degrees: t of 0.8413


def test_a_claim_needs_both_of_its_configs():
    assert claims(study(n4=repeats(2.0, 400, 2), n8=repeats(2.0, 400, 2))) == []
    assert list(table(n2=repeats(1.0, 400, 2), n8=repeats(2.0, 400, 2))) == ["n = 8 beats n = 2"]


def test_too_little_background_is_said():
    few = [Scored(np.arange(30.0), (np.arange(30) > 5).astype(int)) for _ in range(2)]
    row = table(n8=few, n1792=few)["n = 8 beats n = 1792"]
    assert row["can decide"].startswith("no: 6 background events")


def test_events_that_both_networks_share_cancel():
    same, other = repeats(2.2, 1_000, 2), repeats(2.2, 1_000, 2, seed=1)
    assert ratio(same, same).events == 0.0, "the same events are drawn for both"
    assert ratio(same, other).events > 0.02, "but networks differ in what they make of them"
