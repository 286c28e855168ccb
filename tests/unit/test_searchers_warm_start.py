"""Warm start: what another search found is told, and is no config of this study."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from raresearch.errors import SpecError
from raresearch.searchers.build import build_searcher
from raresearch.searchers.optuna import OptunaSearcher
from raresearch.searchers.skopt import SkoptSearcher
from raresearch.searchers.warm_start import read_past
from raresearch.space import Choice, Float, Int, Space
from raresearch.spec import Component

SPACE = Space(
    {
        "model.hidden": Choice(((8,), (16, 8)), labels=("A", "B")),
        "model.flag": Choice((True, "1", None)),
        "train.rate": Float(1e-4, 1e-1, log=True),
        "model.depth": Int(1, 3),
    },
    {"model.depth": {"model.hidden": "B"}},
)
LINE = Space({"train.x": Float(0.0, 1.0)})
AUTHORS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "newsdm_hpo_NewsNet70nm.csv"


def write(folder: Path, text: str) -> Path:
    path = folder / "other.csv"
    path.write_text(text)
    return path


def read(folder: Path, text: str, space: Space = SPACE, score: str = "score") -> Any:
    return read_past("skopt.warm_start", write(folder, text), space, score)


def test_values_are_read_as_those_of_their_axes(tmp_path: Path) -> None:
    text = """model.hidden,model.flag,train.rate,model.depth,score,note
