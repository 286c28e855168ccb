"""A report that is not made again, and every change after which it must be."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import raresearch as rs
from raresearch.ensembles.evaluation import ScoreReader, epoch_table, estimate, select
from raresearch.ensembles.rules import LastK
from raresearch.metrics.foms import RocAuc, Significance
from raresearch.report import estimates, inputs, results
from raresearch.report.estimates import KeptEstimates
from raresearch.report.inputs import figures_asked
from raresearch.report.kept import report_inputs, report_paths
from raresearch.report.results import gather
from raresearch.report.table import UnsealedTable
from raresearch.store.store import Store

sys.path.append(str(Path(__file__).parent))

from test_report_store import OBJECTIVE, OTHERS, RULE, synthetic_store

OWN = """
from dataclasses import dataclass
from raresearch.metrics.foms import RocAuc


@dataclass(frozen=True)
class Own(RocAuc):
    name = "own"
"""
STUDY = """
study: kept
experiment: toy
fixed: {data.events: 200, train.epochs: 2}
space: {train.learning_rate: {choice: [0.01, 0.001]}}
repeats: 2
objective: ./own.py:Own
execution: {backend: local}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    (folder / "own.py").write_text(OWN)
    (folder / "s.yaml").write_text(STUDY)
    rs.run(folder / "s.yaml", out=folder / "run")
    return folder


@pytest.fixture
def made(ran, monkeypatch):
    """The study's folder, and how often a report was made: a small one in place of the real one, which takes seconds."""
    from raresearch.report import build

    monkeypatch.setattr(inputs, "BEGUN", 1e12)  # a user edits between two commands, not within one
    inputs.code.cache_clear()
    times = []

    def small(store, **parts):
        times.append(1)
        paths = report_paths(store.root / "report", ["only"])
        paths.figures["only"][1].parent.mkdir(parents=True, exist_ok=True)
        paths.html.write_text("<h1>small</h1>")
        paths.figures["only"][1].write_text("<svg/>")
        return paths

    monkeypatch.setattr(build, "build_report", small)
    rs.open(ran / "run").report(anew=True)
    times.clear()
    return ran, times


def again(folder):
    rs.open(folder / "run").report()


def test_a_report_of_an_unchanged_study_is_not_made_again_and_names_the_same_files(made):
    folder, times = made
    first, second = rs.open(folder / "run").report(anew=True), rs.open(folder / "run").report()
    assert times == [1]
    assert first == second


def test_a_real_report_stands_until_a_cell_lands(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "BEGUN", 1e12)
    inputs.code.cache_clear()
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "s.yaml").write_text(STUDY)
    rs.run(tmp_path / "s.yaml", out=tmp_path / "run")
    first = rs.open(tmp_path / "run").report()
    written = first.html.stat().st_mtime_ns
    assert rs.open(tmp_path / "run").report() == first
    assert first.html.stat().st_mtime_ns == written
    one_more_cell(tmp_path)
    study = rs.open(tmp_path / "run")
    assert study.done() > 4
    assert f"{study.done()} done, 0 failed" in study.report().html.read_text()


def one_more_cell(folder):
    (folder / "s3.yaml").write_text(STUDY.replace("repeats: 2", "repeats: 3"))
    rs.run(folder / "s3.yaml", out=folder / "run3")
    landed = next(p for p in (folder / "run3" / "cells").iterdir() if not (folder / "run" / "cells" / p.name).exists())
    os.rename(landed, folder / "run" / "cells" / landed.name)


def an_edited_file(folder):
    (folder / "own.py").write_text(OWN + "\n    def _values(self, *a):\n        return 0.5 * super()._values(*a)\n")


def an_edited_neighbour(folder):
    (folder / "helper.py").write_text("CUT = 2\n")


def another_rule(folder):
    path = folder / "run" / "study.json"
    content = json.loads(path.read_text())
    content["spec"]["selection"] = {"last_k": {"k": 2}}
    path.write_text(json.dumps(content))


def an_unsealing(folder):
    opened = rs.open(folder / "run")
    opened.unseal(opened.select(), "frozen")


def a_damaged_page(folder):
    path = folder / "run" / "report" / "index.html"
    path.write_bytes(path.read_bytes().replace(b"<h1", b"<h2", 1))


def a_lost_figure(folder):
    next((folder / "run" / "report" / "figures").glob("*.svg")).unlink()


def a_damaged_memory(folder):
    (folder / "run" / "index" / "report.json").write_text("{")


def a_verdict_of_the_race(folder):
    store = Store.open(folder / "run")
    store.put_verdict(store.cells()["config"].to_pylist()[0], {"rounds": 2})


