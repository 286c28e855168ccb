"""The built-in rules keep the contract."""

from raresearch.ensembles.folds import FoldEnsemble
from raresearch.ensembles.greedy import Greedy
from raresearch.ensembles.repeats import BestOfRepeats, EverySeed
from raresearch.ensembles.rules import BestEpoch, LastK, TopK
from raresearch.ensembles.stacking import Stacking
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


class TestEverySeed(RuleContract):
    rule = EverySeed()


class TestBestOfRepeats(RuleContract):
    rule = BestOfRepeats(by="val_accuracy")


class TestBestOfRepeatsByAFigureOfMerit(RuleContract):
    rule = BestOfRepeats(fom="roc_auc", epochs=3)


class TestGreedyOnRejection(RuleContract):
    rule = Greedy(steps=6)


class TestGreedyOnAllEpochsWithBags(RuleContract):
    rule = Greedy(fom="roc_auc", steps=3, epochs=None, pool=20, bags=3, by="val_accuracy")


class TestGreedyOverFolds(RuleContract):
    rule = Greedy(fom="average_precision", steps=4, epochs=2, initial=2)
    folds = 3


class TestStacking(RuleContract):
    rule = Stacking(ridge=0.01)


class TestStackingOverFolds(RuleContract):
    rule = Stacking(pool=3)
    folds = 3


class TestFoldEnsemble(RuleContract):
    rule = FoldEnsemble(k=2)
    folds = 3
