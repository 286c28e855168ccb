"""The built-in rules keep the contract."""

from raresearch.ensembles.rules import BestEpoch, LastK, TopK
from raresearch.testing.rule_contract import RuleContract


class TestBestEpoch(RuleContract):
    rule = BestEpoch()


class TestBestEpochByAccuracy(RuleContract):
    rule = BestEpoch(by="val_accuracy")


class TestTopK(RuleContract):
    rule = TopK(k=3, by="val_loss", within={"val_accuracy": 0.01})


class TestTopKWithoutCondition(RuleContract):
    rule = TopK(k=2)


class TestLastK(RuleContract):
    rule = LastK(k=4)
