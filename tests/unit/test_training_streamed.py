"""Where events lie and who reads ahead changes no bit of a training; a window changes the order, and with it the cell."""

import numpy as np
import pytest
import torch
from torch import nn

from raresearch.data.dataset import Events
from raresearch.data.ondisk import NpyFile, Rows
from raresearch.data.residence import Residence
from raresearch.data.transforms import Scaler
from raresearch.errors import DataError
from raresearch.experiment import Experiment, parameters
from raresearch.training.arrays import FoldData, Loaded, Sample, refuse_wide_window
from raresearch.training.batches import RUN, ahead, batches, epoch_order
from raresearch.training.columns import Packed, column
from raresearch.training.pack import Work, train_pack
from raresearch.training.policy import Keep
from raresearch.training.scaling import fit_by_parts, scale
from raresearch.training.scoring import Split, _lot
from raresearch.training.single import train_cell
from raresearch.types import Cell, config_id

CPU = torch.device("cpu")


class Pictures(Experiment):
    """A convolution and a linear layer on uint8 images and float16 charges, with random mirrors."""

    name = "pictures"

    def model(self, config):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten())
                self.last = nn.Linear(4 * 16 + 3, 1)

            def forward(self, image, charge):
                return self.last(torch.cat([self.body(image / 250), charge], 1))

        return Net()

    def augment(self, inputs, config):
        return {**inputs, "image": inputs["image"].flip(-1) if torch.rand(()) < 0.5 else inputs["image"]}


def arrays(n, seed):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n).astype(np.int8)
    label[::17] = -1 if seed == 2 else label[::17]
    image = rng.integers(0, 200, (n, 2, 6, 6)).astype(np.uint8) + 50 * (label == 1).astype(np.uint8)[:, None, None, None]
    return {"image": image, "charge": rng.normal(2, 3, (n, 3)).astype(np.float16)}, label, rng.uniform(0.5, 1.5, n)


def fold(folder, kind):
    """The same fold, in memory (read-only, as Ray's) or on disk."""

    def stored(name, seed, array):
        if kind == "resident":
            array.flags.writeable = False
            return array
        np.save(folder / f"{seed}-{name}.npy", array)
        return Rows((NpyFile.open(folder / f"{seed}-{name}.npy"),), streamed=kind == "streamed")

    samples = []
    for n, seed in ((500, 1), (130, 2), (90, 3)):
        inputs, label, weight = arrays(n, seed)
        inputs = {name: stored(name, seed, a) for name, a in inputs.items()}
        samples.append(Sample(inputs) if seed == 3 else Sample(inputs, label, weight))
    return FoldData(*samples, "v", "t")


def cell(epochs=3, **values):
    config = {**parameters(Pictures()), "train.epochs": epochs, "train.batch_size": 48, **values}
    return Cell(config, 0, 0, epochs, {"data": "d", "experiment": "pictures"})


def trained(folder, kind, **values):
    record = train_cell(
        cell(**values), Pictures(), fold(folder, kind), 5, Keep(scores=None, all_scores=True), lambda c, e: None
    )
    return [*record.epochs.values(), *(logits for _, logits in record.scores.values())]