def a_read_out(folder):
    table = {"title": "Own table", "columns": ["a"], "rows": [["1"]], "note": ""}
    (folder / "run" / "readouts.json").write_text(json.dumps([table]))


def restored_scores(folder):
    path = next((folder / "run" / "cells").rglob("scores-*.arrow"))
    path.write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    "change",
    [one_more_cell, an_edited_file, an_edited_neighbour, another_rule, an_unsealing, a_damaged_page, a_lost_figure, a_damaged_memory,
     a_verdict_of_the_race, a_read_out, restored_scores],
)  # fmt: skip
def test_a_report_is_made_again_after(change, made):
    folder, times = made
    change(folder)
    again(folder)
    assert times == [1]


def test_code_that_changes_while_a_process_runs_is_never_kept(made, monkeypatch):
    folder, times = made
    monkeypatch.setattr(inputs, "BEGUN", 0.0)
    again(folder)
    again(folder)
    assert times == [1, 1]


def test_another_option_other_code_or_another_library_is_another_question(monkeypatch):
    asked = figures_asked(Significance(), [RocAuc()])
    assert figures_asked(Significance(), [RocAuc()]) == asked
    assert figures_asked(Significance(n_signal=5), [RocAuc()]) != asked
    assert figures_asked(Significance(), []) != asked
    monkeypatch.setattr(inputs, "code", lambda: "another")
    assert figures_asked(Significance(), [RocAuc()]) != asked


class Notebook(RocAuc):
    pass


def test_a_figure_whose_code_stands_in_no_file_is_never_found_again(monkeypatch):
    Notebook.__module__ = "made_up_notebook"
    assert figures_asked(Notebook(), []) != figures_asked(Notebook(), [])


def parts_of_a_report(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A", "4B"), repeats=1, n=300)
    return store, {"objective": OBJECTIVE, "others": OTHERS, "rule": RULE, "labels": labels, "unsealed": None}


@pytest.mark.parametrize(
    "changed",
    [
        lambda parts: {"objective": Significance(n_signal=5)},
        lambda parts: {"others": OTHERS[:1]},
        lambda parts: {"rule": LastK(k=3)},
        lambda parts: {"labels": dict(reversed(parts["labels"].items()))},
        lambda parts: {"unsealed": UnsealedTable((), "2026-01-01", "frozen", "hash")},
    ],
    ids=["objective", "others", "rule", "order of the labels", "unsealed"],
)
def test_every_part_that_a_report_is_given_is_an_input(changed, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "BEGUN", 1e12)
    store, parts = parts_of_a_report(tmp_path)
    asked = report_inputs(store, **parts)
    assert report_inputs(store, **parts) == asked
    assert report_inputs(store, **parts | changed(parts)) != asked


def test_events_that_were_written_again_are_another_input(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "BEGUN", 1e12)
    store, parts = parts_of_a_report(tmp_path)
    asked = report_inputs(store, **parts)
    path = next((store.root / "events").iterdir())
    os.utime(path, ns=(0, 0))
    assert report_inputs(store, **parts) != asked


def test_an_estimate_is_kept_for_one_landing_one_list_of_members_their_weights_and_how_they_combine(tmp_path):
    store, _ = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=300)
    kept, (landing, *_) = KeptEstimates(store, "asked"), [path.name for path in store.landings()]
    made = next(iter(select(epoch_table(store), RULE)))
    (member, *_) = made.members
    others = [
        replace(made, members=(replace(member, epoch=member.epoch + 1),)),
        replace(made, members=(replace(member, weight=0.5),)),
        replace(made, members=(member, member)),
        replace(made, combine="ranks"),
    ]
    names = [kept.key(landing, made), *(kept.key(landing, each) for each in others), kept.key("another", made)]
    assert len(set(names)) == 6
    assert kept.key(landing, made) == names[0]


class Unnamed:
    """Not a dataclass: its `repr` is an address."""


def test_a_part_whose_repr_is_an_address_is_never_found_again():
    part = Unnamed()
    assert inputs.named(part) != inputs.named(part)


@pytest.mark.parametrize("wrapped", [lambda name: name, lambda name: {name: {}}], ids=["name", "options"])
def test_the_code_of_a_figure_that_a_rule_chooses_by_is_an_input(wrapped, tmp_path, monkeypatch):
    from raresearch.ensembles.greedy import Greedy

    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    rule = Greedy(fom=wrapped("./own.py:Own"))
    assert inputs.own_code([rule]) == [(tmp_path / "own.py").resolve()]
    assert inputs.own_code([Greedy()]) == []


