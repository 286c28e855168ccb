"""Unsealing: what a look at the test labels writes down, and that neither a second look nor a changed ledger goes unseen."""

import shutil
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raresearch as rs
from raresearch.errors import SealError
from raresearch.store.ledger import append_ledger, read_ledger


def command(*arguments):
    line = [sys.executable, "-m", "raresearch.cli", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


TOY = """
study: looks
experiment: toy
seed: 4
fixed: {data.events: 800, train.epochs: 3, data.block: 200}
space:
  model.hidden: {choice: {A: [4], B: [8]}}
repeats: 2
objective: significance
execution: {backend: local}
"""


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy.yaml").write_text(TOY)
    return rs.run(tmp_path / "toy.yaml", out=tmp_path / "run")


def test_a_second_look_with_another_rule_is_allowed_and_shown_as_the_second(toy):
    toy.unseal(toy.select(), "frozen for the note")
    second = command("unseal", toy.folder, "--reason", "what if", "--rule", "last_k", "--k", 2)
    assert second.returncode == 0, second.stderr
    ledger = toy.ledger()
    assert [(e["number"], e["reason"], e["rule"]["rule"]) for e in ledger] == [
        (1, "frozen for the note", "BestEpoch"),
        (2, "what if", "LastK"),
    ]
    assert ledger[0]["choice"] != ledger[1]["choice"]
    assert "opened 2 time(s)" in command("status", toy.folder).stdout
    report = toy.report()
    assert "2 looks at the test labels" in report.html.read_text()
    for text in (report.html.read_text(), report.markdown.read_text()):
        assert text.index("frozen for the note") < text.index("what if")
    assert "Trained after unsealing" not in report.html.read_text()
    # What the table heads "test" stays the first look's: the second choice was made by somebody who could have seen it.
    assert toy.table().unsealed.reason == "frozen for the note"


def test_opening_writes_no_label_of_an_event_anywhere(toy):
    toy.unseal(toy.select(), "frozen")
    toy.report()
    (path,) = (toy.folder / "datasets").iterdir()
    table = pa.concat_tables([pq.read_table(p) for p in sorted((path / "sealed").iterdir())])
    ids = set(table["event_id"].to_pylist())
    for file in toy.folder.rglob("*.parquet"):
        there = pq.read_table(file, partitioning=None)
        if file.parent.name != "sealed" and "event_id" in there.column_names and ids & set(there["event_id"].to_pylist()):
            assert not {"class", "label", "weight"} & set(there.column_names), file


def test_training_that_goes_on_after_unsealing_is_stamped_in_report_and_frozen_card(toy, tmp_path):
    from raresearch.deploy.card import seal_card

    # A study that had not got to the end when somebody looked: what one worker landed is not there yet.
    shutil.rmtree(toy.store.landings()[0])
    partial = rs.open(toy.folder)
    late = 4 - partial.done()
    assert 0 < late < 4
    partial.unseal(partial.select(), "impatience")
    assert "Trained after unsealing" not in partial.report().html.read_text()
    assert seal_card(partial.select())["state"] == "opened"
    done = command("run", tmp_path / "toy.yaml", "--out", toy.folder)
    assert done.returncode == 0, done.stderr
    html, text = ((toy.folder / "report" / name).read_text() for name in ("index.html", "report.md"))
    assert "Trained after unsealing." in html
    assert f"{late} cells were trained after the test labels had been opened" in text
    assert seal_card(rs.open(toy.folder).select())["state"] == "post-unblinding"


def test_a_refused_unsealing_leaves_no_line_and_a_recorded_one_is_on_disk_before_any_label_is_read(toy, monkeypatch):
    from raresearch.api import choice as module

    with pytest.raises(SealError, match="a reason is needed"):
        toy.select().unseal("  ")
    assert toy.ledger() == []
    lines = []

    def interrupted(path):
        lines.extend(read_ledger(toy.folder))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "read_sealed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        toy.select().unseal("power cut to come")
    assert [e["reason"] for e in lines] == ["power cut to come"], "the look counts although it was cut short"


APPEND = """
import sys, time
from pathlib import Path
from raresearch.store.ledger import append_ledger
root, name = Path(sys.argv[1]), sys.argv[2]
(root / name).touch()
while not (root / "go").exists():
    time.sleep(0.001)
for n in range(25):
    append_ledger(root, {"reason": f"{name}-{n}"})
"""


def test_processes_that_unseal_at_once_keep_one_unbroken_chain(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, str(tmp_path), name]) for name in "abcd"]
    deadline = time.monotonic() + 120
    while not all((tmp_path / name).exists() for name in "abcd") and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [w.wait(timeout=120) for w in writers] == [0, 0, 0, 0]
    entries = read_ledger(tmp_path)
    assert [e["number"] for e in entries] == list(range(1, 101))
    assert {e["reason"] for e in entries} == {f"{name}-{n}" for name in "abcd" for n in range(25)}


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0].replace("one", "own"), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [*lines, lines[2]],
        lambda lines: [*lines, "[]\n"],
        lambda lines: [*lines[:2], lines[2][:-9]],
    ],
)
def test_a_ledger_that_was_changed_is_refused_for_reading_and_for_appending(tmp_path, change):
    from raresearch.errors import StoreError

    for reason in ("one", "two", "three"):
        append_ledger(tmp_path, {"reason": reason})
    path = tmp_path / "ledger.jsonl"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    changed = path.read_bytes()
    for attempt in (lambda: read_ledger(tmp_path), lambda: append_ledger(tmp_path, {"reason": "four"})):
        with pytest.raises(StoreError, match="altered"):
            attempt()
    assert path.read_bytes() == changed, "nothing is appended to a broken chain"
