"""The house plan, held: imports point one way, nothing imports experiments, the package itself is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import raresearch

ROOT = Path(raresearch.__file__).parent

# A module may import from its own layer's packages and from layers before it.
LAYERS = [
    ["types", "errors"],
    ["axes", "space", "spec", "plugins", "experiment"],
    ["searchers", "store", "metrics", "data"],
    ["training"],
    ["ensembles"],
    ["statistics"],
    ["planner", "racing", "steps", "stopping"],
    ["execution", "study"],
    ["report", "deploy", "jobs"],
    ["doctor"],
    ["api"],
    ["cli"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
EXPERIMENTS_MAY = {"types", "errors", "experiment", "metrics", "data", "training", "experiments"}


def modules():
    return sorted(p for p in ROOT.rglob("*.py") if "templates" not in p.parts)


def room(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0].split("_")[0] if parts[0].startswith("spec_") else parts[0]


def imported_rooms(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"raresearch.{a.name}" for a in node.names] if node.module == "raresearch" else [node.module]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("raresearch.")}
    return {r.split("_")[0] if r.startswith("spec_") else r for r in found}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    mine = room(path)
    imports = imported_rooms(path)
    if mine in ("__init__", "testing"):
        return  # the front door names everything; contract tests touch what they test
    if mine == "experiments":
        assert imports <= EXPERIMENTS_MAY, imports - EXPERIMENTS_MAY
        return
    assert mine in RANK, f"{mine} has no place in the plan"
    upward = {r for r in imports if RANK.get(r, 99) > RANK[mine]}
    assert not upward, f"{path.name} imports {upward}"


def test_the_package_is_light():
    code = "import sys, raresearch, raresearch.experiment; print([m for m in ('ray', 'torch', 'pandas', 'matplotlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_only_a_choice_being_unsealed_reads_sealed_labels():
    def imports_sealed(path):
        nodes = ast.walk(ast.parse(path.read_text()))
        return any(isinstance(n, ast.ImportFrom) and n.module == "raresearch.data.sealed" for n in nodes)

    assert [str(p.relative_to(ROOT)) for p in modules() if imports_sealed(p)] == ["api/choice.py"]
