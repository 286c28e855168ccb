"""XENON1T keeps the contract of experiments, with each of its pictures."""

from __future__ import annotations

from typing import ClassVar

from raresearch.experiments.xenon1t.experiment import Xenon1T, Xenon1TWide
from raresearch.testing.experiment_contract import ExperimentContract
from raresearch.types import Config


class TestHitPeak(ExperimentContract):
    experiment = Xenon1T()


class TestHit(ExperimentContract):
    experiment = Xenon1T()
    config: ClassVar[Config] = {"data.image": "hit", "model.layers": 2}


class TestPeak(ExperimentContract):
    experiment = Xenon1T()
    config: ClassVar[Config] = {"data.image": "peak", "model.layers": 3}


class TestEqualResolution(ExperimentContract):
    experiment = Xenon1TWide()
    events = 60
