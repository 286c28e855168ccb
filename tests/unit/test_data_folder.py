"""A folder with one event a file: pictures or arrays, classes from names or from a CSV."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from raresearch.data.dataset import Dataset
from raresearch.data.ingest import ingest
from raresearch.data.sealed import read_sealed
from raresearch.errors import DataError

NAMES = {
    "classes": ["er", "wimp"],
    "signal": ["wimp"],
    "background": ["er"],
    "class": {"file": {"er": "er_*", "wimp": "wimp_*"}},
    "tensors": {"hit": {"column": "image", "dtype": "uint8"}},
    "one_event_a_file": True,
}


def pictures(folder, n=40, size=(6, 5), coloured=True):
    """``n`` pictures whose first pixel tells their number; every fourth is a wimp."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(n):
        pixels = rng.integers(0, 256, (*size, 3) if coloured else size, dtype=np.uint8)
        pixels.flat[0] = i
        Image.fromarray(pixels).save(folder / f"{'wimp' if i % 4 == 0 else 'er'}_{i:03d}.png")
    return folder


def everything(dataset: Dataset):
    """(first pixel, class) of every event, opened labels of test among them."""
    found = []
    for split in ("train", "validation"):
        events = dataset.events(split)
        found += list(zip(events.tensors["hit"].reshape(len(events.event_id), -1)[:, 0], events.class_number, strict=True))
    sealed, test = read_sealed(dataset.path), dataset.events("test")
    order = np.argsort(sealed.event_id)
    found += list(zip(test.tensors["hit"].reshape(len(test.event_id), -1)[:, 0], sealed.class_number[order], strict=True))
    return sorted((int(pixel), int(number)) for pixel, number in found)


def test_pictures_become_channels_first_and_their_names_say_the_class(tmp_path):
    dataset = ingest([pictures(tmp_path / "events")], NAMES, tmp_path / "data")
    assert dataset.schema.tensors[0].shape == (3, 6, 5)
    assert everything(dataset) == [(i, int(i % 4 == 0)) for i in range(40)]


def test_a_grey_picture_has_one_channel(tmp_path):
    dataset = ingest([pictures(tmp_path / "events", coloured=False)], NAMES, tmp_path / "data")
    assert dataset.schema.tensors[0].shape == (1, 6, 5)


def test_a_csv_in_the_folder_says_the_class_and_observers(tmp_path):
    folder = pictures(tmp_path / "events")
    rows = [f"{p.name},{'W' if p.name.startswith('wimp') else 'E'},{i / 2}" for i, p in enumerate(sorted(folder.iterdir()))]
    (folder / "labels.csv").write_text("\n".join(["file,species,energy", *reversed(rows)]))
    mapping = {
        **NAMES,
        "labels": "labels.csv",
        "class": {"column": "species", "values": {"er": "E", "wimp": "W"}},
        "observers": ["energy"],
    }
    dataset = ingest([folder], mapping, tmp_path / "data")
    assert everything(dataset) == [(i, int(i % 4 == 0)) for i in range(40)]
    train = dataset.events("train")
    np.testing.assert_array_equal(train.observers["energy"], train.event_id / 2)  # ids number the files by name


def test_npz_files_give_their_arrays(tmp_path):
    folder = tmp_path / "events"
    folder.mkdir()
    for i in range(20):
        np.savez(folder / f"{'wimp' if i % 2 else 'er'}_{i:02d}.npz", hit=np.full((4, 4), i / 8), peak=np.zeros(3))
    mapping = {**NAMES, "tensors": {"hit": {"column": "hit"}}}
    dataset = ingest([folder], mapping, tmp_path / "data")
    assert dataset.schema.tensors[0].shape == (4, 4)
    assert sorted(dataset.events("train").tensors["hit"][:, 0, 0] * 8 % 1) == [0.0] * 16


def test_another_csv_is_another_dataset(tmp_path):
    folder = pictures(tmp_path / "events")
    first = ingest([folder], NAMES, tmp_path / "data").fingerprint
    (folder / "notes.csv").write_text("file\n")
    assert ingest([folder], NAMES, tmp_path / "data").fingerprint != first


@pytest.mark.parametrize(
    ("spoil", "change", "message"),
    [
        (lambda f: (f / "er_001.png").write_bytes(b"\x89PNG"), {}, "er_001.png: cannot be read, truncated or damaged"),
        (
            lambda f: Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(f / "er_002.png"),
            {},
            r"er_002.png: 'image': has shape \(3, 2, 2\), er_001.png has \(3, 6, 5\); all events must have one shape",
        ),
        (lambda f: (f / "er_001.png").rename(f / "x_001.png"), {}, "mapping.class.file: x_001.png matches 0 classes"),
        (lambda f: np.savez(f / "a.npz", hit=0), {}, "holds both PNG and NPZ files"),
        (lambda f: [p.unlink() for p in f.iterdir()], {}, "holds no PNG or NPZ file"),
        (lambda f: None, {"labels": "none.csv"}, "none.csv: cannot be read"),
        (lambda f: (f / "l.csv").write_text("name\n"), {"labels": "l.csv"}, "l.csv: column 'file': is missing"),
        (
            lambda f: (f / "l.csv").write_text("file\ner_001.png\n"),
            {"labels": "l.csv"},
            "says nothing of 39 files, such as er_002.png",
        ),
        (lambda f: None, {"one_event_a_file": False, "labels": "l.csv"}, "goes with `one_event_a_file: true` only"),
    ],
)
def test_a_bad_folder_is_one_line(tmp_path, spoil, change, message):
    folder = pictures(tmp_path / "events")
    spoil(folder)
    with pytest.raises(DataError, match=message):
        ingest([folder], {**NAMES, **change}, tmp_path / "data")
    assert not (tmp_path / "data").exists() or list((tmp_path / "data").iterdir()) == []


def test_a_file_where_a_folder_is_asked_for_is_refused(tmp_path):
    folder = pictures(tmp_path / "events")
    with pytest.raises(DataError, match="is not a folder"):
        ingest([folder / "er_001.png"], NAMES, tmp_path / "data")