@pytest.mark.parametrize("kind", ["mapped", "streamed"])
@pytest.mark.parametrize("window", [0, 144])
@pytest.mark.parametrize("scaling", ["none", "minmax"])
def test_a_training_is_the_same_to_the_bit_wherever_its_events_lie(tmp_path, kind, window, scaling):
    values = {"train.window": window, "train.scaling": scaling}
    for found, wanted in zip(trained(tmp_path, kind, **values), trained(tmp_path, "resident", **values), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_narrow_events_train_as_events_that_were_converted_before(tmp_path):
    stored = fold(tmp_path, "resident")

    def wide(sample):
        return Sample({n: np.asarray(a, dtype=np.float32) for n, a in sample.inputs.items()}, sample.label, sample.weight)

    before = FoldData(*(wide(s) for s in (stored.train, stored.validation, stored.test)), "v", "t")
    keep = Keep(scores=None, all_scores=True)
    for precision in ("float32", "float64"):
        found, wanted = (
            train_cell(cell(**{"train.precision": precision}), Pictures(), data, 5, keep, lambda c, e: None)
            for data in (stored, before)
        )
        for name in wanted.epochs:
            np.testing.assert_array_equal(found.epochs[name], wanted.epochs[name])
        for name, (_, logits) in wanted.scores.items():
            np.testing.assert_array_equal(found.scores[name][1], logits)


@pytest.mark.parametrize("kind", ["mapped", "streamed"])
@pytest.mark.parametrize("window", [0, 144])
def test_so_is_one_in_pieces(tmp_path, kind, window):
    found = {}
    chosen = cell(**{"train.window": window, "train.micro_batches": 4, "train.scaling": "minmax"})
    for place in ("resident", kind):
        landed = []
        work = Work(Pictures(), 5, Keep(), lambda c, k=place: fold(tmp_path, k), landed.extend, lambda c, e: None, 1 << 30)
        train_pack([chosen], work)
        assert [r.outcome.error for r in landed] == [""]
        found[place] = landed[0]
    for name, values in found["resident"].epochs.items():
        np.testing.assert_array_equal(found[kind].epochs[name], values)
    for name, (_, logits) in found["resident"].scores.items():
        np.testing.assert_array_equal(found[kind].scores[name][1], logits)


@pytest.mark.parametrize("kind", ["resident", "streamed"])
@pytest.mark.parametrize("window", [0, 144])
def test_a_worker_reads_its_share_of_every_batch_and_nothing_else(tmp_path, kind, window, monkeypatch):
    sample = fold(tmp_path, kind).train
    columns = {n: column(a, None, torch.float32, CPU) for n, a in sample.inputs.items()}
    order = epoch_order(np.random.default_rng(1), 500, window, 48)
    read = []
    gather = Rows.pieces
    monkeypatch.setattr(Rows, "pieces", lambda self, parts: read.extend(parts) or gather(self, parts))
    seen = list(batches(columns, order, 48, window, CPU, share=lambda events: slice(events // 2, events)))
    assert [len(rows) for rows, _ in seen] == [48] * 10 + [20]
    for start, (rows, inputs) in zip(range(0, 500, 48), seen, strict=True):
        assert rows.tolist() == order[start : start + 48].tolist()
        mine = rows[len(rows) // 2 :]
        assert all(torch.equal(inputs[n], c[mine]) for n, c in columns.items())
    files = 2 if kind == "streamed" else 0  # image and charge
    assert sum(map(len, read)) == files * (10 * 24 + 10)


def test_a_pack_trains_from_disk_as_it_does_from_memory(tmp_path):
    found = {}
    for kind in ("resident", "streamed"):
        landed = []
        work = Work(Pictures(), 5, Keep(), lambda c, k=kind: fold(tmp_path, k), landed.extend, lambda c, e: None, 1 << 30)
        train_pack([cell(), cell(**{"train.learning_rate": 0.01})], work)
        assert [r.outcome.error for r in landed] == ["", ""]
        found[kind] = {r.cell.key: r.epochs["val_loss"] for r in landed}
    for key, losses in found["resident"].items():
        np.testing.assert_array_equal(found["streamed"][key], losses)


def test_an_epochs_order_holds_every_event_once_and_follows_the_seed():
    for events, window, size in ((1000, 0, 7), (1000, 200, 32), (1000, 5000, 32), (63, 10, 4), (64 * 7, 64, 64)):
        order = epoch_order(np.random.default_rng(1), events, window, size)
        np.testing.assert_array_equal(np.sort(order), np.arange(events))
        np.testing.assert_array_equal(order, epoch_order(np.random.default_rng(1), events, window, size))
        assert not np.array_equal(order, epoch_order(np.random.default_rng(2), events, window, size))


def test_without_a_window_the_order_is_the_generators_permutation():
    # What studies were trained with before there were windows.
    np.testing.assert_array_equal(epoch_order(np.random.default_rng(1), 500), np.random.default_rng(1).permutation(500))


def test_a_window_is_read_in_runs_and_mixes_the_whole_split():
    order = epoch_order(np.random.default_rng(1), 64 * 100, 640, 32)
    first = np.sort(order[:640])
    assert len(np.flatnonzero(np.diff(first) != 1)) < 640 // RUN, "read in runs"
    assert first[-1] - first[0] > 64 * 50, "from everywhere"
    assert (np.abs(np.diff(order[:640])) == 1).sum() < 30, "shuffled inside"


@pytest.mark.parametrize("window", [0, 144])
def test_the_number_of_readers_changes_no_batch(tmp_path, window):
    columns = {n: column(a, None, torch.float32, CPU) for n, a in fold(tmp_path, "streamed").train.inputs.items()}
    order = epoch_order(np.random.default_rng(3), 500, window, 48)
    plain = arrays(500, 1)[0]
    for readers in (1, 2, 5):
        found = list(batches(columns, order, 48, window, CPU, readers))
        assert [len(rows) for rows, _ in found] == [48] * 10 + [20]
        np.testing.assert_array_equal(torch.cat([rows for rows, _ in found]).numpy(), order)
        for name, array in plain.items():
            np.testing.assert_array_equal(torch.cat([x[name] for _, x in found]).numpy(), array[order].astype(np.float32))


def test_what_is_read_ahead_is_bounded_and_an_error_comes_through():
    begun = []

    def work(n):
        begun.append(n)
        return 1 // (n - 8)

    found = ahead(work, range(20), 2)
    next(found)
    assert len(begun) <= 4
    with pytest.raises(ZeroDivisionError):
        list(found)


def test_a_narrow_split_takes_its_stored_bytes():
    image = arrays(400, 1)[0]["image"]
    packed = column(image, None, torch.float32, CPU)
    assert isinstance(packed, Packed)
    assert packed.values is image, "not even a copy"
    assert column(image.astype(np.float32), None, torch.float32, CPU).nbytes == 4 * image.nbytes


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "float16"])
def test_rows_of_every_narrow_type_become_the_precision(dtype):
    values = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (30, 4)).astype(dtype)
    for precision in (torch.float32, torch.float64):
        packed, rows = column(values, None, precision, CPU), torch.tensor([[3, 1], [7, 7]])
        assert packed[rows].dtype == precision
        np.testing.assert_array_equal(packed[rows].numpy(), values[rows.numpy()].astype(np.float32))


@pytest.mark.parametrize("kind", ["minmax", "standard"])
def test_scaling_that_is_fitted_by_parts_is_the_scaling_of_all(tmp_path, kind):
    x = np.random.default_rng(0).normal(3, 2, (100, 4, 5)).astype(np.float16)
    x[:, 2] = 1.5  # constant
    np.save(tmp_path / "x.npy", x)
    whole, parts = Scaler.fit(kind, x), fit_by_parts(kind, Rows((NpyFile.open(tmp_path / "x.npy"),)), 7)
    np.testing.assert_allclose(parts.shift, whole.shift, rtol=1e-12)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-12)
    np.testing.assert_allclose(scale(x, parts), scale(x, whole), rtol=1e-6, atol=1e-6)


def test_windows_that_exceed_what_events_may_take_are_refused(tmp_path):
    data = fold(tmp_path, "streamed")
    row = 2 * 6 * 6 + 3 * 2
    events = Events(np.arange(500), data.train.inputs, {}, label=data.train.label)
    loaded = Loaded("d", events, events, events, "streamed")
    refuse_wide_window({"train.window": 100}, loaded, Residence("streamed", 4 * 100 * row))
    with pytest.raises(DataError, match=r"train\.window: 101: 4 windows take .*give 100 or fewer"):
        refuse_wide_window({"train.window": 101}, loaded, Residence("streamed", 4 * 100 * row))


@pytest.mark.parametrize(("shape", "lot"), [((2,), 8192), ((2, 64, 64), 8192), ((3, 75, 75), 8192), ((3, 256, 256), 1024)])
def test_large_events_are_scored_fewer_at_a_time(shape, lot):
    column = torch.empty((10_000, *shape), device="meta")
    assert _lot(Split({"x": column}, torch.zeros(0), torch.zeros(0), sealed=True)) == lot


def test_a_window_makes_another_cell_and_none_keeps_the_key_of_before():
    plain, windowed = cell(), cell(**{"train.window": 144})
    before = {n: v for n, v in plain.config.items() if n != "train.window"}
    assert Cell(before, 0, 0, 3, plain.identity).key == plain.key
    assert config_id(before) == config_id(plain.config)
    assert windowed.key != plain.key