A,True,0.001,2,0.5,a label; an axis that does not exist is ignored
"[16, 8]",1,1e-2,2.0,0.6,a list; text and not a number; a whole number written as a float
"[8]",null,.1,,0.7,JSON's null; no text
"""
    past = read(tmp_path, text)
    assert past.observations == (
        ({"model.hidden": (8,), "model.flag": True, "train.rate": 0.001}, 0.5),
        ({"model.hidden": (16, 8), "model.flag": "1", "train.rate": 0.01, "model.depth": 2}, 0.6),
        ({"model.hidden": (8,), "model.flag": None, "train.rate": 0.1}, 0.7),
    )
    assert (past.outside, past.unscored) == (0, 0)


def test_rows_outside_the_space_and_rows_without_a_score_are_counted(tmp_path: Path) -> None:
    past = read(tmp_path, "train.x,score\n0.5,1\n1.5,2\nfoo,3\n,4\n0.25,\n0.75,nan\n0.3,-inf\n", LINE)
    assert past.observations == (({"train.x": 0.5}, 1.0),)
    assert (past.outside, past.unscored) == (3, 3)
    assert str(past) == "warm start with 1 configs (3 outside the space, 3 without a score skipped)"


def test_a_config_that_comes_twice_counts_once_with_its_mean(tmp_path: Path) -> None:
    past = read(tmp_path, "train.x,score\n0.5,1\n0.25,7\n0.5,2\n", LINE)
    assert past.observations == (({"train.x": 0.5}, 1.5), ({"train.x": 0.25}, 7.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.y,score\n0.5,1\n", r"skopt\.warm_start: other\.csv has no column 'train\.x'; did you mean 'train\.y'"),
        ("train.x,auc\n0.5,1\n", r"has no column 'score'; .*or set score_column"),
        ("train.x,score\n0.5,good\n", r"other\.csv:2: the score 'good' is no number"),
        ("train.x,score\n5,1\n7,\n", r"no row can be used: of 2, 2 lie outside the space and 0 have no score"),
        ("train.x,score\n", r"no row can be used: of 0"),
        ("", r"has no column 'score'"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as error:
        read(tmp_path, text, LINE)
    assert "\n" not in str(error.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"skopt\.warm_start: cannot read"):
        SkoptSearcher(LINE, 5, 1, warm_start=tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81" * 9)
    with pytest.raises(SpecError, match=r"optuna\.warm_start: cannot read"):
        OptunaSearcher(LINE, 5, 1, warm_start=tmp_path / "binary.csv")


def test_configs_of_a_store_may_hold_more_names_than_the_space() -> None:
    past = read_past("w", [({"train.x": 0.5, "train.epochs": 9}, 2.0), ({"train.epochs": 9}, 3.0)], LINE, "score")
    assert past.observations == (({"train.x": 0.5}, 2.0),)
    assert past.outside == 1


@pytest.mark.parametrize("make", [SkoptSearcher, OptunaSearcher])
def test_a_warm_search_goes_where_the_other_was_good_and_counts_its_own_configs_only(make: Any) -> None:
    other = [({"train.x": x / 40}, -((x / 40 - 0.7) ** 2)) for x in range(41)]
    searcher = make(LINE, configs=6, seed=3, warm_start=other)
    asked = []
    while (config := searcher.ask()) is not None:
        asked.append(config["train.x"])
        searcher.tell(config, -((config["train.x"] - 0.7) ** 2))
    assert len(asked) == 6
    assert all(abs(x - 0.7) < 0.2 for x in asked), "none is a random start"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsga2", "random"])
def test_what_was_best_elsewhere_can_be_proposed_here(sampler: str) -> None:
    space = Space({"model.depth": Int(1, 4)})
    other = [({"model.depth": depth}, float(depth)) for depth in (1, 2, 3, 4)]
    searcher = OptunaSearcher(space, 9, 1, sampler=sampler, warm_start=other)
    asked = [searcher.ask() for _ in range(5)]
    assert sorted(c["model.depth"] for c in asked if c) == [1, 2, 3, 4]
    assert asked[4] is None


def test_a_path_starts_from_the_folder_of_the_yaml(tmp_path: Path) -> None:
    write(tmp_path, "train.x,auc\n0.5,1\n")
    component = Component("raresearch.searchers.skopt:SkoptSearcher", _options(warm_start="other.csv", score_column="auc"))
    searcher = build_searcher(component, LINE, 1, tmp_path)
    assert isinstance(searcher, SkoptSearcher)
    assert searcher.past.observations == (({"train.x": 0.5}, 1.0),)


def test_the_folder_of_another_study_is_read_by_who_knows_scores(tmp_path: Path) -> None:
    component = Component("raresearch.searchers.skopt:SkoptSearcher", _options(warm_start="run"))
    (tmp_path / "run").mkdir()
    with pytest.raises(SpecError, match=r"run is a folder, and only files can be read here"):
        build_searcher(component, LINE, 1, tmp_path)
    with pytest.raises(SpecError, match=r"run holds no study"):
        build_searcher(component, LINE, 1, tmp_path, scored=lambda folder: ())
    (tmp_path / "run" / "study.json").touch()
    searcher = build_searcher(component, LINE, 1, tmp_path, scored=lambda folder: [({"train.x": 0.5, "train.y": 1}, 3.0)])
    assert isinstance(searcher, SkoptSearcher)
    assert searcher.past.observations == (({"train.x": 0.5}, 3.0),)


def _options(**options: Any) -> dict[str, Any]:
    return {"configs": 5, **options}


@pytest.mark.skipif(not AUTHORS.exists(), reason="the NEWSdm authors' trials are not here")
def test_the_authors_own_search_warms_one_over_their_ranges(tmp_path: Path) -> None:
    text = AUTHORS.read_text()
    for theirs in ("lr", "loss_mu", "n_resid"):
        text = text.replace(f"param_{theirs},", f"train.{theirs},", 1)
    space = Space({"train.lr": Float(1e-5, 3e-3, log=True), "train.loss_mu": Float(0.01, 2.0), "train.n_resid": Int(2, 4)})
    past = read(tmp_path, text, space, "mean_test_score")
    with AUTHORS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    inside = {(r["param_lr"], r["param_loss_mu"], r["param_n_resid"]) for r in rows if r["param_n_resid"] != "1"}
    assert len(past.observations) == len(inside)
    assert past.outside == sum(r["param_n_resid"] == "1" for r in rows) > 0
    assert max(score for _, score in past.observations) == pytest.approx(0.9487246639668365)
