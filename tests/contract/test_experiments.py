"""The built-in experiments keep the contract."""

from raresearch.experiments.pandax2.experiment import PandaX2
from raresearch.testing.experiment_contract import ExperimentContract
from raresearch.testing.toy import Toy


class TestToy(ExperimentContract):
    experiment = Toy()


class TestPandaX2(ExperimentContract):
    experiment = PandaX2()
