"""A study's file: what it means, what lies over it, what it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from raresearch.errors import SpecError
from raresearch.space import Choice, Float, Int, Space
from raresearch.spec import Component, ExecutionSpec, Retention, SplitSpec, StudySpec, load, parse_value, scales
from raresearch.testing.toy import Toy

Write = Callable[[str], Path]

FULL = """\
study: everything
experiment: toy
seed: 2301
fixed:
  data.events: 600
  train: {batch_size: 64, optimizer: adamw}
space:
  model.hidden:
    choice: {4A: [32, 16], no: [8]}
  train.learning_rate: {float: [1e-5, 1.0e-2], log: true, steps: 3}
  train.patience: {int: [1, 4]}
  model.dropout: {float: [0.0, 0.5], when: {model.hidden: 4A, train.patience: [2, 3]}}
searcher: {random: {configs: 50}}
repeats: 10
folds: 3
split: {train: 0.7, validation: 0.2, test: 0.1}
objective: {significance: {n_signal: 976, n_background: 976}}
statistic: median
figures_of_merit: [roc_auc, {rejection: {acceptance: 0.9}}]
selection: {top_k: {k: 3, by: val_loss, within: {val_accuracy: 0.001}}}
keep: {scores: kept, weights: none}
execution: {backend: local, workers: 2, cpus: 0.5, gpus: 0.25, retries: 1}
scale:
  demo: {repeats: 3, fixed: {data.events: 300, train: {batch_size: 128}}, split: {train: 0.6, test: 0.2}}
  one: {fixed: {model.hidden: [4]}, searcher: grid, space: {model.dropout: {choice: [0.1]}}}
  paper:
