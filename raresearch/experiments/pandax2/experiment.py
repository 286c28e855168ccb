"""PandaX-II: nuclear recoils against accidental coincidences of isolated S1 and S2, with electron recoils looking on.

After "Suppression of accidental backgrounds with deep neural networks in the PandaX-II experiment" (Shaheed, Chen, Wang).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from raresearch.experiment import Experiment, Findings, ReadOut, Schema, TensorField
from raresearch.experiments import constants
from raresearch.experiments.pandax2 import simulator
from raresearch.experiments.pandax2.accidental import Isolated
from raresearch.experiments.pandax2.detector import Detector
from raresearch.experiments.pandax2.features import FEATURES
from raresearch.experiments.pandax2.spectra import ElectronSpectrum, NeutronSpectrum
from raresearch.types import Array, Config, Value

if TYPE_CHECKING:
    from torch import nn

_MODELS = (NeutronSpectrum, ElectronSpectrum, Isolated, Detector)


class PandaX2(Experiment):
    """Thirteen features of S1 and S2 (the paper's Table 1), a multi-layer perceptron, significance S (Eq. 4.1)."""

    name: ClassVar[str] = "pandax2"
    version: ClassVar[str] = "1"
    defaults: ClassVar[Mapping[str, Value]] = {
        "data.nr_sample": "below",
        "data.accidental_mixture": "I",
        "data.fraction_acc": simulator.FRACTION_ACC,
        "data.fraction_nr": simulator.FRACTION_NR,
        **constants.defaults(*_MODELS),
        "model.hidden": (32, 32, 16, 8),
        "model.dropout": 0.0,
    }
    described: ClassVar[Mapping[str, str]] = {
        "data.nr_sample": "below: NR above the NR median are spectators (models 4A-7D); all: every NR is signal (4Cu, 4Eu) [P]",
        "data.accidental_mixture": "origins of isolated signals: I, written down first, or II, made harder later [A]",
        "data.fraction_acc": "share of accidental events, below the NR median (fraction) [P] 43,719 of 65,481",
        "data.fraction_nr": "share of nuclear recoils (fraction) [P] 10,881 of 65,481; the rest is ER, assumed as many [A]",
        **constants.described(*_MODELS),
        "model.hidden": "widths of the hidden layers [P] Table 2; the default is 4C",
        "model.dropout": "dropout after each hidden layer (fraction) [P] Fig. 4d has 0.2",
    }
    paper: ClassVar[str] = "paper.csv"  # Table 2
    figures_of_merit: ClassVar[tuple[str, ...]] = ("significance", "roc_auc", "rejection", "average_precision")
    cites: ClassVar[tuple[str, ...]] = (
        "10.1088/1674-1137/ac7cd8",  # accidental background in PandaX-II, the boosted trees: arXiv:2204.11175
        "10.1088/1674-1137/abb658",  # full exposure, Run 11: arXiv:2007.15469
        "arXiv:1412.4417",  # nuclear-recoil yields, Lenardo et al. 2015
        "arXiv:1106.1613",  # NEST
    )

    def schema(self) -> Schema:
        """One flat tensor of thirteen features; observers are label-free, ``log_ratio_to_nr_median`` is
        log10(qS2c / qS1c) minus the NR median's cubic in ln qS1c, ``drift_time`` the apparent one in µs."""
        return Schema(
            tensors=(TensorField("features", (len(FEATURES),), "float32", FEATURES),),
            classes=simulator.CLASSES,
            signal=("NR",),
            background=("ACC",),
            observers=simulator.OBSERVERS,
        )

    def simulate(self, config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """See `raresearch.experiments.pandax2.simulator.simulate`."""
        return simulator.simulate(config, rng, n)

    def model(self, config: Config) -> nn.Module:
        """See `raresearch.experiments.pandax2.model.mlp`."""
        from raresearch.experiments.pandax2.model import mlp

        return mlp(
            len(FEATURES),
            config.get("model.hidden", self.defaults["model.hidden"]),
            config.get("model.dropout", self.defaults["model.dropout"]),
        )

    def read_out(self, findings: Findings) -> Sequence[ReadOut]:
        """The efficiency of ER, NR and accidentals against qS1 over the repeats of the best config (Fig. 4 and 5); in a study of
        the paper's variants, also what each is worth beside boosted trees, and Table 3.
        """
        from raresearch.experiments.pandax2.argument import NAMES, argument
        from raresearch.experiments.pandax2.efficiency_bundle import tables

        # The scan of 18 networks has a 4C and a 4E too; it is the strategies beside each other that make the argument.
        compared = set(findings.every) & set(NAMES)
        whole = argument(findings.every).tables() if len(compared) > 1 else ()
        return (*whole, *tables(findings.scored))
