"""A frozen ensemble scores, in another process and without the study, what the store scored."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import raresearch as rs
from raresearch.cli.main import main
from raresearch.data.dataset import Dataset
from raresearch.deploy.bundle import load_bundle
from raresearch.deploy.export import export_choice
from raresearch.deploy.predict import origin_of, predict
from raresearch.deploy.stored import StoredScorer
from raresearch.ensembles.evaluation import ScoreReader, epoch_table, select
from raresearch.errors import DataError, SelectionError, StoreError
from raresearch.execution.ray_session import ray_session

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

# Two tensors of other ranks and types, float64 values far from 1, two outputs, batch normalisation, a conditional layer.
EXPERIMENT = """
import numpy as np
import raresearch as rs


class Tracks(rs.Experiment):
    name = "tracks"
    defaults = {"model.width": 4}
    described = {"model.width": "channels"}
    figures_of_merit = ("significance",)

    def schema(self):
        return rs.Schema(
            tensors=(rs.TensorField("image", (2, 6, 5), "uint8"), rs.TensorField("charge", (3,), "float64")),
            classes=("signal", "background"), signal=("signal",), background=("background",),
        )

    def simulate(self, config, rng, n):
        kind = rng.integers(0, 2, n)
        image = rng.poisson(2 + 2 * (1 - kind)[:, None, None, None], (n, 2, 6, 5)).clip(0, 255).astype(np.uint8)
        charge = 1e6 + 30 * rng.normal(size=(n, 3)) + 20 * kind[:, None]
        return {"image": image, "charge": charge, "class": kind}

    def model(self, config):
        from torch import nn
        import torch

        class Net(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.conv = nn.Sequential(nn.Conv2d(2, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.3))
                self.line = nn.Linear(width + 3, 2)

            def forward(self, image, charge):
                pooled = self.conv(image / 10).amax((2, 3))
                return self.line(torch.cat([pooled, charge], 1))

        return Net(config["model.width"])

    def logit(self, output, config):
        return output[:, 0] - output[:, 1]
"""

STUDY = """
study: tracks
experiment: ./tracks.py
seed: 3
fixed: {data.events: 1200, data.block: 400, train.epochs: 3, train.scaling: standard, train.batch_size: 64}
space:
  model.width: {choice: {narrow: 3, wide: 5}}
repeats: 2
keep: {scores: all, weights: kept}
selection: {top_k: {k: 2}}
objective: roc_auc
execution: {backend: local}
"""


def command(*arguments, cwd=None):
    """A command in a process of its own."""
    line = [sys.executable, "-m", "raresearch.cli", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def refusal(capsys):
    """The one line with which a command refuses wrong input; in this process, to save seconds."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        printed = capsys.readouterr()
        assert (ended.value.code, printed.out) == (2, "")
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
        return printed.err

    return call


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracks")
    (folder / "tracks.py").write_text(EXPERIMENT)
    (folder / "tracks.yaml").write_text(STUDY)
    return rs.run(folder / "tracks.yaml", out=folder / "run")


@pytest.fixture(scope="module")
def frozen(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("frozen") / "best.rarensemble"
    out = command("export", study.folder, "--per", "config", "--out", path, "--json")
    return path, json.loads(out.stdout)["card"]


def dataset(study):
    (path,) = [p for p in (study.folder / "datasets").iterdir() if not p.name.startswith(".")]
    return Dataset.open(path)


def best(study, per="config"):
    choice = study.select(per=per)
    return choice, next(e for e in choice.ensembles if e.config == choice.config)


def stored_scores(study, ensemble):
    """Event id → score as the store has it: validation, and the test events, whose scores are no secret."""
    found = {}
    for split in ("validation", "test"):
        for events, scores in ScoreReader(study.store).combined(ensemble, split):
            found |= dict(zip(events["event_id"].to_pylist(), scores.tolist(), strict=True))
    return found


def largest_difference(path, expected):
    table = pq.read_table(path)
    made = dict(zip(table["event_id"].to_pylist(), table["score"].to_pylist(), strict=True))
    assert set(expected) <= set(made)
    return max(abs(made[i] - score) for i, score in expected.items())


@pytest.mark.slow
def test_a_file_scores_in_a_fresh_process_without_store_or_code_what_the_store_scored(study, frozen, tmp_path):
    choice, ensemble = best(study)
    expected = stored_scores(study, ensemble)
    data = tmp_path / "moved"
    dataset(study).path.rename(data)  # so that nothing can be read from the study's folder
    (study.folder.parent / "tracks.py").rename(study.folder.parent / "hidden.txt")
    try:
        done = command("predict", frozen[0], data, "--engine", "local", "--out", "scores.parquet", "--json", cwd=tmp_path)
    finally:
        data.rename(study.folder / "datasets" / Dataset.open(data).fingerprint)
        (study.folder.parent / "hidden.txt").rename(study.folder.parent / "tracks.py")
    facts = json.loads(done.stdout)
    assert facts["events"] == 1200
    apart = largest_difference(tmp_path / "scores.parquet", expected)
    print(f"largest difference of the file's ONNX from the store: {apart:.2g}")
    assert apart < 1e-6
    origin = origin_of(tmp_path / "scores.parquet")
    assert origin["stamp"] == "simulated by tracks v1"
    assert origin["choice"] == choice.hash
    assert origin["bundle"] == frozen[1]["hash"]
    accepted = pq.read_table(tmp_path / "scores.parquet")["accepted"].to_numpy(zero_copy_only=False)
    assert accepted.sum() == facts["accepted"]


@pytest.mark.slow
def test_a_folder_scores_in_a_fresh_process_what_its_store_scored(study, tmp_path):
    out = tmp_path / "scores.parquet"
    command("predict", study.folder, dataset(study).path, "--per", "config", "--engine", "local", "--out", out)
    apart = largest_difference(out, stored_scores(study, best(study)[1]))
    print(f"largest difference of torch from the store: {apart:.2g}")
    assert apart < 1e-6


@pytest.mark.slow
def test_ray_data_scores_bit_for_bit_what_this_process_scores(study, frozen, tmp_path):
    choice, ensemble = best(study)
    files = [dataset(study).path]
    scorers = {"file": load_bundle(frozen[0]), "folder": StoredScorer(choice)}
    made = {}
    with ray_session(None, 2):
        for name, scorer in scorers.items():  # the folder's brings an experiment from a file that workers cannot import
            made[name] = predict(scorer, files, tmp_path / f"{name}.parquet", engine="ray").path
        broken = tmp_path / "new.csv"
        broken.write_text("image,charge\n1,2\n")
        with pytest.raises(DataError, match="image"):
            predict(scorers["file"], [broken], tmp_path / "none.parquet", engine="ray")
    here = predict(scorers["file"], files, tmp_path / "here.parquet").path
    assert pq.read_table(made["file"]).equals(pq.read_table(here))
    assert largest_difference(made["folder"], stored_scores(study, ensemble)) < 1e-6


def test_the_card_says_what_the_file_is_and_what_it_was_worth(study, frozen):
    path, card = frozen
    choice, ensemble = best(study)
    assert load_bundle(path).card == card
    assert [(m["cell"], m["epoch"]) for m in card["members"]] == [(m.cell, m.epoch) for m in ensemble.members]
    assert card["choice"] == choice.hash
    assert card["rule"] == {"rule": "TopK", "options": {"k": 2, "by": "val_loss", "within": {}}}
    auc = choice.estimate("roc_auc")
    assert [card["validation"]["roc_auc"][k] for k in ("value", "low", "high")] == [auc.value, auc.low, auc.high]
    # ROC AUC takes no cut, so the threshold is the significance's
    assert card["threshold"]["value"] == choice.estimate("significance").threshold
    assert card["seal"]["state"] == "sealed"
    assert card["stamp"] == "simulated by tracks v1"
    assert card["inputs"][0] == {"name": "image", "shape": [2, 6, 5], "dtype": "uint8", "columns": []}
    for member in card["members"]:
        assert set(member["scaling"]) == {"charge"}, "only floating-point tensors were scaled"
    assert set(card["parts"]) == {"ensemble.onnx", "ensemble.pt2", "weights.safetensors"}


def test_the_weights_in_the_file_are_the_stores_and_need_no_torch_to_read(study, frozen):
    from safetensors.numpy import load

    with zipfile.ZipFile(frozen[0]) as archive:
        weights = load(archive.read("weights.safetensors"))
    rows = {r["cell"]: r["landing"] for r in study.cells().to_pylist()}
    for i, member in enumerate(frozen[1]["members"]):
        for name, array in study.store.weights(rows[member["cell"]], member["cell"], member["epoch"]).items():
            np.testing.assert_array_equal(weights[f"{i}/{name}"], array)


def test_no_path_of_the_exporting_machine_is_in_the_file(study, frozen):
    content = frozen[0].read_bytes()
    for place in (str(study.folder.parent), str(Path(rs.__file__).parent), str(Path.home())):
        assert place.encode() not in content


@pytest.mark.slow
def test_exporting_again_gives_the_same_bytes_and_another_choice_does_not_replace_it(study, frozen, refusal):
    before = frozen[0].read_bytes()
    export_choice(best(study)[0], frozen[0])  # in another process than the fixture's
    assert frozen[0].read_bytes() == before
    assert "holds another file and is left alone" in refusal("export", study.folder, "--seed", 0, "--out", frozen[0])
    assert frozen[0].read_bytes() == before


def test_the_torch_program_in_the_file_gives_the_same_scores(study, frozen):
    torch = pytest.importorskip("torch")
    import io
    import warnings

    with zipfile.ZipFile(frozen[0]) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(io.BytesIO(archive.read("ensemble.pt2"))).module()
    events = dataset(study).events("validation")
    inputs = {"image": torch.tensor(events.tensors["image"]).float(), "charge": torch.tensor(events.tensors["charge"])}
    with torch.no_grad():
        scores = program(inputs).numpy()
    np.testing.assert_allclose(scores, load_bundle(frozen[0]).score(events.tensors), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "calibration"), [("logits", "platt"), ("median", None), ("ranks", None), ("scores", "isotonic")]
)
def test_other_combinations_and_calibrations_export_too(study, tmp_path, how, calibration):
    choice, _ = best(study)
    made = select(epoch_table(study.store), choice.rule, "config", combine=how, calibrate=calibration)
    ensemble = next(e for e in made if e.config == choice.config)
    object.__setattr__(choice, "ensembles", tuple(made))
    bundle = choice.export(tmp_path / "e.rarensemble", config=choice.config)
    events = dataset(study).events("test")
    expected = stored_scores(study, ensemble)
    apart = np.abs(bundle.score(events.tensors) - [expected[i] for i in events.event_id.tolist()])
    print(f"{how}, {calibration}: largest difference {apart.max():.2g}")
    # Ranks and isotonic maps have steps: a last bit moves a tied event by a rank, or along the steepest slope.
    validation = dataset(study).size("validation")
    assert np.quantile(apart, 0.9) < 1e-6
    assert apart.max() < {"ranks": 1.01 / validation, "isotonic": 1e-4}.get(how if how == "ranks" else calibration, 1e-6)


def test_several_ensembles_are_refused_with_the_line_that_names_one(study, tmp_path, refusal):
    line = refusal("export", study.folder, "--out", tmp_path / "e")
    assert "the choice holds 2 ensembles" in line
    assert "--per config, or name one: --seed 0" in line
    choice = study.select()
    assert len(StoredScorer(choice, config="narrow", seed=1).frozen.members) == 2
    with pytest.raises(SelectionError, match="did you mean 'narrow'"):
        StoredScorer(choice, config="narow", seed=1)
    with pytest.raises(SelectionError, match=r"seeds here: \[0, 1\]"):
        StoredScorer(choice, seed=7)
    with pytest.raises(SelectionError, match="not a figure of merit of the study with a threshold"):
        StoredScorer(choice, seed=1, cut="roc_auc")


def test_weights_that_were_dropped_are_refused_with_the_remedy(study, tmp_path, refusal):
    line = refusal("export", study.folder, "--rule", "last_k", "--k", 3, "--per", "config", "--out", tmp_path / "e")
    assert "not kept" in line
    assert "keep: {weights: kept}" in line


def test_code_of_another_version_or_shape_is_refused(study, monkeypatch):
    path = study.folder.parent / "tracks.py"
    text = path.read_text()
    changes = {
        'name = "tracks"': (
            'name = "tracks"\n    version = "2"',
            "its code is version 2 now, the study was trained by version 1",
        ),
        "width + 3, 2": ("width + 3, 3", "its weights do not fit the network"),
    }
    try:
        for old, (new, words) in changes.items():
            path.write_text(text.replace(old, new))
            with pytest.raises(StoreError, match=words) as caught:
                StoredScorer(study.select(per="config")).score(dataset(study).events("test").tensors)
            assert "\n" not in str(caught.value)
    finally:
        path.write_text(text)


def test_bad_calls_of_predict_are_one_line_and_leave_nothing(study, frozen, tmp_path, refusal):
    data, out = dataset(study).path, tmp_path / "s.parquet"
    broken = tmp_path / "broken.rarensemble"
    broken.write_bytes(frozen[0].read_bytes()[:5000])
    for arguments, words in [
        ((frozen[0], data, "--rule", "top_k"), "nothing left to choose"),
        ((frozen[0], data, "--threshold", "2"), "scores lie in 0 … 1"),
        ((frozen[0], tmp_path / "absent.root"), "does not exist"),
        ((broken, data), "truncated or damaged"),
        ((tmp_path / "absent", data), "cannot be read"),
    ]:
        assert words in refusal("predict", *arguments, "--engine", "local", "--out", out)
        assert not out.exists()
