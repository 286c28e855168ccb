"""A training that was interrupted goes on from its checkpoint to the same bits, or, where that does not fit, from the start."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from raresearch.experiment import Experiment, parameters
from raresearch.store.checkpoints import Checkpoint, Checkpoints
from raresearch.store.remote import Here
from raresearch.testing.toy import Toy
from raresearch.training import resume
from raresearch.training.arrays import FoldData, Sample
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep, best_so_far
from raresearch.training.resume import Resuming
from raresearch.types import Cell

EPOCHS = 6


class Images(Experiment):
    """Batch statistics, dropout of whole channels, augmentation."""

    name = "images"

    def model(self, config):
        return nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten(), nn.Linear(48, 1)
        )

    def augment(self, inputs, config):
        return {n: t * (1 + 0.1 * torch.rand(len(t), *[1] * (t.dim() - 1))) for n, t in inputs.items()}


class Falling(torch.optim.Adam):
    """Counts its steps where no state dict sees it."""

    taken = 0

    def step(self, closure=None):
        self.taken += 1
        for group in self.param_groups:
            group["lr"] = 0.02 / self.taken
        return super().step(closure)


class Own(Images):
    name = "own"

    def optimizer(self, parameters, config):
        made = Falling(parameters, 0.02)
        made.taken = 0
        return made


class Unkept(Own):
    name = "unkept"

    def optimizer(self, parameters, config):
        made = super().optimizer(parameters, config)
        made.schedule = [0.1, 0.2]
        return made


def fold(shape, seed=0):
    rng = np.random.default_rng(seed)

    def sample(n, sealed=False):
        label = (rng.random(n) < 0.5).astype(np.int8)
        x = (rng.normal(size=(n, *shape)) + 0.5 * label.reshape(-1, *[1] * len(shape))).astype(np.float32)
        return Sample({"x": x}, None if sealed else label, None if sealed else rng.uniform(0.5, 1.5, n))

    return FoldData(sample(90), sample(40), sample(30, sealed=True), f"v{seed}", "t")


def cells(experiment, count, **values):
    config = {**parameters(experiment), "train.batch_size": 20, "train.epochs": EPOCHS, **values}
    kinds = ("adam", "sgd", "rmsprop", "adamw")
    return [
        Cell({**config, "train.optimizer": kinds[n % 4], "train.patience": 4 * (n % 2)}, n % 2, n, EPOCHS, {"data": "d"})
        for n in range(count)
    ]


class Run:
    """One worker's training of ``chosen``; ``stop``: the number of cell epochs after which it dies."""

    def __init__(self, experiment, chosen, folder=None, stop=None, every=0.0, keep=None, shorter=None, **more):
        self.records, self.epochs, self.notes = {}, [], []
        shape = (2,) if isinstance(experiment, Toy) else (1, 6, 6)
        data = [fold(shape), fold(shape, 5)]
        shelf = Checkpoints(folder, Here(folder), [c.key for c in chosen]) if folder else None

        def report(cell, epoch):
            if len(self.epochs) == stop:
                raise KeyboardInterrupt
            self.epochs.append((cell.key, epoch))

        work = Work(
            experiment=experiment,
            study_seed=3,
            keep=keep or Keep(),
            data=lambda cell: data[cell.fold],
            land=self.land,
            report=report,
            memory=1 << 30,
            resuming=Resuming(shelf, every, self.notes.append) if shelf else Resuming(),
            **more,
        )
        self.shelf = shelf
        if stop is None:
            train_pack(chosen, work, shorter)
        else:
            with pytest.raises(KeyboardInterrupt):
                train_pack(chosen, work, shorter)

    def land(self, records):
        self.records |= {r.cell.key: r for r in records}
        if self.shelf:
            self.shelf.drop(r.cell.key for r in records)