"""
LEAST = "study: least\nexperiment: toy\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return path

    return write


def test_every_key_of_the_layout_is_read(write: Write) -> None:
    spec = load(write(FULL))
    assert (spec.name, spec.experiment, spec.seed, spec.repeats, spec.folds) == ("everything", "toy", 2301, 10, 3)
    assert spec.fixed == {"data.events": 600, "train.batch_size": 64, "train.optimizer": "adamw"}
    assert spec.space == Space(
        {
            "model.hidden": Choice(((32, 16), (8,)), ("4A", "no")),
            "train.learning_rate": Float(1e-5, 1e-2, log=True, steps=3),
            "train.patience": Int(1, 4),
            "model.dropout": Float(0.0, 0.5),
        },
        {"model.dropout": {"model.hidden": "4A", "train.patience": [2, 3]}},
    )
    assert list(spec.space.axes) == ["model.hidden", "train.learning_rate", "train.patience", "model.dropout"]
    assert spec.searcher == Component("random", {"configs": 50})
    assert spec.split == SplitSpec(0.7, 0.2, 0.1)
    assert spec.objective == Component("significance", {"n_signal": 976, "n_background": 976})
    assert spec.figures_of_merit == (Component("roc_auc"), Component("rejection", {"acceptance": 0.9}))
    assert spec.selection.options["within"] == {"val_accuracy": 0.001}
    assert (spec.statistic, spec.keep) == ("median", Retention("kept", "none"))
    assert spec.execution == ExecutionSpec("local", 2, 0.5, 0.25, 1)
    assert spec.scale is None
    assert spec.base_dir == write(FULL).parent


def test_two_lines_are_a_study(write: Write) -> None:
    spec = load(write(LEAST))
    assert spec == StudySpec("least", "toy")
    assert list(spec.space.grid()) == [{}]
    spec.check(Toy())


def test_yaml_is_version_1_2(write: Write) -> None:
    spec = load(
        write(
            LEAST
            + "fixed: {train.a: 1e-3, train.b: no, train.c: 017, train.d: 0o17, train.e: 2020-01-01, train.f: ~, train.g: 1_0}"
        )
    )
    assert list(spec.fixed.values()) == [0.001, "no", 17, 15, "2020-01-01", None, "1_0"]
    assert type(spec.fixed["train.a"]) is float


def test_anchors_are_read(write: Write) -> None:
    spec = load(write(LEAST + "fixed: {train.a: &x [1, 2], train.b: *x}"))
    assert spec.fixed == {"train.a": (1, 2), "train.b": (1, 2)}


def test_an_overlay_changes_only_what_it_names(write: Write) -> None:
    path = write(FULL)
    plain, demo = load(path), load(path, scale="demo")
    assert scales(path) == ("demo", "one", "paper")
    assert demo.scale == "demo"
    assert demo.repeats == 3
    assert demo.fixed == {"data.events": 300, "train.batch_size": 128, "train.optimizer": "adamw"}
    assert demo.split == SplitSpec(0.6, 0.2, 0.2)
    assert demo.space == plain.space
    assert load(path, scale="paper") == plain


def test_an_overlay_that_fixes_an_axis_takes_it_out_of_the_space(write: Write) -> None:
    spec = load(write(FULL), scale="one")
    assert spec.fixed["model.hidden"] == (4,)
    assert "model.hidden" not in spec.space.axes
    assert spec.searcher == Component("grid")
    # The axis is replaced as a whole, its old range and condition included.
    assert spec.space.axes["model.dropout"] == Choice((0.1,))
    assert not spec.space.conditions


@pytest.mark.parametrize("line", ["train.batch_size=16", "fixed.train.batch_size=16", "fixed={train: {batch_size: 16}}"])
def test_set_gives_a_fixed_value_in_three_spellings(write: Write, line: str) -> None:
    assert load(write(FULL), sets=[line]).fixed["train.batch_size"] == 16


def test_set_comes_after_scale_and_the_last_one_wins(write: Write) -> None:
    assert load(write(FULL), scale="demo", sets=["repeats=5", "repeats=6"]).repeats == 6


def test_set_reaches_parts_of_components_and_sections(write: Write) -> None:
    spec = load(write(FULL), sets=["searcher.random.configs=7", "execution.workers=auto", "objective.significance.n_signal=5"])
    assert spec.searcher == Component("random", {"configs": 7})
    assert spec.execution == ExecutionSpec("local", "auto", 0.5, 0.25, 1)
    assert spec.objective.options == {"n_signal": 5, "n_background": 976}
    assert load(write(FULL), sets=["searcher=grid"]).searcher == Component("grid")
    assert load(write(FULL), sets=["selection.last_k.k=2"]).selection == Component("last_k", {"k": 2})


def test_set_replaces_an_axis_or_changes_one_key_of_it(write: Write) -> None:
    axes = load(write(FULL), sets=["space.model.hidden={choice: {4A: [1]}}", "space.train.learning_rate.steps=5"]).space.axes
    assert axes["model.hidden"] == Choice(((1,),), ("4A",))
    assert axes["train.learning_rate"] == Float(1e-5, 1e-2, log=True, steps=5)


def test_set_of_a_fixed_value_takes_the_name_out_of_the_space_by_value_or_label(write: Write) -> None:
    for value in ("[32, 16]", "4A"):
        spec = load(write(FULL), sets=[f"model.hidden={value}"])
        assert spec.fixed["model.hidden"] == (32, 16)
        assert spec.space.conditions == {"model.dropout": {"train.patience": (2, 3)}}
    ruled_out = load(write(FULL), sets=["model.hidden=no"])
    assert "model.dropout" not in ruled_out.space.axes


def test_set_of_an_axis_takes_the_name_out_of_the_fixed_values(write: Write) -> None:
    spec = load(write(FULL), sets=["space.train.batch_size={choice: [8, 16]}"])
    assert "train.batch_size" not in spec.fixed
    assert spec.space.axes["train.batch_size"] == Choice((8, 16))
    assert (
        "train.batch_size"
        not in load(write(FULL), sets=["space.train.batch_size={choice: [8]}", "train.batch_size=4"]).space.axes
    )


def test_a_name_can_leave_the_space_and_come_back(write: Write) -> None:
    spec = load(write(FULL), sets=["train.patience=2", "space.train.patience={int: [1, 4]}"])
    assert "train.patience" not in spec.fixed
    assert spec.space == load(write(FULL)).space


def test_an_overlay_cannot_fix_a_name_and_put_it_into_the_space(write: Write) -> None:
    overlay = "\nscale: {bad: {fixed: {train.patience: 1}, space: {train.patience: {int: [1, 2]}}}}"
    with pytest.raises(SpecError, match=r"scale\.bad\.fixed\.train\.patience: train\.patience is fixed and in the space"):
        load(write(LEAST + overlay), scale="bad")


def test_studies_survive_json_with_sorted_keys(write: Write) -> None:
    for scale in (None, "demo", "one"):
        spec = load(write(FULL), scale=scale)
        again = StudySpec.from_json(json.loads(json.dumps(spec.to_json(), sort_keys=True)))
        assert again == spec
        assert list(again.space.grid() if again.space.size() else ()) == list(spec.space.grid() if spec.space.size() else ())
        assert (again.scale, again.base_dir) == (spec.scale, spec.base_dir)
        assert again.identity() == spec.identity()
    assert StudySpec.from_json(spec.to_json(), base_dir="elsewhere").base_dir == Path("elsewhere")


def test_studies_survive_yaml(write: Write) -> None:
    for scale in (None, "demo", "one"):
        spec = load(write(FULL), scale=scale)
        assert load(write(spec.dump_yaml())) == spec


def test_a_changed_copy_in_the_store_is_refused(write: Write) -> None:
    with pytest.raises(SpecError, match="repeats: must be an integer from 1 up"):
        StudySpec.from_json({**load(write(FULL)).to_json(), "repeats": "many"})


def test_identity_moves_with_what_decides_results_and_with_nothing_else(write: Write) -> None:
    same = ["study=other", "execution.workers=7", "keep.scores=all", "figures_of_merit=[xi]"]
    other = ["seed=1", "train.batch_size=65", "repeats=11", "folds=2", "split={train: 0.6, validation: 0.3}", "statistic=mean"]
    other += [
        "searcher=grid",
        "objective=roc_auc",
        "selection=best_epoch",
        "space.train.patience={int: [1, 5]}",
        "experiment=pandax2",
    ]
    identity = load(write(FULL)).identity()
    assert {load(write(FULL), sets=[line]).identity() for line in same} == {identity}
    moved = {load(write(FULL), sets=[line]).identity() for line in other}
    assert len(moved) == len(other)
    assert identity not in moved


def test_identity_does_not_depend_on_the_order_of_names(write: Write) -> None:
    one = "space: {model.dropout: {choice: [0.1]}, model.hidden: {choice: [[8]]}}\nfixed: {train.epochs: 1, train.patience: 2}"
    two = "fixed: {train.patience: 2, train.epochs: 1}\nspace: {model.hidden: {choice: [[8]]}, model.dropout: {choice: [0.1]}}"
    assert load(write(LEAST + one)).identity() == load(write(LEAST + two)).identity()


def test_a_config_is_defaults_then_fixed_values_then_the_point(write: Write) -> None:
    spec = load(write(FULL))
    config = spec.config({"model.hidden": (8,), "train.learning_rate": 1e-3, "train.patience": 1}, Toy())
    assert config["data.separation"] == 2.0
    assert config["train.epochs"] == 5  # the experiment's default, not the common one
    assert config["train.batch_size"] == 64
    assert config["model.hidden"] == (8,)
    assert config["model.dropout"] == 0.0  # the axis does not exist at this point
    assert spec.config({"model.hidden": (8,)}) == spec.config({"model.hidden": (8,)}, Toy())


def test_integers_become_floats_where_the_default_is_one_and_lead_back_to_their_point(write: Write) -> None:
    spec = load(write(LEAST + "fixed: {data.separation: 3}\nspace: {model.dropout: {choice: [0, 0.5]}}"))
    spec.check(Toy())
    config = spec.config({"model.dropout": 0}, Toy())
    assert [type(config[name]) for name in ("data.separation", "model.dropout")] == [float, float]
    assert spec.space.project(config) == {"model.dropout": 0}
    assert type(spec.space.project(config)["model.dropout"]) is int


def test_places_name_the_line_that_counts(write: Write) -> None:
    spec = load(write(FULL), scale="demo", sets=["seed=4"])
    assert spec.place("fixed.train.optimizer").endswith("study.yaml:6: fixed.train.optimizer")
    assert spec.place("fixed.train.batch_size").endswith("study.yaml:24: scale.demo.fixed.train.batch_size")
    assert spec.place("seed") == "--set seed=4: seed"
    assert spec.place("nowhere") == "nowhere"


def test_an_experiment_in_a_file_is_found_from_the_yamls_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("from raresearch.testing.toy import Toy\nclass Mine(Toy):\n    name = 'mine'\n")
    monkeypatch.chdir("/")
    spec = load(write("study: a\nexperiment: ./mine.py"))
    assert spec.load_experiment().name == "mine"
    assert StudySpec.from_json(spec.to_json()).load_experiment().name == "mine"


def test_a_value_on_the_command_line_is_yaml() -> None:
    assert [parse_value(text) for text in ("5", "1e-3", "[1, [a]]", "no", "null")] == [5, 0.001, (1, ("a",)), "no", None]
    with pytest.raises(SpecError, match="must be a number, text"):
        parse_value("{a: 1}")
