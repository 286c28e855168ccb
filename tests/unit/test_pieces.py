"""Batches in pieces: the number of workers changes no bit, and the pieces change what they must."""

import multiprocessing
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import distributed, nn

from raresearch.data.ondisk import NpyFile, Rows
from raresearch.errors import SpecError, UserError
from raresearch.experiment import Experiment, parameters
from raresearch.spec import load
from raresearch.store.checkpoints import Checkpoints
from raresearch.store.remote import Here
from raresearch.testing.toy import Toy
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.crew import FirstsShelf, Joined, Lost, Solo, agree, from_first, join
from raresearch.training.pack import Work, train_pack
from raresearch.training.pieces import tree
from raresearch.training.policy import Keep
from raresearch.training.resume import Resuming
from raresearch.training.single import train_cell
from raresearch.types import Cell, config_id


class Images(Experiment):
    """Batch statistics, dropout of whole channels, augmentation."""

    name = "images"

    def model(self, config):
        return nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten(), nn.Linear(48, 1)
        )

    def augment(self, inputs, config):
        return {n: t * (1 + 0.1 * torch.rand(len(t), *[1] * (t.dim() - 1))) for n, t in inputs.items()}


class Plain(Experiment):
    """Nothing in it depends on which events are in a piece."""

    name = "plain"

    def model(self, config):
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.LayerNorm((3, 4, 4)), nn.ReLU(), nn.Flatten(), nn.Linear(48, 1))


class Worst(Plain):
    """A loss that is no mean over events."""

    name = "worst"

    def loss(self, output, batch, config):
        return nn.functional.binary_cross_entropy_with_logits(self.logit(output, config), batch.label, reduction="none").max()


def data(events=90):
    rng = np.random.default_rng(1)

    def sample(n, sealed=False):
        label = (rng.random(n) < 0.5).astype(np.int8)
        x = (rng.normal(size=(n, 1, 6, 6)) + 0.5 * label.reshape(-1, 1, 1, 1)).astype(np.float32)
        return Sample({"x": x}, None if sealed else label, None if sealed else rng.uniform(0.5, 1.5, n))

    return FoldData(sample(events), sample(1100), sample(600, sealed=True), "v", "t")  # three lots and two


def cell(experiment, epochs=3, **values):
    config = {**parameters(experiment), "train.batch_size": 20, "train.epochs": epochs, **values}
    return Cell(config, 0, 0, epochs, {"data": "d"})


def train(experiment, chosen, **more):
    records = {}
    work = Work(
        experiment=experiment,
        study_seed=3,
        keep=Keep(),
        land=lambda found: records.update({r.cell.key: r for r in found}),
        memory=1 << 30,
        **{"data": lambda cell: data(), "report": lambda cell, epoch: None, **more},
    )
    train_pack([chosen], work)
    return records[chosen.key]


def at_once(experiment, chosen):
    """The same cell by the plain loop, which knows of no pieces: whole batches, one worker."""
    return train_cell(chosen, experiment, data(), 3, Keep(), lambda cell, epoch: None)


def in_child(act, place, rank, size):
    distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=size)
    (place / f"{rank}").write_bytes(pickle.dumps(act(join(4))))
    distributed.destroy_process_group()


def on_workers(act, place, size):
    """What ``act`` returns on each of ``size`` processes."""
    place.mkdir()
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=in_child, args=(act, place, rank, size)) for rank in range(size)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    return [pickle.loads((place / f"{rank}").read_bytes()) for rank in range(size)]


def same(one, other):
    return (
        one.epochs.keys() == other.epochs.keys()
        and all(np.array_equal(one.epochs[n], other.epochs[n]) for n in one.epochs)
        and all(np.array_equal(one.scores[n][1], other.scores[n][1]) for n in one.scores)
        and all(np.array_equal(a, other.weights[e][n]) for e, state in one.weights.items() for n, a in state.items())
    )


def test_the_number_of_workers_changes_no_bit(tmp_path):
    chosen = cell(Images(), **{"train.micro_batches": 4})  # the last batch has 10 events: pieces of 3, 3, 2 and 2
    alone = train(Images(), chosen)
    assert alone.outcome.state == "done", alone.outcome.error
    for size in (2, 3):  # of three, one is left over
        found = on_workers(lambda crew: crew and train(Images(), chosen, crew=crew), tmp_path / f"{size}", size)
        assert [r is not None for r in found] == [True, True, False][:size]
        assert same(found[0], alone)
        assert same(found[1], alone)
    assert not same(train(Images(), cell(Images(), **{"train.micro_batches": 2})), alone), "the pieces do"


