"""TensorBoard files: TensorBoard's own reader finds in them what the store holds."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

from raresearch.report import tensorboard
from raresearch.report.build import build_report
from raresearch.report.tensorboard import run_names, write_tensorboard

sys.path.append(str(Path(__file__).parent))

from test_report_store import OBJECTIVE, OTHERS, RULE, read, synthetic_store


def reader(folder):
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def series(folder, tag):
    return [(e.step, e.value) for e in reader(folder).Scalars(tag)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    store, labels = synthetic_store(tmp_path_factory.mktemp("study"), failed=[("4C", 0, 1)])
    folder = tmp_path_factory.mktemp("tensorboard")
    results = read(store, labels)
    write_tensorboard(results, folder)
    return results, folder


def test_a_cells_curves_come_back_as_the_store_has_them(study):
    results, folder = study
    cell = results.cells[0]
    rows = [r for r in results.store.epochs().to_pylist() if r["cell"] == cell.key]
    found = series(folder / "cells" / cell.label / f"{cell.seed}-{cell.fold}", "loss/validation")
    assert [step for step, _ in found] == [r["epoch"] for r in rows]
    assert np.allclose([value for _, value in found], [r["val_loss"] for r in rows], rtol=1e-6)


def test_the_band_is_one_std_around_the_mean(study):
    _, folder = study
    mean, above, below = (
        dict(series(folder / "configs" / "4A" / n, "loss/training")) for n in ("mean", "mean+std", "mean-std")
    )
    assert set(above) == set(below) <= set(mean)
    for step in above:
        assert mean[step] == pytest.approx((above[step] + below[step]) / 2, rel=1e-5)
        assert above[step] > below[step]


def test_the_hparams_plugin_reads_the_experiment_and_one_session_a_config(study):
    results, folder = study
    content = reader(folder).SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data
    assert content.plugin_name == metadata.PLUGIN_NAME
    experiment = metadata.parse_experiment_plugin_data(content.content)
    assert {h.name for h in experiment.hparam_infos} == {"model.hidden", "label"}
    assert experiment.metric_infos[0].name.tag == "validation/significance"
    assert "simulated by pandax2 v1" in experiment.description
    for label, hidden in (("4A", "32-16-8-8"), ("4C", "32-32-16-8")):
        run = reader(folder / "configs" / label)
        start = metadata.parse_session_start_info_plugin_data(
            run.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        )
        assert start.hparams["model.hidden"].string_value == hidden
        assert start.hparams["label"].string_value == label
        end = metadata.parse_session_end_info_plugin_data(
            run.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
        )
        assert end.status == api_pb2.STATUS_SUCCESS
        config = next(c for c, name in results.labels.items() if name == label)
        ((_, value),) = [(e.step, e.value) for e in run.Scalars("validation/significance")]
        assert value == pytest.approx(np.mean([r.value("significance") for r in results.done(config)]), rel=1e-6)


def test_failed_cells_leave_no_run(study):
    _, folder = study
    assert sorted(p.name for p in (folder / "cells" / "4C").iterdir()) == ["0-0", "2-0"]


def test_large_studies_write_the_means_only(study, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "MOST_CELLS", 7)
    write_tensorboard(study[0], tmp_path)
    assert not (tmp_path / "cells").exists()
    assert (tmp_path / "configs" / "4A" / "mean").is_dir()


def test_a_single_repeat_has_a_mean_and_no_band(tmp_path):
    store, labels = synthetic_store(tmp_path / "study", labels=("4A",), repeats=1, n=100)
    write_tensorboard(read(store, labels), tmp_path / "tb")
    assert series(tmp_path / "tb" / "configs" / "4A" / "mean", "loss/training")
    assert not (tmp_path / "tb" / "configs" / "4A" / "mean+std").exists()


def test_hyperparameters_of_mixed_types_become_text():
    assert tensorboard._type([1, 0.5]) == api_pb2.DATA_TYPE_FLOAT64
    assert tensorboard._type([True, False]) == api_pb2.DATA_TYPE_BOOL
    assert tensorboard._type([True, 2]) == tensorboard._type(["a", None]) == api_pb2.DATA_TYPE_STRING


def test_run_names_are_safe_and_all_different():
    names = run_names({"a1": "../x y", "b2": "x_y", "c3": "Ξ"})
    assert names == {"a1": "x_y", "b2": "x_y_b2", "c3": "config"}


def test_the_pictures_of_the_report_come_back_as_they_are_on_disk(tmp_path):
    store, labels = synthetic_store(tmp_path / "study", labels=("4A", "4B"), repeats=2, n=200)
    paths = build_report(store, objective=OBJECTIVE, others=OTHERS, rule=RULE, labels=labels)
    found = reader(paths.tensorboard)
    by_name = {tag.split("/")[1]: found.Images(tag) for tag in found.Tags()["images"]}
    assert by_name.keys() == paths.figures.keys()
    for name, (png, _, _) in paths.figures.items():
        (image,) = by_name[name]
        assert image.encoded_image_string == png.read_bytes()
        assert (image.height, image.width) == plt.imread(png).shape[:2]
