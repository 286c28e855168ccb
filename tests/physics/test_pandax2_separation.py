"""What a classifier finds: nothing between halves of one class, something between classes. Boosted trees as the null model."""

from __future__ import annotations

import numpy as np
import pytest

from raresearch.experiments.pandax2.simulator import CLASSES, Settings, simulate

ensemble = pytest.importorskip("sklearn.ensemble")
metrics = pytest.importorskip("sklearn.metrics")


def _block(seed, n, **data):
    return simulate({f"data.{k}": v for k, v in data.items()}, np.random.default_rng(seed), n)


def _trees(x, y):
    return ensemble.HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(x, y)


def _auc(x, y):
    """AUC on every second event of trees grown on the others."""
    scores = _trees(x[::2], y[::2]).predict_proba(x[1::2])[:, 1]
    return metrics.roc_auc_score(y[1::2], scores), np.sqrt((len(y) / 2 + 1) / (12 * (y[1::2].sum()) * (y[1::2] == 0).sum()))


@pytest.mark.parametrize("name", ["ACC", "NR"])
def test_two_halves_of_one_class_cannot_be_told_apart(name):
    share = {"fraction_acc": float(name == "ACC"), "fraction_nr": float(name == "NR")}
    x = _block(61, 6_000, **share)["features"]
    half = (np.arange(6_000) >= 3_000).astype(int)
    order = np.random.default_rng(0).permutation(6_000)
    auc, error = _auc(x[order], half[order])
    print(f"{name}: AUC of first against second half {auc:.3f} ± {error:.3f}")
    assert abs(auc - 0.5) < 4.0 * error


def test_blocks_of_one_class_cannot_be_told_apart():
    share = {"fraction_acc": 1.0, "fraction_nr": 0.0}
    x = np.concatenate([_block(seed, 2_500, **share)["features"] for seed in (62, 63)])
    y = np.repeat([0, 1], 2_500)
    order = np.random.default_rng(1).permutation(5_000)
    auc, error = _auc(x[order], y[order])
    print(f"ACC: AUC of one block against another {auc:.3f} ± {error:.3f}")
    assert abs(auc - 0.5) < 4.0 * error


def _significance(scores, labels, n=976.0):
    """Largest S of the paper's Eq. 4.1 with n_s = n_b = n over all thresholds."""
    order = np.argsort(-scores, kind="stable")
    signal = np.cumsum(labels[order] == 1) / (labels == 1).sum()
    background = np.cumsum(labels[order] == 0) / (labels == 0).sum()
    return float((n * signal / np.sqrt(n * (signal + background))).max())


@pytest.mark.parametrize("mix", ["I", "II"])
def test_boosted_trees_separate_physical_from_accidental_events(mix):
    """Printed beside the paper for information; the simulator is not tuned to it, and only separation at all is asserted."""
    block = _block(64, 18_000, accidental_mixture=mix, fraction_acc=0.5, fraction_nr=0.45)
    x, number = block["features"], block["class"]
    below = block["log_ratio_to_nr_median"] < 0.0
    used = (number != CLASSES.index("ER")) & below
    y = (number == CLASSES.index("NR")).astype(int)
    train = np.arange(len(y)) % 2 == 0
    model = _trees(x[used & train], y[used & train])
    scores = model.predict_proba(x)[:, 1]
    test = used & ~train
    s, auc = _significance(scores[test], y[test]), metrics.roc_auc_score(y[test], scores[test])
    cut = np.quantile(scores[test & (y == 1)], 1.0 - 0.907)
    background = (scores[test & (y == 0)] >= cut).mean()
    er = (scores[number == CLASSES.index("ER")] >= cut).mean()
    print(
        f"mixture {mix}: S {s:.2f} (no cut {np.sqrt(488):.2f}, perfect {np.sqrt(976):.2f}; paper BDT 26.2, 4C 26.90), "
        f"S/sqrt(n) {s / np.sqrt(976):.3f} (paper BDT .839), AUC {auc:.3f}; "
        f"at NR .907: ACC {background:.3f} (paper BDT {0.77 / 2.93:.3f}), ER {er:.3f}"
    )
    assert auc > 0.8
    assert np.sqrt(976 / 2) < s < np.sqrt(976)


def test_the_default_mixture_is_the_one_written_down_first():
    from raresearch.experiments.pandax2.accidental import MIXTURES

    assert Settings.of({}).mixture == MIXTURES["I"]
