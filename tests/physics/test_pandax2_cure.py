"""The paper's point: trained below the NR median, ER efficiency is a matter of luck; with all NR it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import raresearch as rs
from raresearch.experiments.pandax2.argument import Variant
from raresearch.experiments.pandax2.limit import ExpectedLimit
from raresearch.experiments.pandax2.spreads import spread_ratio

#: 4C and 4Cu of pandax2_variants.yaml at its demo scale
STUDY = """
study: cure
experiment: pandax2
seed: 2302
fixed:
  data.events: 12000
  train.epochs: 60
  train.patience: 10
  train.batch_size: 128
  train.learning_rate: 1.0e-3
  train.scaling: minmax
space: {data.nr_sample: {choice: {4C: below, 4Cu: all}}}
repeats: 20
split: {train: 0.5, validation: 0.25, test: 0.25}
objective: {significance: {n_signal: 976, n_background: 976}}
figures_of_merit: [roc_auc]
selection: {best_epoch: {by: val_loss}}
keep: {scores: kept, weights: none}
execution: {backend: local}
"""


@pytest.mark.slow
def test_the_spread_of_er_efficiency_is_cured_by_training_with_all_nr(tmp_path: Path) -> None:
    (tmp_path / "cure.yaml").write_text(STUDY)
    study = rs.run(tmp_path / "cure.yaml", out=tmp_path / "run")
    below, cured = (Variant.of(n, study.select(configs=[n]).samples(), ExpectedLimit(resamples=20)) for n in ("4C", "4Cu"))
    found = spread_ratio(below.er(), cured.er(), 1.0 / min(e.n_effective for e in cured.er_efficiency))
    print(f"4C over 4Cu: {found}")
    assert len(below.er()) == len(cured.er()) == 20
    assert cured.er().min() > 0.98
    assert found.ratio > 10
    # The limit knows of no such luck: ER far above the NR band do not enter it.
    worth = [np.mean([v.value for v in variant.limit]) for variant in (below, cured)]
    assert worth[0] == pytest.approx(worth[1], rel=0.1)