def assert_same_bits(ours, reference):
    assert set(ours) == set(reference)
    for key, record in reference.items():
        mine = ours[key]
        assert replace(mine.outcome, seconds=0) == replace(record.outcome, seconds=0)
        for column, values in record.epochs.items():
            assert np.array_equal(mine.epochs[column], values), column
        for name, (epochs, logits) in record.scores.items():
            assert np.array_equal(mine.scores[name][0], epochs)
            assert np.array_equal(mine.scores[name][1], logits), name
        assert set(mine.weights) == set(record.weights)
        for epoch, state in record.weights.items():
            for name, array in state.items():
                assert np.array_equal(mine.weights[epoch][name], array), name


WAYS = [
    (Toy(), 5, {"model.dropout": 0.2}),  # a pack of perceptrons
    (Images(), 4, {}),  # a pack of any networks
    (Own(), 2, {}),  # alone
    (Images(), 2, {"train.micro_batches": 2}),  # alone, its batches in pieces
]


@pytest.mark.parametrize(("experiment", "count", "values"), WAYS)
@pytest.mark.parametrize("keep", [Keep(), Keep(scores=best_so_far, all_scores=False)], ids=["all", "best"])
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, experiment, count, values, keep):
    chosen = cells(experiment, count, **values)
    reference = Run(experiment, chosen, keep=keep)
    first = Run(experiment, chosen, tmp_path, stop=len(reference.epochs) * 2 // 3, keep=keep)
    again = Run(experiment, [c for c in chosen if c.key not in first.records], tmp_path, keep=keep)
    assert_same_bits({**first.records, **again.records}, reference.records)
    # The epoch in which it died is trained again, by all members of the pack; nothing else is.
    assert len(first.epochs) + len(again.epochs) <= len(reference.epochs) + count
    assert any("went on after epoch" in n for n in again.notes)
    assert list((tmp_path / "checkpoints").iterdir()) == [], "gone when the cells have landed"


@pytest.mark.parametrize(("experiment", "count", "values"), WAYS)
def test_what_is_held_in_memory_is_written_when_a_training_is_interrupted(tmp_path, monkeypatch, experiment, count, values):
    monkeypatch.setattr(resume, "HELD", 0.0)
    chosen = cells(experiment, count, **values)
    reference = Run(experiment, chosen)
    first = Run(experiment, chosen, tmp_path, stop=2 * count + 1, every=1e6)  # in its third epoch, or the last of the first
    again = Run(experiment, [c for c in chosen if c.key not in first.records], tmp_path, every=1e6)
    assert again.epochs[0][1] > 2
    assert_same_bits({**first.records, **again.records}, reference.records)


def test_members_of_one_pack_may_go_on_at_different_epochs(tmp_path):
    chosen = cells(Toy(), 6)
    reference = Run(Toy(), chosen)
    Run(Toy(), chosen[:2], tmp_path, stop=2 * 4)
    Run(Toy(), chosen[2:4], tmp_path, stop=2 * 2)
    again = Run(Toy(), chosen, tmp_path)
    assert_same_bits(again.records, reference.records)
    begun = {key: min(e for k, e in again.epochs if k == key) for key in {k for k, _ in again.epochs}}
    assert sorted(begun.values()) == [1, 1, 3, 3, 5, 5]


def spoil_bytes(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint ran code",))


def spoil_about(**changes):
    def spoil(path):
        found = Checkpoint.from_bytes(path.read_bytes())
        about = {**found.about, "identity": {**found.about["identity"], **changes.pop("identity", {})}, **changes}
        path.write_bytes(Checkpoint(about, found.arrays).to_bytes())

    return spoil


def spoil_network(path):
    found = Checkpoint.from_bytes(path.read_bytes())
    arrays = {**found.arrays, "network/first": found.arrays["network/first"][:-1]}
    path.write_bytes(Checkpoint(found.about, arrays).to_bytes())


SPOILT = {
    "one bit": (spoil_bytes, "damaged"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-50]), "not readable"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "not readable"),
    "another torch": (lambda path: spoil_about(identity={"torch": "1.0"})(path), "of another torch"),
    "another cell": (
        lambda path: spoil_about(identity={"cell": "ab" * 12, "device": "abacus"})(path),
        "another cell and device",
    ),
    "beyond the budget": (lambda path: spoil_about(epoch=EPOCHS)(path), "epochs do not fit"),
    "no order": (lambda path: spoil_about(order={"bit_generator": "MT19937"})(path), "ill-formed"),
    "another shape": (spoil_network, "another network"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_checkpoint_that_does_not_fit_is_left_aside_with_a_line(tmp_path, name):
    spoil, reason = SPOILT[name]
    chosen = cells(Toy(), 1)
    reference = Run(Toy(), chosen)
    Run(Toy(), chosen, tmp_path, stop=3)
    (path,) = (tmp_path / "checkpoints").iterdir()
    spoil(path)
    again = Run(Toy(), chosen, tmp_path)
    assert len(again.epochs) == len(reference.epochs)
    assert_same_bits(again.records, reference.records)
    (line,) = again.notes
    assert reason in line
    assert "from the start" in line
    assert "\n" not in line


def test_a_smaller_budget_that_is_spent_already_is_not_read_off_a_resumed_training(tmp_path):
    config = {**parameters(Toy()), "train.epochs": EPOCHS}
    long, middle, short = (Cell({**config, "train.epochs": e}, 0, 0, e, {"data": "d"}) for e in (EPOCHS, 4, 2))
    reference = Run(Toy(), [long], shorter={long.key: [short, middle]})
    Run(Toy(), [long], tmp_path, stop=3)
    again = Run(Toy(), [long], tmp_path, shorter={long.key: [middle]})
    assert len(again.epochs) == EPOCHS - 3, "epoch 4 is still to come"
    assert_same_bits(again.records, {k: r for k, r in reference.records.items() if k != short.key})
    Run(Toy(), [long], tmp_path, stop=3)
    again = Run(Toy(), [long], tmp_path, shorter={long.key: [short]})
    assert "a smaller budget" in again.notes[0]
    assert_same_bits(again.records, {k: r for k, r in reference.records.items() if k != middle.key})


def test_another_policy_of_keeping_scores_starts_again(tmp_path):
    chosen = cells(Toy(), 1)
    Run(Toy(), chosen, tmp_path, stop=3, keep=Keep(scores=best_so_far, all_scores=False))
    again = Run(Toy(), chosen, tmp_path)
    assert "another keep" in again.notes[0]
    assert_same_bits(again.records, Run(Toy(), chosen).records)


def test_an_optimiser_that_cannot_be_kept_trains_on_without_checkpoints(tmp_path):
    chosen = cells(Unkept(), 1)
    run = Run(Unkept(), chosen, tmp_path)
    assert run.records[chosen[0].key].outcome.state == "done"
    assert len(run.notes) == 1
    assert "'schedule', list" in run.notes[0]


def test_a_disk_that_refuses_a_checkpoint_stops_no_training(tmp_path):
    (tmp_path / "checkpoints").write_text("not a folder")
    run = Run(Toy(), cells(Toy(), 2), tmp_path)
    assert {r.outcome.state for r in run.records.values()} == {"done"}
    assert len(run.notes) == 1, "once for each reason, not for each epoch"
    assert "does not take it" in run.notes[0]


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    arrays = {"a": np.float64(3.5).reshape(()), "b": np.zeros((3, 0), np.float32), "c": np.arange(6).reshape(2, 3).T}
    about = {"big": 2**127 + 1, "text": "ξ", "loss": 0.1 + 0.2}
    shelf = Checkpoints(tmp_path, Here(tmp_path))
    assert shelf.save("k", Checkpoint(about, arrays)) == ""
    found = shelf.load("k")
    assert found.about == about
    for name, array in arrays.items():
        assert np.array_equal(found.arrays[name], array)
        assert found.arrays[name].shape == array.shape
    shelf.sweep(["k"])
    assert list(tmp_path.iterdir()) == []
