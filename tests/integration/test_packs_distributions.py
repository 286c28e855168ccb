"""In float32 a packed training and one alone part ways in the last bits; their distributions must not."""

import numpy as np
import pytest
from scipy import stats

from raresearch.experiment import parameters
from raresearch.metrics.foms import Significance
from raresearch.testing.toy import Toy
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep
from raresearch.training.single import train_cell
from raresearch.types import Cell

SEEDS = 50


@pytest.mark.slow
def test_significance_and_stop_epoch_of_packed_and_lone_trainings_have_one_distribution():
    rng = np.random.default_rng(0)

    def sample(n):
        label = (rng.random(n) < 0.5).astype(np.int8)
        x = (rng.normal(size=(n, 2)) + label[:, None]).astype(np.float32)
        return Sample({"point": x}, label, np.ones(n))

    data = FoldData(sample(400), sample(500), sample(10), "v", "t")
    config = {**parameters(Toy()), "model.hidden": (8, 8), "train.patience": 3, "train.learning_rate": 0.02}
    cells = [Cell({**config, "train.epochs": 30}, 0, s, 30, {"data": "d"}) for s in range(SEEDS)]
    found = {}
    work = Work(
        experiment=Toy(),
        study_seed=1,
        keep=Keep(),
        data=lambda cell: data,
        land=lambda records: found.update({r.cell.key: r for r in records}),
        report=lambda cell, epoch: None,
        memory=1 << 30,
    )
    train_pack(cells, work)
    # The twins are other seeds: the same ones would agree too well for the test to say anything about independent draws.
    twins = [Cell(c.config, 0, SEEDS + s, 30, {"data": "d"}) for s, c in enumerate(cells)]
    alone = [train_cell(c, Toy(), data, 1, Keep(), lambda cell, epoch: None) for c in twins]

    def significance(record):
        epochs, logits = record.scores["v"]
        scores = logits[list(epochs).index(record.outcome.best_epoch)]
        return Significance(n_signal=976, n_background=976)(scores, data.validation.label, data.validation.weight).value

    packed = [found[c.key] for c in cells]
    for measure in (significance, lambda r: r.outcome.stop_epoch):
        ours, theirs = [measure(r) for r in packed], [measure(r) for r in alone]
        assert stats.ks_2samp(ours, theirs).pvalue > 0.01
    assert len({r.outcome.stop_epoch for r in packed}) > 3
