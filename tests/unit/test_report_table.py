"""The table: what enters its means, and how it prints."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import statistics
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from raresearch.ensembles.rules import LastK
from raresearch.metrics.foms import RocAuc, Significance
from raresearch.report.labels import described, differing, label_configs
from raresearch.report.numbers import Spread, decimals, fixed, plus_minus
from raresearch.report.page import table_caption
from raresearch.report.results import gather
from raresearch.report.table import UnsealedRow, UnsealedTable, summary
from raresearch.report.tabular import columns
from raresearch.types import config_id

sys.path.append(str(Path(__file__).parent))

from test_report_store import HIDDEN, OBJECTIVE, OTHERS, RULE, config_of, synthetic_store

PARTS = {"objective": OBJECTIVE, "others": OTHERS, "rule": RULE}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return synthetic_store(tmp_path_factory.mktemp("study"), repeats=4, failed=[("4C", 0, 1)])


@pytest.fixture(scope="module")
def table(study):
    store, labels = study
    return summary(store, labels=labels, **PARTS)


def column(table, title):
    return next(c for c in columns(table) if c.title.replace("\u00a0", " ") == title).cells


def test_mean_and_std_are_those_of_the_repeats_and_a_failed_one_is_counted_only(study, table):
    store, labels = study
    results = gather(store, labels=labels, **PARTS)
    for row in table.rows:
        values = [c.estimates["significance"].value for c in results.cells if c.label == row.label and c.state == "done"]
        assert row.objective.mean == pytest.approx(statistics.mean(values))
        assert row.objective.std == pytest.approx(statistics.stdev(values))
        assert row.objective.error == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)))
        assert (row.done, row.failed, row.open) == ((3, 1, 0) if row.label == "4C" else (4, 0, 0))


def test_rows_keep_the_order_of_the_labels_given(study):
    store, labels = study
    backwards = dict(reversed(labels.items()))
    assert [r.label for r in summary(store, labels=backwards, **PARTS).rows] == ["4C", "4B", "4A"]


def test_a_label_without_cells_has_a_row_of_dashes(study):
    store, labels = study
    table = summary(store, labels={**labels, config_id(config_of(HIDDEN["7D"])): "7D"}, **PARTS)
    row = table.rows[-1]
    assert (row.label, row.done, row.open) == ("7D", 0, 4)
    assert column(table, "significance S")[-1] == "–"
    assert column(table, "open") == ("0", "0", "0", "4")


def test_one_repeat_everywhere_has_no_spread_and_no_column_for_one(tmp_path):
    store, labels = synthetic_store(tmp_path, repeats=1, n=200)
    table = summary(store, labels=labels, **PARTS)
    assert table.rows[0].objective.std is None
    assert not any("±" in cell for cell in column(table, "significance S"))
    assert "std. error" not in [c.header for c in columns(table)]
    assert "over the done repeats" not in table_caption(table)


def test_one_repeat_beside_others_has_a_dash_for_its_spread(tmp_path):
    store, labels = synthetic_store(tmp_path, n=200, failed=[("4A", 0, 1), ("4A", 0, 2)])
    table = summary(store, labels=labels, **PARTS)
    assert column(table, "significance S")[0].endswith("± –")
    assert column(table, "std. error")[0] == "–"
    assert "over the done repeats" in table_caption(table)


def test_s_over_root_n_appears_only_where_the_number_of_signal_events_is_given(study, table):
    store, labels = study
    assert table.rows[0].relative == pytest.approx(table.rows[0].objective.mean / math.sqrt(976))
    free = summary(store, labels=labels, **{**PARTS, "objective": Significance()})
    assert free.rows[0].relative is None
    assert "S/√n" not in [c.title for c in columns(free)]


def test_the_papers_numbers_stand_only_in_columns_headed_paper(table):
    assert column(table, "paper significance S") == ("26.85 ± 0.50", "26.71 ± 0.44", "–")
    assert column(table, "paper stop epoch") == ("153.8", "140.2", "–")
    others = [c for c in columns(table) if not c.title.startswith("paper")]
    assert not any("26.85" in cell or "153.8" in cell for c in others for cell in c.cells)


def test_test_values_appear_only_after_unsealing_and_are_headed_test(study, table):
    assert not any(c.title.startswith("test") for c in columns(table))
    store, labels = study
    opened = UnsealedTable((UnsealedRow("4B", 29.1, 0.2, 28.8, 29.4),), "2025-07-01T00:00:00+00:00", "frozen", "abc")
    table = summary(store, labels=labels, unsealed=opened, **PARTS)
    assert column(table, "test significance S") == ("–", "29.10 ± 0.20", "–")
    assert column(table, "test interval") == ("–", "[28.80, 29.40]", "–")
    assert "test_mean" in table.to_csv().splitlines()[0]


def test_a_value_that_is_only_a_lower_limit_is_marked(study):
    class Limited(Significance):
        def __call__(self, *args, **options):
            return dataclasses.replace(super().__call__(*args, **options), lower_limit=True)

    store, labels = study
    table = summary(store, labels=labels, **{**PARTS, "objective": Limited()})
    assert [r.limits for r in table.rows] == [4, 4, 3]
    assert all(cell.startswith("≥ ") for cell in column(table, "significance S"))


def test_a_rule_of_several_epochs_does_not_call_them_the_best_epoch(study):
    store, labels = study
    titles = [c.title for c in columns(summary(store, labels=labels, **{**PARTS, "rule": LastK(k=3)}))]
    assert "chosen epochs" in titles
    assert "best epoch" not in titles


def test_the_csv_holds_full_precision_and_leaves_blanks_for_what_is_missing(table):
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [float(r["significance_mean"]) for r in rows] == [r.objective.mean for r in table.rows]
    assert [r["paper_value"] for r in rows] == ["26.85", "26.71", ""]


def test_markdown_has_one_line_a_config_and_escapes_pipes(study):
    store, labels = study
    first = next(iter(labels))
    lines = summary(store, labels={**labels, first: "a|b"}, **PARTS).to_markdown().splitlines()
    assert len(lines) == 2 + 3
    assert lines[2].startswith("| a\\|b |")
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_the_terminal_shows_every_row_and_does_not_break_numbers_in_160_columns(table):
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(table.to_rich())
    text = console.export_text()
    assert all(cell in text for c in columns(table) for cell in c.cells)


def test_an_empty_store_gives_a_table_without_a_best_row(tmp_path):
    store, labels = synthetic_store(tmp_path, repeats=0)
    table = summary(store, labels=labels, **PARTS)
    assert table.best is None
    assert len(table.rows) == 3
    assert "–" in table.to_markdown()


def test_the_best_row_follows_the_goal(study):
    store, labels = study

    class Small(RocAuc):
        goal = "min"

    best = summary(store, labels=labels, **{**PARTS, "objective": RocAuc()}).best
    worst = summary(store, labels=labels, **{**PARTS, "objective": Small()}).best
    assert best.objective.mean > worst.objective.mean


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_a_spread_is_the_textbooks_mean_and_sample_std(values):
    found = Spread.of([*values, math.nan])
    assert found.n == len(values)
    assert found.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert found.std == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


@given(st.floats(1e-5, 1e4))
def test_an_uncertainty_shows_two_significant_digits(std):
    text = fixed(std, decimals([std])).replace("−", "-")
    shown = float(text)
    assert abs(shown - std) <= 0.06 * std if std < 10 else abs(shown - std) <= 0.5


def test_numbers_without_a_value_are_dashes():
    assert plus_minus(None, 0.5, 2) == plus_minus(math.nan, None, 2) == "–"
    assert fixed(-1.5, 1) == "−1.5"


def test_a_config_without_a_label_is_called_by_what_differs_and_by_its_id_where_that_is_long():
    short = {"a" * 12: {"m.hidden": (8, 8), "t.lr": 0.1}, "b" * 12: {"m.hidden": (16,), "t.lr": 0.1}}
    assert list(label_configs(short, {}).values()) == ["hidden 8-8", "hidden 16"]
    long = {"a" * 12: {"m.hidden": tuple(range(20))}, "b" * 12: {"m.hidden": (16,)}}
    assert label_configs(long, {})["a" * 12] == "aaaaaa"


def test_two_configs_never_share_a_label():
    labels = label_configs({"a1": {}, "b2": {}}, {"a1": "same", "b2": "same"})
    assert list(labels.values()) == ["same (a1)", "same (b2)"]


def test_a_name_that_only_one_config_has_counts_as_differing():
    assert differing([{"a": 1, "b": 2}, {"a": 1}]) == ["b"]
    assert differing([]) == []


def test_a_part_with_options_in_groups_is_printed_as_one_writes_it():
    @dataclasses.dataclass(frozen=True)
    class Run:
        live_days: float = 244.0
        mass: float = 329.0

    @dataclasses.dataclass(frozen=True)
    class Limit:
        run: Run = dataclasses.field(default_factory=Run)
        level: float = 0.9

    assert described(Limit(), "limit") == "limit (run (live days 244, mass 329), level 0.9)"
