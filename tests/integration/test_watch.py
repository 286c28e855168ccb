"""`raresearch watch`: what is shown is what the store says, and why nothing moves."""

import doctest
import json
import os
import shutil
import time

import numpy as np
import pytest
from click.testing import CliRunner

import raresearch as rs
from raresearch.api import watching
from raresearch.api.watching import Watcher, idle, mean_curve, pace
from raresearch.cli import watch
from raresearch.cli.watch import watch_command
from raresearch.errors import StoreError

STUDY = """
study: watched
experiment: toy
seed: 4
fixed: {data.events: 400, train.epochs: 4, train.batch_size: 32, train.pack: 2}
space: {model.hidden: {choice: {small: [2], large: [16, 8]}}}
repeats: 4
objective: roc_auc
execution: {backend: local}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    (folder / "watched.yaml").write_text(STUDY)
    return rs.run(folder / "watched.yaml", out=folder / "run")


@pytest.fixture
def halted(ran, tmp_path):
    """The same study as a killed driver leaves it: one landing short, the others a minute apart."""
    shutil.copytree(ran.folder, tmp_path / "run")
    landings = sorted((tmp_path / "run" / "cells").iterdir())
    shutil.rmtree(landings.pop())
    now = time.time()
    for minutes, landing in enumerate(reversed(landings), start=1):
        os.utime(landing, (now - 60 * minutes, now - 60 * minutes))
    return tmp_path / "run"


def test_the_best_configs_come_with_their_mean_interval_and_learning_curve(ran):
    view = Watcher(ran.folder).look()
    assert (view.total, view.states["done"], view.states["failed"], view.ended, view.idle) == (8, 8, 0, True, "")
    choice = ran.select()
    by_label = {label: [v.estimate.value for v in choice.estimates("roc_auc", c)] for c, label in ran.labels.items()}
    assert [leader.label for leader in view.leaders] == sorted(by_label, key=lambda name: -np.mean(by_label[name]))
    for leader in view.leaders:
        assert leader.value == pytest.approx(np.mean(by_label[leader.label]))
        assert leader.low < leader.value < leader.high
        assert leader.done == 4
    epochs = ran.epochs().to_pylist()
    best = next(c for c, label in ran.labels.items() if label == view.leaders[0].label)
    curve = [np.mean([e["val_loss"] for e in epochs if e["config"] == best and e["epoch"] == n]) for n in (1, 2, 3, 4)]
    assert view.leaders[0].curve == pytest.approx(curve)


def test_a_study_without_a_driver_says_how_to_go_on(halted):
    view = Watcher(halted).look()
    assert not view.ended
    assert "same `raresearch run` line" in view.idle
    missing = 8 - view.states["done"]
    assert missing == 2
    # Three landings of two cells a minute apart, the last a minute ago: four cells in three minutes.
    assert view.pace.cells_per_hour == pytest.approx(80, rel=0.02)
    assert view.pace.left == pytest.approx(90, rel=0.02)
    assert view.pace.error == pytest.approx(90 / 2**0.5, rel=0.02)


def test_what_lands_while_one_watches_is_seen_and_evaluated_once(halted, ran, monkeypatch):
    watcher = Watcher(halted)
    before = watcher.look()
    asked = []
    real = watching.select
    monkeypatch.setattr(watching, "select", lambda table, *rest: asked.append(len(table.columns["cell"])) or real(table, *rest))
    missing = {p.name for p in (ran.folder / "cells").iterdir()} - {p.name for p in (halted / "cells").iterdir()}
    for name in missing:
        shutil.copytree(ran.folder / "cells" / name, halted / "cells" / name)
    after = watcher.look()
    assert after.states["done"] == before.states["done"] + 2 == 8
    assert asked == [2 * 4], "two new cells of four epochs, and none of the old ones"
    watcher.look()
    assert len(asked) == 1
    assert [leader.value for leader in after.leaders] == [leader.value for leader in Watcher(ran.folder).look().leaders]


def test_scores_that_were_not_kept_leave_the_rest_to_be_seen(halted):
    for file in (halted / "cells").glob("*/scores-*.arrow"):
        file.unlink()
    view = Watcher(halted).look()
    assert view.leaders == ()
    assert view.states["done"] == 6


@pytest.mark.parametrize(
    ("facts", "running", "words"),
    [
        ({"driver": False}, 0, "no driver"),
        ({"driver": True}, 3, ""),
        ({"driver": True, "troubles": [{"reason": "the disk is full"}]}, 0, "try again: the disk is full"),
        ({"driver": True, "troubles": []}, 0, "no cell is in training"),
    ],
)
def test_why_nothing_moves_is_said_in_one_line(facts, running, words):
    said = idle(facts, {"running": running})
    assert words in said
    assert bool(words) == bool(said)


def test_a_pace_forgets_what_is_long_ago_and_slows_down_when_nothing_lands():
    assert pace({0.0: 5}, 3, 10.0) is None
    assert pace({0.0: 1000, 5000.0: 1, 5100.0: 1}, 10, 5100.0, window=200.0).cells_per_hour == pytest.approx(36)
    assert pace({0.0: 1, 100.0: 1}, 10, 1000.0).cells_per_hour == pytest.approx(3.6)
    assert pace({0.0: 1, 100.0: 1}, None, 100.0).left is None


def test_curves_are_averaged_over_those_that_got_so_far_and_thinned():
    assert mean_curve([]) == ()
    assert mean_curve([np.array([2.0, np.nan, 1.0])]) == (2.0, 1.0)
    thin = mean_curve([np.arange(100.0)], points=4)
    assert thin == (0.0, 33.0, 66.0, 99.0)


@pytest.mark.parametrize("module", [watching, watch])
def test_examples_in_docstrings_hold(module):
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0


def test_the_command_prints_once_where_the_output_is_no_terminal(halted):
    found = CliRunner().invoke(watch_command, [str(halted)])
    assert found.exit_code == 0
    assert "6 of 8 cells" in found.output
    assert "90 s ±" in found.output or "2 min ±" in found.output
    assert "▁" in found.output
    facts = json.loads(CliRunner().invoke(watch_command, [str(halted), "--json"]).output)
    assert facts["states"]["done"] == 6
    assert facts["leaders"][0]["curve"]


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no study here"):
        Watcher(tmp_path)
