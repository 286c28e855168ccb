"""The seal: whatever runs before `unseal` is looked through, and nothing in it knows a test event's label, class or weight.

Every event's weight is a number that no other event has (a canary), so a weight that escaped can be recognised wherever it
turns up: in a file, in a pickle, in an array of a worker. Labels and classes are looked for as whole columns. Each search is
first shown to find what it must find: the validation events' weights, which are free to be seen.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

import raresearch as rs
from raresearch.data.dataset import Dataset
from raresearch.data.sealed import read_sealed
from raresearch.errors import SealError
from raresearch.execution import ray_tune
from raresearch.execution.ray_session import ray_session

EXPERIMENT = """
import raresearch as rs
from nosy import spy


class Canary(rs.Experiment):
    name = "canary"
    defaults = {"model.width": 4}
    described = {"model.width": "neurons"}
    figures_of_merit = ("significance",)

    def schema(self):
        return rs.Schema(
            tensors=(rs.TensorField("point", (2,)),), classes=("signal", "background", "other"),
            signal=("signal",), background=("background",), observers=("radius",),
        )

    def simulate(self, config, rng, n):
        kind = rng.integers(0, 3, n)
        point = rng.normal(size=(n, 2)) + (kind == 0)[:, None]
        return {"point": point, "class": kind, "radius": rng.random(n), "weight": rng.uniform(0.5, 1.5, n)}

    def model(self, config):
        from torch import nn
        spy("model")
        return nn.Sequential(nn.Linear(2, config["model.width"]), nn.ReLU(), nn.Linear(config["model.width"], 1))

    def forward(self, model, inputs, config):
        spy("forward")
        return super().forward(model, inputs, config)

    def loss(self, output, batch, config):
        spy("loss")
        return super().loss(output, batch, config)
"""

# Writes down every array that can be reached from the callers' variables and from the package's own objects.
NOSY = """
import dataclasses, gc, os, sys, uuid
from pathlib import Path
import numpy as np

FOLDER = Path("FOLDER_HERE")
seen_places = set()


