"""Every study that comes with the package loads, at every scale, and fits its experiment."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from raresearch.spec import StudySpec, load, scales

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / "search_spaces").glob("*.yaml"))
SHARED = ROOT.parent / "shared"
EVERY = [(path, scale) for path in STUDIES for scale in (None, *scales(path))]


def test_there_are_studies() -> None:
    assert STUDIES


@pytest.mark.parametrize(("path", "scale"), EVERY, ids=lambda value: getattr(value, "stem", str(value)))
def test_it_loads_fits_its_experiment_and_round_trips(path: Path, scale: str | None, tmp_path: Path) -> None:
    spec = load(path, scale)
    spec.check(spec.load_experiment())
    assert StudySpec.from_json(spec.to_json()) == spec
    copy = tmp_path / path.name
    copy.write_text(spec.dump_yaml())
    assert load(copy) == spec


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_it_has_a_scale_for_a_laptop_and_one_for_the_paper(path: Path) -> None:
    assert {"demo", "paper"} <= set(scales(path))
    assert load(path, "paper") == load(path)


def test_the_pandax2_scan_is_the_papers() -> None:
    spec = load(ROOT / "search_spaces" / "pandax2_mlp.yaml", "paper")
    assert spec.space.size() == 18
    assert spec.repeats == 100
    assert (spec.fixed["train.epochs"], spec.fixed["train.patience"]) == (1500, 20)


def test_the_demo_keeps_all_networks_of_the_pandax2_scan() -> None:
    path = ROOT / "search_spaces" / "pandax2_mlp.yaml"
    assert load(path, "demo").space == load(path, "paper").space


def test_the_networks_of_the_pandax2_scan_are_those_of_table_2() -> None:
    table = SHARED / "papers" / "tables" / "pandax2_table2_mlp_scan.csv"
    if not table.exists():
        pytest.skip("the papers' tables are not beside the project")
    with table.open(newline="") as file:
        rows = {row["label"]: tuple(int(n) for n in row["hidden_layers"].split("x")) for row in csv.DictReader(file)}
    space = load(ROOT / "search_spaces" / "pandax2_mlp.yaml").space
    assert {space.label(point): point["model.hidden"] for point in space.grid()} == rows
