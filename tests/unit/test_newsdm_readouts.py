"""The report's tables: the network beside its competitors, on validation and, once unsealed, on test."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from raresearch.experiment import Findings, parameters
from raresearch.experiments.newsdm.experiment import NEWSdm
from raresearch.experiments.newsdm.simulator import OBSERVERS
from raresearch.types import ONE_SIGMA

NEWSDM = NEWSdm()


def split(seed, n, sealed=False):
    """A split's events, and the same as an ensemble of perfect ignorance scores them: by brightness."""
    found = NEWSDM.simulate({}, np.random.default_rng(seed), n)
    number, ids = found["class"], np.arange(n) * 3
    events = SimpleNamespace(event_id=ids, tensors={"frames": found["frames"]}, class_number=None if sealed else number)
    scored = SimpleNamespace(
        event_id=ids, scores=found["brightness"], class_number=number, observers={name: found[name] for name in OBSERVERS}
    )
    return events, scored


@pytest.fixture(scope="module")
def findings():
    (train, _), (validation, seen), (test, unsealed) = split(1, 400), split(2, 300), split(3, 300, sealed=True)
    events = {"train": train, "validation": validation, "test": test}
    return Findings(parameters(NEWSDM), events, {"validation": [seen], "test": [unsealed]})


@pytest.fixture(scope="module")
def tables(findings):
    return NEWSDM.read_out(findings)


def rows(table, method, which):
    return {row[2]: row for row in table.rows if row[:2] == (method, which)}


def test_three_methods_stand_beside_one_another_on_both_splits(tables):
    methods = {(row[0], row[1]) for row in tables[0].rows}
    assert methods == {(m, s) for m in ("barycentre shift", "boosted trees", "NEWSnet") for s in ("validation", "test")}
    assert "identical_grains" in tables[0].note


def test_the_network_keeps_30_percent_of_100_kev_and_its_fractions_are_counts(tables, findings):
    mine = rows(tables[0], "NEWSnet", "validation")
    assert mine["C100keV"][3] == pytest.approx(0.30, abs=0.02)
    sample = findings.scored["validation"][0]
    high = np.sort(sample.scores[sample.class_number == 2])[-int(mine["C100keV"][6])]
    fog = sample.scores[sample.class_number == 0]
    assert mine["fog"][6:8] == ((fog >= high).sum(), len(fog))
    interval = stats.binomtest(mine["fog"][6], mine["fog"][7]).proportion_ci(ONE_SIGMA, method="exact")
    assert mine["fog"][4:6] == pytest.approx((interval.low, interval.high))


def test_the_paper_s_numbers_stand_in_their_own_column_only(tables):
    assert tables[0].columns[-1] == "paper"
    assert rows(tables[0], "NEWSnet", "test")["fog"][-1] == 2.7e-4
    assert rows(tables[0], "barycentre shift", "validation")["C30keV"][-1] == 0.189
    assert rows(tables[0], "boosted trees", "test")["fog"][-1] is None


def test_sealed_test_events_are_not_touched(findings):
    sealed = Findings(findings.config, {**findings.events, "test": None}, {"validation": findings.scored["validation"]})
    assert {row[1] for table in NEWSDM.read_out(sealed) for row in table.rows} == {"validation"}


def test_each_fold_has_its_own_threshold_and_name(findings):
    sample = findings.scored["validation"][0]
    other = SimpleNamespace(**{**vars(sample), "scores": -sample.scores})
    folds = Findings(findings.config, findings.events, {"validation": [sample, other]})
    table = NEWSDM.read_out(folds)[0]
    first, second = (rows(table, f"NEWSnet, {n} of 2", "validation") for n in (1, 2))
    assert first["C100keV"][3] == pytest.approx(second["C100keV"][3], abs=0.02)
    assert first["fog"][-1] == 0.0014
    assert first["fog"][3] != second["fog"][3]


def test_directions_are_relative_to_the_beam_and_say_nothing_of_no_events(tables, findings):
    sample = findings.scored["test"][0]
    mine = rows(tables[1], "barycentre shift", "test")["C100keV"]
    validation = findings.scored["validation"][0]
    shift = validation.observers["barshift"][validation.class_number == 2]
    kept = (sample.observers["barshift"] >= np.sort(shift)[-int(np.ceil(0.3 * len(shift)))]) & (sample.class_number == 2)
    away = (sample.observers["direction"] - sample.observers["orientation"])[kept]
    assert mine[3] == pytest.approx(np.mean(np.minimum(away % 180, -away % 180) < 22.5))
    nothing = SimpleNamespace(**{**vars(sample), "scores": np.full(len(sample.scores), -1.0)})
    empty = Findings(findings.config, findings.events, {**findings.scored, "test": [nothing]})
    assert rows(NEWSDM.read_out(empty)[1], "NEWSnet", "test")["fog"][3:6] == (None, None, None)
