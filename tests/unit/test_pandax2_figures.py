"""Figures of merit at the cut, the rule that selects parameters by them, the bundle of efficiencies, the ratio of spreads."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from raresearch.ensembles.base import Library, SelectionRule
from raresearch.ensembles.evaluation import Labelled
from raresearch.ensembles.evaluation import estimate as estimate_ensemble
from raresearch.errors import DataError, SelectionError, SpecError
from raresearch.experiments.pandax2.argument import Argument, Variant, paper_table3
from raresearch.experiments.pandax2.efficiencies import CELLS, counted, efficiency_map
from raresearch.experiments.pandax2.efficiency_bundle import efficiency_bundle, tables
from raresearch.experiments.pandax2.figures import BelowMedianSignificance, ElectronEfficiency
from raresearch.experiments.pandax2.limit import ExpectedLimit
from raresearch.experiments.pandax2.rules import SelectedParameters
from raresearch.experiments.pandax2.search import coarse
from raresearch.experiments.pandax2.spreads import spread_ratio
from raresearch.experiments.pandax2.tapered import widths
from raresearch.metrics.base import on
from raresearch.metrics.foms import RocAuc, Significance
from raresearch.types import EpochTable, Estimate

ACC, NR, ER = 0, 1, 2


def sample(seed=0, n=3000, quality=2.5, er_loss=0.0):
    """Made-up events: ACC below the median, NR around it, ER above; a share ``er_loss`` of the ER scores low."""
    rng = np.random.default_rng(seed)
    number = rng.choice(3, n, p=[0.6, 0.2, 0.2]).astype(np.int8)
    centre = np.array([-0.25, 0.0, 0.31])[number]
    distance = centre + 0.12 * rng.normal(size=n)
    distance = np.where(number == ACC, -np.abs(distance), distance)
    logit = rng.normal(size=n) + quality * (number != ACC)
    logit = np.where((number == ER) & (rng.random(n) < er_loss), -9.0, logit)
    label = np.where(number == ER, -1, np.where((number == NR) & (distance >= 0), -1, number)).astype(np.int8)
    observers = {"qS1": rng.uniform(3, 45, n), "qS1c": rng.uniform(3, 45, n), "log_ratio_to_nr_median": distance}
    return Labelled(np.arange(n), 1 / (1 + np.exp(-logit)), label, np.ones(n), number, observers)


def value(fom, events, **options):
    return on(fom, events.columns)(events.scores, events.label, events.weight, **options)


def test_a_figure_that_needs_no_columns_is_itself():
    fom = RocAuc()
    assert on(fom, {}) is fom


def test_a_missing_column_is_named_with_the_nearest():
    with pytest.raises(DataError, match=r"log_ratio_to_nr_median.*did you mean"):
        on(ElectronEfficiency(), {"class": np.zeros(3), "qS1c": np.ones(3), "log_ratio_to_nr_medan": np.ones(3)})


def test_scores_alone_are_refused_with_the_way_out():
    events = sample()
    with pytest.raises(DataError, match=r"on\(fom, columns\)"):
        ElectronEfficiency()(events.scores, events.label)
    with pytest.raises(DataError, match="log_ratio_to_nr_median"):
        ExpectedLimit().values(events.scores[None], events.label)


def test_below_the_median_significance_is_that_of_the_labels_where_those_are_below_it():
    events = sample()
    plain = Significance(976, 976)(events.scores, events.label, events.weight)
    found = value(BelowMedianSignificance(), events)
    assert (found.value, found.threshold) == (plain.value, plain.threshold)


def test_labels_given_do_not_matter_to_figures_that_know_the_class():
    events = sample()
    bound = on(ExpectedLimit(), events.columns)
    assert bound(events.scores, events.label) == bound(events.scores, np.zeros(len(events.scores)))


def test_er_efficiency_is_the_share_of_er_at_the_cut():
    events = sample(er_loss=0.3)
    found = value(ElectronEfficiency(), events)
    er = events.class_number == ER
    assert found.value == pytest.approx((events.scores[er] >= found.threshold).mean())
    assert found.low < found.value < found.high < 0.75


@pytest.mark.parametrize("fom", [BelowMedianSignificance(), ElectronEfficiency(), ExpectedLimit(), ExpectedLimit(cut="limit")])
def test_values_equal_calls_row_by_row_and_the_order_of_events_does_not_matter(fom):
    events, other = sample(), sample(1)
    bound = on(fom, events.columns)
    rows = np.stack([events.scores, other.scores])
    singles = [bound(row, events.label).value for row in rows]
    assert bound.values(rows, events.label) == pytest.approx(singles, rel=1e-6)
    order = np.random.default_rng(2).permutation(len(events.scores))
    shuffled = on(fom, {k: v[order] for k, v in events.columns.items()})
    found, again = bound(events.scores, events.label), shuffled(events.scores[order], events.label[order])
    assert (again.value, again.low, again.high) == pytest.approx((found.value, found.low, found.high), rel=1e-6)
    assert found.threshold == again.threshold
    assert found.low <= found.value <= found.high


def test_weight_two_counts_as_the_event_twice_in_the_limit():
    events = sample()
    cut = value(ExpectedLimit(), events).threshold
    twice = np.random.default_rng(3).random(len(events.scores)) < 0.5
    doubled = on(ExpectedLimit(), events.columns)(events.scores, events.label, 1.0 + twice, threshold=cut)
    rows = np.r_[np.arange(len(twice)), np.flatnonzero(twice)]
    repeated = on(ExpectedLimit(), {k: v[rows] for k, v in events.columns.items()})
    assert doubled.value == pytest.approx(repeated(events.scores[rows], events.label[rows], threshold=cut).value, rel=1e-9)


def test_better_networks_have_better_limits():
    limits = [value(ExpectedLimit(), sample(quality=q)).value for q in (0.5, 2.0, 4.0)]
    assert limits[0] > limits[1] > limits[2]


def test_a_cut_that_keeps_nothing_has_a_bad_limit_and_not_none():
    events = sample()
    good, bad = (value(ExpectedLimit(), events, threshold=t) for t in (None, 2.0))
    assert 30 * good.value < bad.value < np.inf


def test_a_cut_chosen_by_the_limit_is_no_worse_than_the_papers():
    events = sample(quality=1.5)
    assert value(ExpectedLimit(cut="limit"), events).value <= value(ExpectedLimit(), events).value * (1 + 2e-3)


def test_ten_times_the_exposure_and_no_more_background_is_ten_times_the_limit():
    events = sample()
    once, ten = (value(ExpectedLimit(run={"live_days": d}), events).value for d in (244.0, 2440.0))
    assert once == pytest.approx(10 * ten, rel=1e-6)


def test_the_interval_of_the_limit_shrinks_with_more_events():
    few, many = (value(ExpectedLimit(), sample(n=n)) for n in (1500, 12000))
    assert (many.high - many.low) / many.value < 0.7 * (few.high - few.low) / few.value


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cut": "best"}, "significance, limit"),
        ({"level": 0.3}, "between 0.5 and 1"),
        ({"resamples": 3}, "at least 20"),
        ({"run": {"days": 3}}, "there is no such number"),
        ({"run": {"live_days": -1}}, "0 or more"),
        ({"mass": 0}, "positive"),
    ],
)
def test_options_that_cannot_be_are_refused(options, text):
    with pytest.raises(SpecError, match=text):
        ExpectedLimit(**options)


def test_events_that_cannot_be_scored_are_refused():
    events = sample()
    bound = on(ElectronEfficiency(), events.columns)
    with pytest.raises(DataError, match="3 of 3000 scores are NaN"):
        bound(np.r_[np.full(3, np.nan), events.scores[3:]], events.label)
    with pytest.raises(DataError, match="shape"):
        bound(events.scores[:-1], events.label)
    no_er = events.class_number != ER
    with pytest.raises(DataError, match="no ER"):
        on(ElectronEfficiency(), {k: v[no_er] for k, v in events.columns.items()})(events.scores[no_er], events.label[no_er])


def test_cells_without_events_lean_on_their_row_and_full_ones_on_themselves():
    passed, total = np.zeros((1, 3, CELLS)), np.zeros((1, 3, CELLS))
    total[0, NR, :2], passed[0, NR, :2] = 1e6, (2e5, 8e5)
    total[0, ER, 5], passed[0, ER, 5] = 10.0, 10.0
    found = efficiency_map(passed, total)[0]
    assert found[NR, :2] == pytest.approx([0.2, 0.8], abs=1e-4)
    assert found[NR, 2] == pytest.approx(0.5, abs=1e-3)  # the row's mean
    assert found[ER, 0] == pytest.approx(0.2, abs=1e-4)  # no ER there: as the NR of the same place
    assert 0.9 < found[ER, 5] <= 1.0
    assert ((found >= 0) & (found <= 1)).all()


def test_counting_is_that_of_a_loop():
    rng = np.random.default_rng(4)
    number, cell, weight = rng.integers(3, size=200), rng.integers(CELLS, size=200), rng.exponential(size=200)
    slow = np.zeros((3, CELLS))
    for c, k, w in zip(number, cell, weight, strict=True):
        slow[c, k] += w
    assert counted(number, cell, weight) == pytest.approx(slow)
    assert set(coarse(np.array([3.1, 44.0]), np.array([-0.5, 0.9]))) == {0, CELLS - 1}


class Scores:
    """A `ScoreSource` of made-up cells on the events of ``events``."""

    def __init__(self, events, logits):
        self.sample, self.logits = events, logits

    def libraries(self, epochs):
        rows = np.arange(len(epochs))
        mine = np.stack([self.logits[(c, e)] for c, e in zip(epochs["cell"], epochs["epoch"], strict=True)])
        return [Library("validation", rows, mine, self.sample.label, self.sample.weight)]

    def events(self, name, scored):
        assert (name, scored) == ("validation", len(self.sample.scores))
        return pa.table(dict(self.sample.columns))


def repeats(losses=(0.1, 0.2, 0.3)):
    """Three cells of two epochs; the later epoch is the better one. Their ER loss is 0.5, 0.1, 0.4."""
    cells = [(f"cell{n}", loss) for n, loss in enumerate(losses)]
    rows = [(c, "A", n, e, loss + (2 - e)) for n, (c, loss) in enumerate(cells) for e in (1, 2)]
    columns = dict(
        zip(("cell", "config", "seed", "epoch", "val_loss"), (np.asarray(v) for v in zip(*rows, strict=True)), strict=True)
    )
    logits = {}
    for n, (cell, quality) in enumerate(zip((c for c, _ in cells), (2.0, 2.5, 3.0), strict=True)):
        made = sample(quality=quality, er_loss=(0.5, 0.1, 0.4)[n]).scores
        logits[(cell, 2)] = np.log(made / (1 - made))
        logits[(cell, 1)] = np.zeros(len(made))
    return EpochTable(columns), Scores(sample(), logits)


@pytest.mark.parametrize(("by", "cell"), [("er_efficiency", "cell1"), ("significance", "cell2"), ("expected_limit", "cell2")])
def test_the_selected_parameters_are_the_best_of_the_repeats(by, cell):
    epochs, scores = repeats()
    (member,) = SelectedParameters(by).choose_scored(epochs, scores)
    assert (member.cell, member.epoch) == (cell, 2)


def test_a_collapsed_training_is_not_selected_for_keeping_every_er():
    epochs, scores = repeats()
    scores.logits[("cell0", 2)] = np.full(len(scores.sample.scores), 0.3)
    (member,) = SelectedParameters("er_efficiency").choose_scored(epochs, scores)
    assert member.cell == "cell1"


def test_the_rule_keeps_to_the_contract():
    epochs, _ = repeats()
    rule = SelectedParameters()
    assert isinstance(rule, SelectionRule)
    assert rule.keep(epochs.where(epochs["cell"] == "cell0")) == {2}
    with pytest.raises(SelectionError, match="needs the scores"):
        rule.choose(epochs)
    with pytest.raises(SelectionError, match="none to choose"):
        rule.choose_scored(epochs.where(np.zeros(len(epochs), dtype=bool)), None)
    with pytest.raises(SpecError, match="er_efficiency, significance, expected_limit"):
        SelectedParameters("loss")


def test_a_bundle_is_the_fractions_kept_of_each_class_bin_and_training():
    first, second = sample(), sample(er_loss=0.5)
    bundle = efficiency_bundle([first, second], [0.5, 0.6], edges=[3, 10, 45])
    assert bundle.value.shape == (3, 2, 2)
    mine = (second.class_number == ER) & (second.observers["qS1"] >= 10)
    assert bundle.value[ER, 1, 1] == pytest.approx((second.scores[mine] >= 0.6).mean())
    assert (bundle.low <= bundle.value).all()
    assert (bundle.value <= bundle.high).all()
    assert bundle.spread("ER").min() > 5 * bundle.spread("NR").max()
    assert bundle.events.sum() == pytest.approx(3000)


def test_a_bundle_refuses_what_does_not_fit():
    with pytest.raises(SpecError, match="must rise"):
        efficiency_bundle([sample()], [0.5], edges=[3, 3])
    with pytest.raises(DataError, match="1 samples and 2 thresholds"):
        efficiency_bundle([sample()], [0.5, 0.5])
    with pytest.raises(DataError, match="did you mean 'qS1'"):
        efficiency_bundle([sample()], [0.5], observer="qs1")


def test_the_read_out_says_mean_and_extremes_over_repeats():
    (table,) = tables({"validation": [sample(), sample(er_loss=0.5)]})
    er = [dict(zip(table.columns, row, strict=True)) for row in table.rows if row[0] == "ER"]
    assert len(er) == 9
    assert all(row["min"] < row["efficiency"] < row["max"] for row in er)


def test_the_f_interval_of_a_ratio_of_spreads_covers_as_often_as_it_says():
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(600):
        found = spread_ratio(3.0 * rng.normal(size=12), rng.normal(size=9), resamples=20)
        inside += found.f_low <= 3.0 <= found.f_high
    assert inside / 600 == pytest.approx(0.683, abs=4 * (0.683 * 0.317 / 600) ** 0.5)


def test_a_spread_of_zero_gives_a_lower_limit_and_not_infinity():
    found = spread_ratio(np.array([0.3, 0.5, 0.9, 0.7]), np.ones(20), 1 / 500)
    assert found.lower_limit
    assert found.ratio == pytest.approx(np.std([0.3, 0.5, 0.9, 0.7], ddof=1) * 500 * 12**0.5)
    assert str(found).count("≥") == 1
    assert np.isfinite([found.f_high, found.bootstrap_high]).all()


def test_spreads_that_cannot_be_told_are_refused():
    with pytest.raises(DataError, match="at least 3"):
        spread_ratio(np.ones(2), np.arange(5.0), 0.1)
    with pytest.raises(DataError, match="no spread at all"):
        spread_ratio(np.arange(4.0), np.ones(4))


def test_a_tapered_network_never_gets_narrower_than_two():
    assert widths({"model.layers": 4, "model.width": 16, "model.taper": 0.4}) == (16, 6, 3, 2)


def _variant(name, s, er, limit):
    made = [tuple(Estimate(v, v - 0.01, v + 0.01, 400.0) for v in values) for values in (s, er, limit)]
    return Variant(name, *made)


def test_tables_choose_as_the_paper_did_and_show_its_numbers_apart():
    below = _variant("4C", (26.0, 27.0, 26.5), (0.9, 0.4, 0.6), (2.0, 1.9, 2.1))
    cured = _variant("4Cu", (26.0, 27.0, 26.5), (0.99, 0.98, 0.985), (2.0, 1.9, 2.1))
    found = Argument({"4C": below, "4Cu": cured}, spread_ratio(below.er(), cured.er(), 1 / 400), None)
    worth, table3 = found.tables()
    rows = {row[0]: dict(zip(table3.columns, row, strict=True)) for row in table3.rows}
    assert rows["4C"]["significance"] == 26.5  # 26.0 has the highest ER efficiency, but is below the median
    assert rows["4Cu"]["significance"] == 27.0
    assert rows["4Cu"]["paper: sensitivity"] == paper_table3()["4Cu"]["sensitivity"] == 1.87
    assert "4C over 4Cu" in worth.note
    assert [row[1] for row in worth.rows] == [3, 3]


def test_the_store_gives_a_figure_its_columns():
    events = sample()

    class Reader:
        def validation(self, ensemble):
            return events

    assert estimate_ensemble(Reader(), None, ElectronEfficiency()) == value(ElectronEfficiency(), events)
