"""`simulate`: exact numbers, cuts, determinism, the NR median, the experiment's contract and its bad inputs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from raresearch.errors import DataError, SpaceError
from raresearch.experiments.pandax2.detector import Detector
from raresearch.experiments.pandax2.events import throw
from raresearch.experiments.pandax2.experiment import PandaX2
from raresearch.experiments.pandax2.median import fit_median, nr_median
from raresearch.experiments.pandax2.simulator import CLASSES, Settings, class_counts, simulate

N = 6_000


def _run(seed=0, n=N, **data):
    return simulate({f"data.{k}": v for k, v in data.items()}, np.random.default_rng(seed), n)


@pytest.fixture(scope="module")
def block():
    return _run()


def test_shapes_and_types_are_those_of_the_schema(block):
    schema = PandaX2().schema()
    assert set(block) == {"features", "class", "spectator", *schema.observers}
    assert block["features"].shape == (N, 13)
    assert block["features"].dtype == np.float32
    for name in schema.observers:
        assert block[name].shape == (N,)
        assert block[name].dtype == np.float64
    assert block["class"].shape == block["spectator"].shape == (N,)
    assert block["spectator"].dtype == bool


def test_no_value_is_nan_or_infinite(block):
    for name, column in block.items():
        assert np.isfinite(column).all(), name


@pytest.mark.parametrize("n", [1, 7, 500])
def test_a_block_has_exactly_the_events_asked_for_and_the_fractions_decide_their_classes(n):
    found = _run(3, n)
    fractions = Settings.of({}).fractions
    assert tuple(np.bincount(found["class"], minlength=3)) == class_counts(fractions, n)
    assert len(found["class"]) == n


def test_class_counts_always_sum_to_n_and_are_within_one_of_the_fractions():
    rng = np.random.default_rng(51)
    for _ in range(200):
        fractions, n = rng.dirichlet([1.0, 1.0, 1.0]), int(rng.integers(0, 400))
        counts = class_counts(tuple(fractions), n)
        assert sum(counts) == n
        assert (np.abs(np.array(counts) - n * fractions) < 1.0).all()


def test_every_event_passes_the_paper_s_cuts_and_accidentals_lie_below_the_median(block):
    q1c, q2, q2c = block["qS1c"], block["qS2"], block["qS2c"]
    assert ((q1c > 3.0) & (q1c < 45.0) & (q2 > 100.0) & (q2c < 10_000.0)).all()
    assert ((block["drift_time"] >= 50.0) & (block["drift_time"] <= 350.0)).all()
    assert (block["log_ratio_to_nr_median"][block["class"] == CLASSES.index("ACC")] < 0.0).all()


def test_asymmetries_and_charge_ratios_stay_in_their_ranges(block):
    names = PandaX2().schema().tensors[0].columns
    column = {name: block["features"][:, k] for k, name in enumerate(names)}
    assert (np.abs(column["S1TBA"]) <= 1.0).all()
    assert (np.abs(column["S2TBA"]) <= 1.0).all()
    for name in ("S2SY1", "S2SY2", "S1LargestBCQ"):
        assert ((column[name] >= 0.0) & (column[name] <= 1.0)).all()
    assert (column["wtenS2"] >= column["wS2"]).all()
    assert (column["S1NPeaks"] >= 1.0).all()
    np.testing.assert_array_equal(column["qS1c"], block["qS1c"].astype(np.float32))


def test_nuclear_recoils_above_the_median_are_spectators_only_when_training_is_below(block):
    nr = block["class"] == CLASSES.index("NR")
    np.testing.assert_array_equal(block["spectator"], nr & (block["log_ratio_to_nr_median"] >= 0.0))
    every = _run(nr_sample="all")
    assert not every["spectator"].any()
    np.testing.assert_array_equal(every["features"], block["features"])


def test_equal_streams_give_equal_bytes_and_other_streams_other_events(block):
    nr_median.cache_clear()
    again, other = _run(0), _run(1)
    for name in block:
        assert block[name].tobytes() == again[name].tobytes()
    assert not set(map(bytes, other["features"])) & set(map(bytes, block["features"]))


def test_classes_come_in_random_order(block):
    nr = np.flatnonzero(block["class"] == CLASSES.index("NR"))
    assert nr.mean() == pytest.approx(N / 2, abs=4 * N / np.sqrt(12 * len(nr)))


def test_another_sample_of_neutron_calibration_gives_the_same_median():
    config = Settings.of({})
    rng = np.random.default_rng(52)
    independent = fit_median(
        np.concatenate([throw(config.sources()[1], 10_000, config.detector, rng).features for _ in range(8)])
    )
    q1c = np.linspace(3.5, 44.0, 60)
    difference = independent(q1c) - nr_median(config.neutrons, config.detector)(q1c)
    print(f"median refitted: largest difference {np.abs(difference).max():.4f} dex")
    assert np.abs(difference).max() < 0.015
    assert np.abs(difference).mean() < 0.006


def test_half_the_nuclear_recoils_and_few_electron_recoils_lie_below_the_median():
    config = Settings.of({})
    median = nr_median(config.neutrons, config.detector)
    rng = np.random.default_rng(53)
    share = {}
    for name, source in zip(CLASSES, config.sources(), strict=True):
        parts = [throw(source, 8_000, config.detector, rng).features for _ in range(2)]
        share[name] = float((median.distance(np.concatenate(parts)) < 0.0).mean())
    print("below the NR median:", {k: round(v, 4) for k, v in share.items()})
    assert share["NR"] == pytest.approx(0.5, abs=0.02)
    assert 0.0005 < share["ER"] < 0.02
    assert 0.1 < share["ACC"] < 0.9


def test_every_name_has_a_line_and_every_line_says_where_its_value_comes_from():
    assert set(PandaX2.described) == set(PandaX2.defaults)
    for name, line in PandaX2.described.items():
        assert any(tag in line for tag in ("[P]", "[R]", "[A]", "[T]")), name
    assert PandaX2.defaults["data.electron_lifetime"] == Detector().electron_lifetime


def test_a_shorter_electron_lifetime_makes_smaller_raw_s2_and_its_own_median():
    short = Settings.of({"data.electron_lifetime": 200.0})
    assert nr_median(short.neutrons, short.detector) != nr_median(short.neutrons, Detector())
    events = throw(short.sources()[2], 2_000, short.detector, np.random.default_rng(54))
    ratio = events.column("qS2c") / events.column("qS2")
    np.testing.assert_allclose(ratio, np.exp(events.drift_time / 200.0))


BAD = [
    ({"data.nr_sample": "above"}, "data.nr_sample"),
    ({"data.accidental_mixture": 1}, "data.accidental_mixture"),
    ({"data.fraction_acc": 1.2}, "data.fraction_acc"),
    ({"data.fraction_acc": 0.8, "data.fraction_nr": 0.3}, "must not exceed 1"),
    ({"data.electron_lifetime": -1.0}, "data.electron_lifetime"),
    ({"data.eee": 1.5}, "data.eee"),
    ({"data.seg": "high"}, "data.seg"),
    ({"data.seg": float("nan")}, "data.seg"),
    ({"data.drift_time_low": 360.0}, "data.drift_time_low"),
    ({"data.drift_time_high": 400.0}, "data.drift_time_high"),
    ({"data.er_flat_low": 20.0}, "data.er_flat_low"),
]


@pytest.mark.parametrize(("config", "message"), BAD)
def test_a_value_that_cannot_be_is_refused_by_name(config, message):
    with pytest.raises(SpaceError, match=message):
        simulate(config, np.random.default_rng(0), 10)


def test_a_spectrum_without_a_visible_event_ends_with_an_error_instead_of_for_ever():
    config = {"data.er_tritium_share": 0.0, "data.er_flat_low": 0.001, "data.er_flat_high": 0.002}
    with pytest.raises(DataError, match="class ER"):
        simulate({**config, "data.fraction_acc": 0.0, "data.fraction_nr": 0.0}, np.random.default_rng(0), 5)


def test_a_detector_that_sees_no_neutrons_has_no_median_and_says_so():
    with pytest.raises(DataError, match=r"NR median.*are needed"):
        simulate({"data.pde": 0.001}, np.random.default_rng(0), 5)


def test_importing_the_experiment_loads_neither_torch_nor_ray():
    code = "import sys, raresearch.experiments.pandax2.experiment; print(sorted({'torch', 'ray'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
