"""How sure the report says the study is: comparisons and the split of the variance."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raresearch.metrics.foms import RocAuc
from raresearch.report import findings as module
from raresearch.report.cost import cost_sheet
from raresearch.report.findings import Findings, comparison_sheet, find, variance_sheet
from raresearch.statistics.comparison import compare, corrected
from raresearch.statistics.panel import panel
from raresearch.statistics.variance import components

sys.path.append(str(Path(__file__).parent))

from test_report_store import config_of, read, synthetic_store


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return read(*synthetic_store(tmp_path_factory.mktemp("study"), n=300))


def panel_of(results, config):
    return panel(results.reader, [c.ensemble for r in results.done(config) for c in r.cells])


def test_the_best_config_is_compared_with_every_other_one_as_the_statistics_do_it(results):
    found = find(results)
    best, *others = results.ranked()
    assert found.best == results.labels[best]
    assert [c.b for c in found.comparisons] == [results.labels[c] for c in others]
    # the same resampled events for each pair: seed 0, resamples alike
    twins = [
        compare(panel_of(results, best), panel_of(results, c), results.objective, resamples=found.resamples) for c in others
    ]
    for mine, twin in zip(found.comparisons, corrected(twins), strict=True):
        assert mine.difference == pytest.approx(twin.difference)
        assert (mine.low, mine.high) == pytest.approx((twin.low, twin.high))
        assert (mine.p, mine.verdict, mine.repeats_needed) == (pytest.approx(twin.p), twin.verdict, twin.repeats_needed)


def test_a_figure_to_minimise_is_compared_the_other_way_round(results):
    class Loss(RocAuc):
        name = "loss"
        goal = "min"

    loss = replace(results, objective=Loss(), others={}, cells=tuple(
        replace(c, estimates={"loss": c.estimates["roc_auc"]}) for c in results.cells
    ))  # fmt: skip
    found = find(loss)
    assert all(c.difference >= 0 and c.value_a <= c.value_b for c in found.comparisons)


def test_the_variance_of_cells_is_split_as_the_statistics_do_it(results):
    found = find(results).variance
    values = np.asarray([c.estimates["significance"].value for c in results.cells])
    parts = components(values, {"config": np.asarray([c.config for c in results.cells])})
    assert found.config == pytest.approx(max(parts["config"], 0.0))
    assert found.seed == pytest.approx(max(parts["residual"] - found.seed_events, 0.0))
    assert found.fold is None
    assert found.events > 0


def test_one_training_a_config_is_compared_by_its_events_and_its_variance_is_not_split(tmp_path):
    found = find(read(*synthetic_store(tmp_path, repeats=1, n=200)))
    assert len(found.comparisons) == 2
    assert found.variance is None
    decided = replace(found.comparisons[0], p=1e-5, sigmas=4.4, verdict="A better")
    rows = comparison_sheet(replace(found, comparisons=(decided, *found.comparisons))).rows
    assert rows[0][-2] == "as trained"
    assert {row[-1] for row in rows} == {"repeats, 2 at least"}
    assert any("one repeat is compared as the one training that it is" in note for note in found.notes)


def test_with_one_repeat_of_several_folds_a_note_says_why_the_variance_is_not_split(tmp_path):
    found = find(read(*synthetic_store(tmp_path, repeats=1, folds=3, n=200)))
    assert found.variance is None
    assert any("one repeat" in note for note in found.notes)


def test_a_config_with_other_validation_events_is_named_and_not_compared(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A", "4B"), repeats=2, n=200)
    results = read(store, labels)

    class Renamed:
        """The events of one config under other ids."""

        def __init__(self, config):
            self.config = config

        def __getattr__(self, name):
            return getattr(results.reader, name)

        def combined(self, ensemble, split):
            for table, scores in results.reader.combined(ensemble, split):
                if ensemble.config == self.config:
                    table = table.set_column(0, "event_id", pa.array(table["event_id"].to_numpy() + 10_000))
                yield table, scores

    worse = results.ranked()[1]
    found = find(replace(results, reader=Renamed(worse)))
    assert found.comparisons == ()
    assert any(results.labels[worse] in note and "not compared" in note for note in found.notes)


def test_many_configs_are_compared_with_the_nearest_and_a_note_says_so(results, monkeypatch):
    monkeypatch.setattr(module, "MOST_COMPARED", 1)
    found = find(results)
    assert len(found.comparisons) == 1
    assert any("1 nearest of 2" in note for note in found.notes)


def test_a_study_of_one_config_has_nothing_to_compare(tmp_path):
    found = find(read(*synthetic_store(tmp_path, labels=("4A",), repeats=2, n=200)))
    assert comparison_sheet(found) is None
    assert found.variance.config is None
    assert variance_sheet(found).rows[0][:2] == ("config", "–")


def test_nothing_done_gives_no_findings(tmp_path):
    assert find(read(*synthetic_store(tmp_path, repeats=0))) == Findings()


def test_the_sheet_says_decided_only_beyond_three_sigma_and_never_minus_nothing(results):
    found = find(results)
    sure = replace(found.comparisons[0], p=1e-5, sigmas=4.4, verdict="A better")
    equal = replace(
        found.comparisons[1], p=1.0, sigmas=-0.0, verdict="not decided", repeats_needed=12, repeats_a=3, repeats_b=3
    )
    sheet = comparison_sheet(replace(found, comparisons=(sure, equal)))
    assert sheet.rows[0][4:] == ("4.4", "yes", "–")
    assert sheet.rows[1][4:] == ("0.0", "no", "9 repeats")
    assert len(sheet.header) == len(sheet.meanings) == len(sheet.rows[0])


def test_the_same_results_give_the_same_findings(results):
    assert find(results) == find(results)


def test_more_repeats_than_the_bootstrap_takes_still_count_in_the_difference(tmp_path):
    configs = {label: config_of(hidden) for label, hidden in (("a", (8,)), ("b", (16,)))}
    results = read(*synthetic_store(tmp_path, configs=configs, repeats=module.REPEATS + 3, n=150, epochs=5))
    (found,) = find(results).comparisons
    assert found.repeats_a == module.REPEATS + 3
    means = sorted(np.mean([r.value("significance") for r in results.done(c)]) for c in results.ranked())
    assert found.difference == pytest.approx(means[1] - means[0])


def test_a_config_costs_the_median_of_its_trainings_and_what_was_read_off_another_nothing(results):
    first, second = list(results.labels)[:2]
    seconds = iter([6.0, 12.0, 0.0])
    cells = tuple(replace(c, seconds=next(seconds) if c.config == first else 0.0) for c in results.cells)
    sheet = cost_sheet(replace(results, cells=cells))
    assert sheet is not None
    a, b = (int((results.epochs["cell"] == c.key).sum()) for c in [c for c in cells if c.config == first][:2])
    each = f"{(6 / a + 12 / b) / 2:.3g}"
    assert sheet.rows == ((results.labels[first], "2", f"{(a + b) / 2:.1f}", each, "9.0 s", "–"),)
    assert results.labels[second] not in {row[0] for row in sheet.rows}
    assert cost_sheet(replace(results, cells=tuple(replace(c, seconds=0.0) for c in results.cells))) is None


def test_a_config_takes_the_median_of_the_peaks_that_were_measured(results, monkeypatch):
    first = next(iter(results.labels))
    mine = [c.key for c in results.cells if c.config == first]
    peaks = dict(zip(mine, (30 * 2.0**20, None, 50 * 2.0**20), strict=True))
    cells = results.store.cells()
    memory = pa.array([peaks.get(key) for key in cells["cell"].to_pylist()], pa.float64())
    column = cells.schema.get_field_index("memory")
    monkeypatch.setattr(type(results.store), "cells", lambda store: cells.set_column(column, "memory", memory))
    sheet = cost_sheet(replace(results, cells=tuple(replace(c, seconds=1.0) for c in results.cells)))
    assert {row[0]: row[-1] for row in sheet.rows} == {n: "40 MiB" if c == first else "–" for c, n in results.labels.items()}
    assert len(sheet.header) == len(sheet.meanings) == len(sheet.rows[0])
