"""A one-file experiment on real data: pulsars in a radio survey (HTRU2), a rare class checked by eye."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import raresearch as rs
from raresearch.metrics.foms import AveragePrecision

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "htru2.csv"

EXPERIMENT = """
import raresearch as rs

COLUMNS = ["Mean_IP", "SD_IP", "EK_IP", "Skewness_IP", "Mean_DM_SNR", "SD_DM_SNR", "EK_DM_SNR", "Skewness_DM_SNR"]


class Pulsars(rs.Experiment):
    name = "pulsars"
    defaults = {"model.hidden": (64, 32)}
    described = {"model.hidden": "neurons of the hidden layers"}
    figures_of_merit = ("average_precision",)

    def schema(self):
        return rs.Schema(
            tensors=(rs.TensorField("features", (8,), columns=tuple(COLUMNS)),),
            classes=("noise", "pulsar"), signal=("pulsar",), background=("noise",),
        )

    def dataset(self, config):
        return rs.Files((PATH,), {
            "class": {"column": "label", "values": {"noise": 0, "pulsar": 1}},
            "tensors": {"features": {"columns": COLUMNS}},
        })

    def model(self, config):
        from torch import nn
        sizes = (8, *config["model.hidden"])
        layers = [layer for i, o in zip(sizes, sizes[1:]) for layer in (nn.Linear(i, o), nn.ReLU())]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
"""

STUDY = """
study: pulsars
experiment: ./pulsars.py
seed: 7
fixed:
  train.epochs: 40
  train.patience: 8
  train.batch_size: 128
  train.scaling: standard
  train.weight_decay: 1.0e-4
space:
  model.hidden: {choice: [[64, 32]]}
repeats: 2
split: {train: 0.64, validation: 0.16, test: 0.2}
objective: roc_auc
execution: {backend: local}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    if not DATA.is_file():
        pytest.skip("needs ../shared/data/htru2.csv (UCI HTRU2), which only the developers' machines have")
    folder = tmp_path_factory.mktemp("pulsars")
    (folder / "pulsars.py").write_text(EXPERIMENT.replace("PATH", repr(str(DATA))))
    (folder / "pulsars.yaml").write_text(STUDY)
    return rs.run(folder / "pulsars.yaml", out=folder / "run")


def test_a_one_file_experiment_finds_pulsars_on_test_events_that_nobody_had_seen(study):
    choice = study.select()
    unsealed = choice.unseal("the acceptance test of this project")
    auc = unsealed.estimate("roc_auc")
    precision = unsealed.estimate(AveragePrecision())
    print(f"unsealed ROC AUC {auc}, average precision {precision}")
    assert auc.value >= 0.975
    assert precision.value >= 0.92


def test_the_look_is_in_the_ledger_with_its_choice(study):
    entry = study.ledger()[-1]
    assert entry["reason"] == "the acceptance test of this project"
    assert entry["choice"] == study.select().hash


def test_the_report_of_measured_data_does_not_claim_simulation(study):
    html = study.report().html.read_text()
    assert "simulated by" not in html


def test_the_command_line_answers_about_the_same_folder(study):
    out = subprocess.run(
        [sys.executable, "-m", "raresearch.cli", "status", str(study.folder), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    facts = json.loads(out.stdout)
    assert (facts["done"], facts["failed"], facts["total"]) == (2, 0, 2)