def test_workers_read_their_shares_from_disk_to_the_same_bits(tmp_path):
    held = data()

    def stored(sample, name):
        np.save(tmp_path / name, sample.inputs["x"])
        return replace(sample, inputs={"x": Rows((NpyFile.open(tmp_path / name),), streamed=True)})

    fold = replace(held, **{name: stored(getattr(held, name), f"{name}.npy") for name in ("train", "validation", "test")})
    chosen = cell(Images(), **{"train.micro_batches": 4, "train.window": 40})
    alone = train(Images(), chosen)
    found = on_workers(lambda crew: train(Images(), chosen, crew=crew, data=lambda _: fold), tmp_path / "two", 2)
    assert same(found[0], alone)
    assert same(found[1], alone)


@pytest.mark.slow
def test_nor_of_a_compiled_network_in_bfloat16(tmp_path):
    mixed = {"train.precision": "bfloat16", "train.channels_last": True, "train.compile": True}
    # Pieces of 15 events throughout, so that each process compiles few shapes.
    chosen = cell(Images(), 2, **{"train.micro_batches": 2, "train.batch_size": 30, **mixed})
    found = on_workers(lambda crew: train(Images(), chosen, crew=crew), tmp_path / "two", 2)
    alone = train(Images(), chosen)
    assert alone.outcome.state == "done", alone.outcome.error
    assert same(found[0], alone)
    assert same(found[1], alone)


@pytest.mark.parametrize(("pieces", "window"), [(2, 0), (8, 0), (2, 20)])
def test_pieces_are_the_whole_batch_where_nothing_depends_on_the_company(pieces, window):
    chosen = cell(Plain(), **{"train.precision": "float64", "train.micro_batches": pieces, "train.window": window})
    whole, cut = at_once(Plain(), chosen), train(Plain(), chosen)
    for name, values in whole.epochs.items():
        assert np.allclose(cut.epochs[name], values, rtol=0, atol=1e-10), name


def test_two_workers_give_the_loss_curve_of_one_over_20_steps(tmp_path):
    # One step an epoch, so that every step's loss is recorded.
    chosen = cell(Plain(), 20, **{"train.batch_size": 90, "train.learning_rate": 0.01, "train.micro_batches": 2})
    one = at_once(Plain(), chosen)
    two, _ = on_workers(lambda crew: train(Plain(), chosen, crew=crew), tmp_path / "two", 2)
    assert one.epochs["train_loss"][0] - one.epochs["train_loss"][-1] > 0.1, "it learns something in 20 steps"
    assert np.abs(two.epochs["train_loss"] - one.epochs["train_loss"]).max() < 1e-4
    assert np.abs(two.epochs["val_loss"] - one.epochs["val_loss"]).max() < 1e-4


def test_running_statistics_move_as_by_one_batch_of_the_pieces_mean():
    chosen = cell(Images(), 1, **{"train.batch_size": 90, "train.micro_batches": 2, "train.learning_rate": 1e-12})
    (state,) = train(Images(), chosen).weights.values()
    (whole,) = at_once(Images(), chosen).weights.values()
    # One step from 0 and 1, by a tenth. Augmentation draws differ, so the figures agree to some per cent only.
    assert np.allclose(state["1.running_mean"], whole["1.running_mean"], atol=0.01)
    assert np.allclose(state["1.running_var"], whole["1.running_var"], atol=0.01)
    assert np.abs(state["1.running_var"] - 1).min() > 0.02
    assert state["1.num_batches_tracked"] == 1


def test_a_short_batch_may_have_fewer_events_than_pieces():
    # 90 events in batches of 29: the last has 3, for eight pieces
    found = train(Images(), cell(Images(), **{"train.batch_size": 29, "train.micro_batches": 8}))
    assert found.outcome.state == "done"


def test_a_loss_that_is_no_mean_over_events_is_refused_in_one_line():
    with pytest.raises(SpecError, match=r"train\.micro_batches: the experiment's loss .* is not the weighted mean"):
        train(Worst(), cell(Worst(), **{"train.micro_batches": 2}))


@pytest.mark.parametrize("values", [{"train.precision": "bfloat16"}, {"train.channels_last": True}])
def test_precision_and_layout_change_digits_and_not_the_training(values):
    chosen = cell(Plain(), **values)
    reference, found = at_once(Plain(), chosen), train(Plain(), chosen)
    assert found.outcome.state == "done", found.outcome.error
    assert np.allclose(found.epochs["train_loss"], reference.epochs["train_loss"], atol=0.02)
    (state,) = found.weights.values()
    assert {a.dtype for a in state.values()} == {np.dtype(np.float32)}, "parameters stay in float32"
    if "train.precision" in values:
        assert not np.array_equal(found.epochs["train_loss"], reference.epochs["train_loss"])


