"""Read-outs of KamNet's studies."""

from __future__ import annotations

from raresearch.experiment import Experiment, Findings, ReadOut


def read_outs(findings: Findings, experiment: Experiment) -> list[ReadOut]:
    return []
