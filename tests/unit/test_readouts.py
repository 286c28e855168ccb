"""An experiment's own tables: made once a study has ended, again when it is unsealed, and never at the study's cost."""

from __future__ import annotations

import json
from pathlib import Path

import raresearch as rs
from raresearch.api.run import Progress

EXPERIMENT = """
from raresearch.experiment import ReadOut
from raresearch.testing.toy import Toy


class Reading(Toy):
    name = "reading"

    def read_out(self, findings):
        rows = []
        for split, samples in findings.scored.items():
            for sample in samples:
                kept = (sample.scores > 0.5) & (sample.label == 1)
                rows.append((split, float(kept.sum()), float(len(findings.events[split].event_id))))
        assert findings.events["test"].class_number is None
        BREAK
        return [ReadOut("Kept", ("split", "kept", "events"), tuple(rows), "a note")]
"""

STUDY = """
study: reading
experiment: ./reading.py
fixed: {data.events: 600, train.epochs: 2}
repeats: 2
objective: roc_auc
execution: {backend: local}
"""


def write(folder: Path, spoil: str = "pass") -> Path:
    (folder / "reading.py").write_text(EXPERIMENT.replace("BREAK", spoil))
    (folder / "reading.yaml").write_text(STUDY)
    return folder / "reading.yaml"


def test_read_outs_have_one_row_a_repeat_and_those_of_test_only_after_unsealing(tmp_path: Path) -> None:
    study = rs.run(write(tmp_path), out=tmp_path / "run")
    (table,) = json.loads((tmp_path / "run/readouts.json").read_text())
    assert [row[0] for row in table["rows"]] == ["validation"] * 2
    assert table["note"] == "a note"
    assert all(0 < kept < events for _, kept, events in table["rows"])
    page = study.report()
    assert "a note" in page.html.read_text()
    assert "| split | kept | events |" in (page.html.parent / "report.md").read_text()
    study.unseal(study.select(), "a look")
    (table,) = json.loads((tmp_path / "run/readouts.json").read_text())
    assert [row[0] for row in table["rows"]] == ["validation"] * 2 + ["test"] * 2


def test_a_read_out_that_fails_spoils_nothing_and_says_why(tmp_path: Path) -> None:
    notes: list[str] = []
    path = write(tmp_path, "raise KeyError('energy')")
    study = rs.run(path, out=tmp_path / "run", progress=Progress(note=notes.append))
    assert study.done() == 2
    assert not (tmp_path / "run/readouts.json").exists()
    (note,) = notes
    assert note.startswith("no read-outs: reading.read_out: KeyError")


def test_read_outs_see_the_weights_where_a_study_keeps_them(tmp_path: Path) -> None:
    spoil = "return [ReadOut('Weights', ('name',), tuple((n,) for n in findings.weights))]"
    for keep in ("none", "kept"):
        folder = tmp_path / keep
        folder.mkdir()
        path = write(folder, spoil)
        path.write_text(STUDY + f"keep: {{weights: {keep}}}\n")
        rs.run(path, out=folder / "run")
        (table,) = json.loads((folder / "run/readouts.json").read_text())
        assert bool(table["rows"]) == (keep == "kept")