def test_two_who_ask_at_once_get_one_report(made, monkeypatch):
    from raresearch.report import build

    folder, times = made
    a_lost_figure(folder)
    small, inside = build.build_report, threading.Barrier(2)

    def meeting(store, **parts):
        with suppress(threading.BrokenBarrierError):
            inside.wait(0.3)  # passed by two together where both may write
        return small(store, **parts)

    monkeypatch.setattr(build, "build_report", meeting)
    with ThreadPoolExecutor(2) as both:
        found = [each.result() for each in [both.submit(rs.open(folder / "run").report) for _ in range(2)]]
    assert times == [1]
    assert found[0] == found[1]


@pytest.fixture
def evaluations(monkeypatch):
    monkeypatch.setattr(estimates, "LEAST", 1)
    monkeypatch.setattr(inputs, "BEGUN", 1e12)
    inputs.code.cache_clear()
    done, evaluate = [], results.evaluate

    def counted(reader, ensembles, objective, others):
        done.extend(ensemble.members[0].cell for ensemble in ensembles)
        return evaluate(reader, ensembles, objective, others)

    monkeypatch.setattr(results, "evaluate", counted)
    return done


def look(store, labels, **parts):
    return gather(Store.open(store.root), **{"objective": OBJECTIVE, "others": OTHERS, "rule": RULE, "labels": labels} | parts)


def test_kept_estimates_are_those_that_were_computed_to_the_last_bit(tmp_path, evaluations):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=3, n=300)
    first, second = look(store, labels), look(store, labels)
    assert len(evaluations) == 3
    assert [c.estimates for c in first.cells] == [c.estimates for c in second.cells]
    assert first.notes == second.notes


def test_cells_evaluated_in_blocks_have_the_bits_of_one_evaluated_alone(tmp_path, monkeypatch):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=5, n=300)
    together = look(store, labels, rule=LastK(k=1)).cells
    monkeypatch.setattr(estimates, "BLOCK", 1)
    (store.root / "index" / estimates.FILE).unlink(missing_ok=True)
    apart = look(store, labels, rule=LastK(k=1)).cells
    assert [c.estimates for c in together] == [c.estimates for c in apart]
    reader = ScoreReader(store)
    assert [c.estimates[OBJECTIVE.name] for c in together] == [estimate(reader, c.ensemble, OBJECTIVE) for c in together]


def test_of_one_more_cell_only_that_one_is_evaluated(tmp_path, evaluations):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=3, n=300)
    look(store, labels)
    evaluations.clear()
    synthetic_store(tmp_path, labels=("4A",), repeats=4, n=300)
    found = look(store, labels)
    assert evaluations == [c.key for c in found.cells if c.seed == 3]


def test_another_choice_of_members_is_evaluated_anew(tmp_path, evaluations):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=2, n=300)
    look(store, labels)
    look(store, labels, rule=LastK(k=3))
    assert len(evaluations) == 4


@pytest.mark.parametrize("place", ["cells", "events"])
def test_estimates_of_files_that_were_written_again_are_not_believed(place, tmp_path, evaluations):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=2, n=300)
    look(store, labels)
    path = next(p for p in (store.root / place).rglob("*") if p.is_file() and ("scores" in p.name or place == "events"))
    path.write_bytes(path.read_bytes())
    look(store, labels)
    assert len(evaluations) == (3 if place == "cells" else 4)


@pytest.mark.parametrize("damage", [lambda t: t[:-9], lambda t: t.replace("0.9", "0.8", 1), lambda t: ""])
def test_a_damaged_file_of_estimates_is_as_none(damage, tmp_path, evaluations):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=2, n=300)
    first = look(store, labels)
    path = store.root / "index" / estimates.FILE
    assert damage(path.read_text()) != path.read_text()
    path.write_text(damage(path.read_text()))
    assert [c.estimates for c in look(store, labels).cells] == [c.estimates for c in first.cells]
    assert len(evaluations) == 4


def test_a_few_new_estimates_are_not_worth_writing_all(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=2, n=300)
    look(store, labels)
    assert not (store.root / "index" / estimates.FILE).exists()


def test_an_estimate_without_a_number_survives_being_kept(tmp_path, monkeypatch):
    from raresearch.report.estimates import Evaluated
    from raresearch.types import Estimate

    monkeypatch.setattr(estimates, "LEAST", 1)
    store, _ = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=300)
    kept = KeptEstimates(store, "asked")
    kept.put("k", Evaluated({"x": Estimate(1.0, -np.inf, np.inf, 0.0, lower_limit=True)}, ("a note",)))
    kept.write()
    found = KeptEstimates(store, "asked").get("k")
    assert found == Evaluated({"x": Estimate(1.0, -np.inf, np.inf, 0.0, lower_limit=True)}, ("a note",))
    assert KeptEstimates(store, "other").get("k") is None