def test_a_worker_that_is_gone_is_not_the_cells_failure(monkeypatch):
    def broken(*args, **more):
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(distributed, "all_gather", broken)
    with pytest.raises(Lost, match="closed by peer"):
        train(Plain(), cell(Plain(), **{"train.micro_batches": 2}), crew=Joined(0, 2, None))


def interrupted(chosen, folder, crew, epochs):
    """Train until ``epochs`` are over; checkpoints are written after each."""
    shelf = Checkpoints(folder, Here(folder), [chosen.key])
    resuming = Resuming(FirstsShelf(shelf, crew, torch.device("cpu")), 0.0)
    seen = []

    def report(cell, epoch):
        if len(seen) == epochs:
            raise KeyboardInterrupt
        seen.append(epoch)

    try:
        return train(Images(), chosen, crew=crew, resuming=resuming, report=report), seen
    except KeyboardInterrupt:
        return None, seen


@pytest.mark.parametrize("damaged", [False, True])
def test_another_number_of_workers_goes_on_where_some_were_interrupted(tmp_path, damaged):
    chosen = cell(Images(), **{"train.micro_batches": 4})
    reference = train(Images(), chosen)
    on_workers(lambda crew: interrupted(chosen, tmp_path, crew, 1), tmp_path / "two", 2)
    record, seen = interrupted(chosen, tmp_path, Solo(), 9)
    assert seen == [2, 3]
    assert same(record, reference)
    (tmp_path / "again").mkdir()
    interrupted(chosen, tmp_path / "again", Solo(), 2)
    if damaged:
        next((tmp_path / "again" / "checkpoints").iterdir()).write_bytes(b"torn")
    found = on_workers(lambda crew: interrupted(chosen, tmp_path / "again", crew, 9), tmp_path / "two again", 2)
    for record, seen in found:
        assert seen == ([1, 2, 3] if damaged else [3])
        assert same(record, reference)


def disagree(crew):
    given = from_first(crew, b"from the first" if crew.rank == 0 else b"mine", torch.device("cpu"))
    agree(crew, "the same", torch.device("cpu"))
    try:
        agree(crew, f"device {crew.rank}", torch.device("cpu"))
    except UserError as error:
        return given, str(error)
    return given, ""


def test_workers_that_compute_differently_do_not_train_together(tmp_path):
    for given, line in on_workers(disagree, tmp_path / "w", 2):
        assert given == b"from the first"
        assert "differ in device, torch or code" in line


def test_a_tree_sums_in_an_order_that_branches_share():
    leaves = torch.randn(16, 1000)
    whole = tree(0, 16, leaves.__getitem__)
    branches = [tree(4 * n, 4 * n + 4, leaves.__getitem__) for n in range(4)]
    assert torch.equal(tree(0, 4, branches.__getitem__), whole)
    assert not torch.equal(leaves.sum(0), whole), "else the order would not matter here"
    assert torch.allclose(leaves.sum(0), whole, atol=1e-5)


def test_cells_of_earlier_studies_keep_their_keys():
    old = {n: v for n, v in parameters(Toy()).items() if n not in ("train.micro_batches", "train.channels_last")}
    new = parameters(Toy())
    assert Cell(old, 0, 0, 5, {}).key == Cell(new, 0, 0, 5, {}).key
    assert config_id(old) == config_id(new)
    assert Cell({**new, "train.micro_batches": 2}, 0, 0, 5, {}).key != Cell(new, 0, 0, 5, {}).key


def test_workers_without_pieces_or_without_machines_are_one_line(tmp_path):
    def study(execution, fixed=""):
        path = tmp_path / "study.yaml"
        path.write_text(f"study: s\nexperiment: toy\nfixed: {{{fixed}}}\nexecution: {{{execution}}}\n")
        spec = load(path)
        spec.check(spec.load_experiment())
        return spec

    with pytest.raises(SpecError, match=r"yaml:4: execution\.cell_workers: must be a power of two, not 3; write 2"):
        study("cell_workers: 3")
    with pytest.raises(SpecError, match=r"train\.micro_batches is 1; write fixed: \{train\.micro_batches: 4\}"):
        study("cell_workers: 4")
    with pytest.raises(SpecError, match=r"train\.micro_batches: must be a power of two"):
        study("cell_workers: 1", "train.micro_batches: 6")
    assert study("cell_workers: 4", "train.micro_batches: 8").execution.cell_workers == 4