def arrays_of(value, found, known, depth=0):
    if id(value) in known or depth > 14:
        return
    known[id(value)] = value
    if isinstance(value, np.ndarray):
        found.append(value)
    elif str(type(value).__module__).startswith("torch") and hasattr(value, "detach"):
        try:
            found.append(value.detach().cpu().numpy())
        except RuntimeError:
            pass  # a stack of members under vmap has no memory of its own; its events are reached elsewhere
    elif isinstance(value, dict):
        for one in value.values():
            arrays_of(one, found, known, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            arrays_of(one, found, known, depth + 1)
    elif str(type(value).__module__).startswith(("raresearch", "numpy", "pyarrow")) or type(value).__name__ == "ObjectRef":
        if type(value).__name__ == "Table":
            for name in value.column_names:
                arrays_of(np.array(value[name].to_pylist(), dtype=object), found, known, depth + 1)
        if type(value).__name__ == "ObjectRef":
            import ray
            arrays_of(ray.get(value), found, known, depth + 1)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            for field in dataclasses.fields(value):
                arrays_of(getattr(value, field.name, None), found, known, depth + 1)
        for one in list(getattr(value, "__dict__", {}).values()):
            arrays_of(one, found, known, depth + 1)


def spy(place, *values):
    if (place, os.getpid()) in seen_places:
        return
    seen_places.add((place, os.getpid()))
    found, known = [], {}
    for value in values:
        arrays_of(value, found, known)
    frame = sys._getframe(1)
    while frame is not None:
        for value in list(frame.f_locals.values()):
            arrays_of(value, found, known)
        frame = frame.f_back
    for value in gc.get_objects():
        if str(type(value).__module__).startswith("raresearch"):
            arrays_of(value, found, known)
    plain = [np.asarray(a) for a in found if a.ndim and a.dtype.kind in "biuf"]
    np.savez(FOLDER / f"{place}-{os.getpid()}-{uuid.uuid4().hex[:6]}.npz", *plain)


class Searcher:
    def __init__(self, space):
        self.points, self.told = list(space.grid()), []

    def ask(self):
        spy("ask")
        return self.points.pop(0) if self.points else None

    def tell(self, config, score):
        spy("tell", config, score)


class Rule:
    needs = frozenset({"val_loss"})

    def keep(self, epochs):
        spy("keep", epochs)
        return {int(epochs["epoch"][-1])}

    def choose(self, epochs):
        from raresearch.errors import SealError
        from raresearch.types import Member
        spy("choose", epochs)
        try:
            epochs["test_loss"]
        except SealError:
            (FOLDER / "refused").touch()
        return [Member(str(epochs["cell"][-1]), int(epochs["epoch"][-1]))]
"""

STUDY = """
study: canary
experiment: ./canary.py
seed: 5
fixed: {data.events: 900, data.block: 300, train.epochs: 2, train.batch_size: 64}
space:
  model.width: {choice: {A: 3, B: 4}}
repeats: 2
split: {train: 0.5, validation: 0.2, test: 0.3}
searcher: nosy:Searcher
selection: nosy:Rule
objective: roc_auc
keep: {scores: all, weights: kept}
execution: {backend: ray_tune, workers: 2}
"""


class Study:
    """A finished run of the canary experiment and what was overheard while it ran."""

    def __init__(self, folder):
        self.root, self.out, self.spied = folder, folder / "run", folder / "spied"
        self.yaml = folder / "canary.yaml"
        self.overheard = []

    @property
    def dataset(self):
        (path,) = [p for p in (self.out / "datasets").iterdir() if not p.name.startswith(".")]
        return Dataset.open(path)

    def labels(self, split):
        """Columns by name, ordered by event id, read as plainly as a shell would."""
        parts = sorted((self.dataset.path / split).glob("*.parquet"))
        table = pa.concat_tables([pq.read_table(p).select(["event_id", "class", "label", "weight"]) for p in parts])
        return {name: table.sort_by("event_id")[name].to_numpy() for name in table.column_names}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = Study(tmp_path_factory.mktemp("canary"))
    made.spied.mkdir()
    (made.root / "nosy.py").write_text(NOSY.replace("FOLDER_HERE", str(made.spied)))
    (made.root / "canary.py").write_text(EXPERIMENT)
    made.yaml.write_text(STUDY)
    put, suggest = ray.put, ray_tune._PackSearcher.suggest

    def overheard_put(value, *args, **kwargs):
        made.overheard.append(ray.cloudpickle.dumps(value))
        return put(value, *args, **kwargs)

    def overheard_suggest(self, trial):
        config = suggest(self, trial)
        made.overheard.append(json.dumps(config).encode())
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(made.root))
        patch.setenv("PYTHONPATH", str(made.root))
        with ray_session(None, 2):
            patch.setattr(ray, "put", overheard_put)
            patch.setattr(ray_tune._PackSearcher, "suggest", overheard_suggest)
            opened = rs.run(made.yaml, out=made.out)
    assert (opened.done(), opened.failed()) == (4, [])
    opened.select()
    opened.report()
    return made


def columns_within(array, columns):
    """Names of the columns that ``array`` holds: as the same numbers in the same order, anywhere."""
    blob = {}
    for name in ("class", "label"):
        wanted = columns[name]
        for dtype in (np.int8, np.int64, np.float32, np.float64):
            blob[name, dtype] = wanted.astype(dtype).tobytes()
    return {name for (name, _), content in blob.items() if content in array}


def weights_within(numbers, weights):
    """How many of ``weights`` are among ``numbers``; float32 holds them rounded, where a few may meet by chance."""
    flat = np.asarray(numbers).reshape(-1)
    if flat.dtype == np.float32:
        hits = int(np.isin(weights.astype(np.float32), flat).sum())
        return hits if hits > 3 else 0
    return int(np.isin(weights, flat.astype(np.float64)).sum()) if flat.dtype.kind in "fiu" else 0


def spied_arrays(study):
    for path in sorted(study.spied.glob("*.npz")):
        with np.load(path) as content:
            yield path.name.split("-")[0], [content[name] for name in content.files]


@pytest.mark.slow
def test_code_in_workers_searchers_and_rules_reaches_no_test_label(study):
    sealed, free = study.labels("sealed"), study.labels("validation")
    places = {}
    for place, arrays in spied_arrays(study):
        free_found = max((weights_within(a, free["weight"]) for a in arrays), default=0)
        places[place] = max(places.get(place, 0), free_found)
        for a in arrays:
            assert not weights_within(a, sealed["weight"]), f"{place}: {a.shape} {a.dtype}"
            if a.size >= len(sealed["label"]):
                assert not columns_within(np.ascontiguousarray(a).tobytes(), sealed), place
    assert {"model", "forward", "loss", "keep", "choose", "ask", "tell"} <= set(places)
    assert places["loss"] == len(free["weight"]), "the same search finds every validation weight in a worker"
    assert (study.spied / "refused").exists(), 'the rule\'s epochs["test_loss"] was refused'


@pytest.mark.slow
def test_nothing_put_into_the_object_store_or_a_trial_holds_a_test_label(study):
    sealed, free = study.labels("sealed"), study.labels("validation")
    whole = b"".join(study.overheard)
    assert free["weight"].tobytes() in whole, "the search finds the validation weights that workers were given"
    assert columns_within(whole, free) == {"class", "label"}
    assert sum(b'"pack"' in item for item in study.overheard) >= 2, "trial configs were overheard too"
    assert not any(weight.tobytes() in whole for weight in sealed["weight"])
    assert not columns_within(whole, sealed)


def leaks(root, sealed):
    """Files under ``root`` that hold a test event's weight, or a class, label or weight column for test ids."""
    found = set()
    texts = [f"{w:.10f}"[:10].encode() for w in sealed["weight"]]
    ids = set(sealed["event_id"].tolist())
    for path in (p for p in root.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if any(w.tobytes() in content for w in sealed["weight"]) or (
            path.suffix != ".png" and any(t in content for t in texts)
        ):
            found.add(path)
        for table in tables_in(path):
            numbers = [table[n].combine_chunks() for n in table.column_names]
            flat = [a.flatten() if pa.types.is_fixed_size_list(a.type) else a for a in numbers]
            if any(weights_within(a.to_numpy(zero_copy_only=False), sealed["weight"]) for a in flat if not nested(a)):
                found.add(path)
            if {"class", "label", "weight"} & set(table.column_names) and ids & set(table["event_id"].to_pylist()):
                found.add(path)
    return {str(p.relative_to(root)) for p in found}


def tables_in(path):
    if path.suffix == ".parquet":
        yield pq.read_table(path, partitioning=None)
    elif path.suffix == ".arrow":
        yield pa.ipc.open_file(path).read_all()


def nested(array):
    return pa.types.is_nested(array.type) or isinstance(array.type, pa.BaseExtensionType) or pa.types.is_string(array.type)


def only_sealed(found):
    return bool(found) and all(Path(p).match("datasets/*/sealed/part-*.parquet") for p in found)


@pytest.mark.slow
def test_on_disk_test_labels_lie_in_the_sealed_folder_and_nowhere_else(study):
    found = leaks(study.out, study.labels("sealed"))
    assert only_sealed(found), found
    parts = {str(p.relative_to(study.out)) for p in (study.dataset.path / "sealed").iterdir()}
    assert found == parts, "every sealed file was recognised"
    free = leaks(study.out, study.labels("validation"))
    assert any(p.startswith("events/") for p in free), "the same search finds validation labels beside them"
    assert any("/validation/" in p for p in free)
    reports = {p.suffix for p in (study.out / "report").rglob("*") if p.is_file()}
    assert {".html", ".md", ".csv", ".svg"} <= reports, "reports, TensorBoard files and tables were among what was searched"
    assert list((study.out / "report" / "tensorboard").rglob("*tfevents*"))


@pytest.mark.slow
def test_no_answer_of_the_api_short_of_unsealing_has_a_test_label(study):
    opened, dataset = rs.open(study.out), study.dataset
    events = dataset.events("test")
    assert (events.label, events.class_number, events.weight) == (None, None, None)
    assert opened.store.events(f"{dataset.fingerprint}-test").column_names == ["event_id", "radius"]
    assert not [name for name in opened.epochs().column_names if name.startswith("test")]
    assert not [name for name in opened.epoch_table().columns if name.startswith("test")]
    with pytest.raises(SealError, match="rules read validation only"):
        opened.epoch_table()["test_loss"]
    sealed = study.labels("sealed")
    answers = [opened.status(), opened.about, dataset.meta, opened.ledger(), opened.cells().to_pylist(), str(opened.table())]
    text = json.dumps(answers, default=str)
    assert not [w for w in sealed["weight"] if f"{w:.10f}"[:10] in text]
    for landing in opened.store.landings():
        for file in landing.glob("scores-*.arrow"):
            assert pa.ipc.open_file(file).schema.names == ["cell", "epoch", "scores"]


@pytest.mark.slow
def test_the_manifest_tells_how_many_test_events_a_class_has_and_nothing_of_which(study):
    counts = study.dataset.meta["counts"]
    sealed = study.labels("sealed")
    assert counts["test"] == {n: int((sealed["class"] == i).sum()) for i, n in enumerate(("signal", "background", "other"))}
    numbers = [v for v in json.dumps(study.dataset.meta).replace("[", " ").replace("]", " ").split() if v[0].isdigit()]
    assert len(numbers) < 40, "a summary, not a list of events"


@pytest.mark.slow
def test_reading_the_labels_without_a_line_in_the_ledger_is_refused_even_by_the_packages_own_function(study):
    with pytest.raises(SealError, match="nobody has opened it yet"):
        read_sealed(study.dataset.path)


@pytest.mark.slow
def test_a_rule_that_asks_for_a_test_column_is_refused_in_one_line(study):
    class Peeking:
        needs = frozenset({"test_loss"})

        def keep(self, epochs):
            return set()

        def choose(self, epochs):
            raise AssertionError("never reached")

    opened = rs.open(study.out)
    with pytest.raises(SealError, match="'test_loss': rules read validation only"):
        opened.select(Peeking())
    line = [sys.executable, "-m", "raresearch.cli", "select", str(study.out), "--rule", "best_epoch", "--by", "test_loss"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "reads validation only" in done.stderr
    assert done.stderr.count("\n") == 1
