"""The report's files: the page, Markdown, CSV; what they say, and what they never do."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from raresearch.errors import StoreError
from raresearch.metrics.foms import RocAuc, Significance
from raresearch.report.build import build_report
from raresearch.report.card import make_card, references, url_of
from raresearch.report.page import INLINE, Picture, fitted
from raresearch.report.table import UnsealedRow, UnsealedTable
from raresearch.store.ledger import append_ledger
from raresearch.types import Estimate

sys.path.append(str(Path(__file__).parent))

from test_report_store import OBJECTIVE, OTHERS, RULE, read, synthetic_store

PARTS = {"objective": OBJECTIVE, "others": OTHERS, "rule": RULE}
OPENING = {"reason": "frozen for the note", "choice": "c0ffee", "config": "4B", "cells": 8}


class Page(HTMLParser):
    """What a test wants to know of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.stack = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    store, labels = synthetic_store(tmp_path_factory.mktemp("study"), failed=[("4C", 0, 1)])
    return store, labels, build_report(store, labels=labels, **PARTS)


@pytest.fixture(scope="module")
def page(study):
    return Page(study[2].html.read_text())


def test_everything_that_was_promised_is_there(study):
    _, _, paths = study
    assert [p.name for p in (paths.html, paths.markdown, paths.table, paths.cells)] == [
        "index.html",
        "report.md",
        "table.csv",
        "cells.csv",
    ]
    names = {"objective", "repeats", "cut", "confusion", "roc", "precision", "spectra", "efficiency", "learning"}
    assert set(paths.figures) == names
    for png, svg, numbers in paths.figures.values():
        assert png.read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in svg.read_bytes()
        assert len(list(csv.DictReader(numbers.read_text().splitlines()))) > 1
    assert any(paths.tensorboard.rglob("*tfevents*"))
    assert paths.html.stat().st_size < 5_000_000


def test_the_page_asks_nothing_of_the_network(study, page):
    text = study[2].html.read_text()
    assert not page.all("link")
    assert all(attrs["src"].startswith("data:image/") for attrs in page.all("img"))
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    root = study[2].root
    for href in (attrs["href"] for attrs in page.all("a")):
        assert href.startswith(("#", "https://doi.org/", "https://arxiv.org/")) or (root / href).is_file()


def test_the_pages_one_script_is_the_one_that_its_policy_names_and_asks_for_nothing(study, page):
    import base64
    import hashlib

    text = study[2].html.read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert page.all("script") == [{}]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert not re.search(r"fetch|XMLHttp|import|WebSocket|eval|innerHTML|https?:", script)


def test_sections_come_in_the_order_of_a_readers_questions(page):
    sections = [attrs["id"] for attrs in page.all("section")]
    assert sections == [
        "study", "results", "certainty", "selection", "curves", "scores", "efficiencies", "training", "failures", "seal",
        "references",
    ]  # fmt: skip


def test_every_figure_links_its_files(study, page):
    links = {attrs["href"] for attrs in page.all("a")}
    for name in study[2].figures:
        assert {f"figures/{name}.{form}" for form in ("svg", "png", "csv")} <= links


def test_the_comparison_and_the_split_of_the_variance_are_on_the_page_and_in_files(study, page):
    paths = study[2]
    rows = list(csv.DictReader((paths.root / "comparison.csv").read_text().splitlines()))
    assert len(rows) == 2
    assert {rows[0]["a"], rows[0]["b"], rows[1]["b"]} == {"4A", "4B", "4C"}
    assert f"{rows[0]['a']} against" in page.text
    assert "Where the scatter comes from" in page.text
    assert "## Comparison" in paths.markdown.read_text()


def test_where_pictures_would_be_too_much_the_heaviest_give_way_to_lighter_pngs():
    def picture(svg, png):
        return Picture(None, "", b"p" * png, b"s" * svg)

    light = [picture(1000, 10), picture(2000, 3000)]
    assert all(p.adapts for p in fitted(light))
    heavy = [picture(INLINE, 200_000), picture(200_000, 100), picture(300_000, 400_000)]
    assert [p.adapts for p in fitted(heavy)] == [False, True, True]


def test_the_second_look_says_that_it_is_the_second(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A", "4B"), repeats=2, n=200)
    append_ledger(store.root, OPENING)
    first = build_report(store, labels=labels, **PARTS)
    assert "look 1" not in first.html.read_text()
    entry = append_ledger(store.root, {**OPENING, "choice": "other"})
    opened = UnsealedTable((UnsealedRow("4B", 29.1, 0.2, 28.8, 29.4),), entry["time"], entry["reason"], entry["hash"])
    paths = build_report(store, labels=labels, unsealed=opened, **PARTS)
    text = Page(paths.html.read_text()).text
    assert "Test values: look 2, opened" in text
    assert "2 looks at the test labels" in text
    assert "look 1, " in paths.markdown.read_text()


def test_the_page_is_well_formed_and_its_contents_lead_somewhere(page):
    assert page.stack == []
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {attrs["href"][1:] for attrs in page.all("a") if attrs["href"].startswith("#")} <= ids


def test_the_tables_can_be_read_aloud(page):
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attrs.get("scope") in ("col", "row", "colgroup") for attrs in page.all("th"))
    assert all(attrs["alt"] for attrs in page.all("img"))


def test_every_row_of_the_table_has_a_cell_for_every_column(study):
    text = study[2].html.read_text()
    body = re.search(r'<table class="numbers sortable".*?</table>', text, re.DOTALL)[0]
    rows = re.findall(r"<tr.*?</tr>", body.split("<tbody>")[1], re.DOTALL)
    widths = {len(re.findall(r"<(?:td|th)", row)) for row in rows}
    assert len(rows) == 3
    assert len(widths) == 1
    head = body.split("<tbody>")[0]
    leaves = len(re.findall(r'scope="col"', head))
    assert widths == {leaves}


def test_the_page_says_that_its_events_are_simulated_on_which_split_and_that_the_test_is_sealed(page):
    assert "Every event in this report is simulated by pandax2 v1." in page.text
    assert "were chosen on the same validation events" in page.text
    assert "test labels unopened" in page.text
    assert "8 done, 1 failed" in page.text


def test_text_from_the_store_cannot_become_markup(study, page):
    assert "loss is NaN in epoch 3 <b>&" in page.text
    assert not page.all("b") or all("<b>&" not in str(a) for a in page.all("b"))
    assert "\\<b\\>" in study[2].markdown.read_text()


def test_measured_events_are_not_called_simulated(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=200, simulated=False)
    paths = build_report(store, labels=labels, **PARTS)
    text = Page(paths.html.read_text()).text
    assert "simulated" not in text
    assert "from files" in text
    assert "simulated" not in paths.markdown.read_text()


def test_the_ledgers_lines_and_a_training_after_unsealing_are_on_the_page(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A", "4B"), repeats=2, n=200)
    entry = append_ledger(store.root, {**OPENING, "cells": 3})
    opened = UnsealedTable((UnsealedRow("4B", 29.1, 0.2, 28.8, 29.4),), entry["time"], entry["reason"], entry["hash"])
    paths = build_report(store, labels=labels, unsealed=opened, **PARTS)
    for text in (Page(paths.html.read_text()).text, paths.markdown.read_text()):
        assert "frozen for the note" in text
        assert entry["hash"] in text
        assert "29.10 ± 0.20" in text
        assert "1 cells were trained after the test labels had been opened" in text
        assert "unopened" not in text


def test_an_unsealing_at_the_end_of_a_study_raises_no_alarm(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A", "4B"), repeats=2, n=200)
    append_ledger(store.root, {**OPENING, "cells": 4})
    assert make_card(read(store, labels)).late == 0


def test_an_altered_ledger_stops_the_report(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=200)
    append_ledger(store.root, OPENING)
    path = store.root / "ledger.jsonl"
    path.write_text(path.read_text().replace("frozen", "looser"))
    with pytest.raises(StoreError, match="altered"):
        build_report(store, labels=labels, **PARTS)
    assert not (store.root / "report" / "index.html").exists()


def test_cells_csv_holds_every_cell_with_its_interval_and_the_failed_ones_reason(study):
    store, labels, paths = study
    rows = {r["cell"]: r for r in csv.DictReader(paths.cells.read_text().splitlines())}
    assert len(rows) == 9
    for cell in read(store, labels).cells:
        row = rows[cell.key]
        if cell.state == "failed":
            assert row["error"].startswith("loss is NaN")
            assert row["significance_value"] == row["epochs"] == ""
        else:
            found = cell.estimates["significance"]
            assert [float(row[f"significance_{k}"]) for k in ("value", "low", "high", "threshold")] == [
                found.value,
                found.low,
                found.high,
                found.threshold,
            ]
            assert row["epochs"] == str(cell.epochs[0])


def test_building_twice_gives_the_same_files_and_leaves_nothing_behind(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A", "4B"), repeats=2, n=200)

    def files():
        root = store.root / "report"
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    build_report(store, labels=labels, **PARTS)
    first = files()
    build_report(store, labels=labels, **PARTS)
    assert files() == first
    assert list((store.root / ".tmp").iterdir()) == []


def test_figures_of_an_earlier_objective_do_not_stay(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=200)
    build_report(store, labels=labels, **PARTS)
    assert (store.root / "report" / "figures" / "cut.png").exists()
    build_report(store, labels=labels, objective=RocAuc(), others=(), rule=RULE)
    assert not (store.root / "report" / "figures" / "cut.png").exists()
    assert "the objective takes no cut" in Page((store.root / "report" / "index.html").read_text()).text


def test_a_study_without_a_done_cell_has_a_page_too(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, failed=[("4A", 0, 0)])
    paths = build_report(store, labels=labels, **PARTS)
    text = Page(paths.html.read_text()).text
    assert "No repeat is done yet" in text
    assert "loss is NaN" in text
    assert paths.figures == {}


def test_a_file_where_the_reports_folder_belongs_is_named_and_left_alone(tmp_path):
    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=1, n=200)
    (store.root / "report").write_text("mine")
    with pytest.raises(StoreError, match="a file stands"):
        build_report(store, labels=labels, **PARTS)
    assert (store.root / "report").read_text() == "mine"


def test_a_report_needs_neither_ray_nor_torch(tmp_path):
    store, _ = synthetic_store(tmp_path, labels=("4A",), repeats=2, n=200)
    code = (
        "import sys\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Absent(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] in ('ray', 'torch', 'tensorflow'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from raresearch.ensembles.rules import BestEpoch\n"
        "from raresearch.metrics.foms import RocAuc, Significance\n"
        "from raresearch.report.build import build_report\n"
        "from raresearch.store.store import Store\n"
        "build_report(Store.open(sys.argv[1]), objective=Significance(), others=[RocAuc()], rule=BestEpoch(), labels={})\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'ray', 'torch', 'tensorflow', 'IPython'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(store.root)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert (store.root / "report" / "index.html").is_file()


def test_references_are_those_of_the_parts_in_use_each_once(study):
    store, labels, _ = study
    found = references(read(store, labels))
    assert found[0].id == "10.1088/1748-0221/18/06/T06002"
    assert found[0].used_by == ("pandax2", "significance")
    assert len({r.id for r in found}) == len(found)
    assert {c for f in (OBJECTIVE, *OTHERS) for c in f.cites} <= {r.id for r in found}


def test_only_dois_and_arxiv_numbers_become_links():
    assert url_of("javascript:alert(1)") == ""
    assert url_of("2203.01870v2") == "https://arxiv.org/abs/2203.01870v2"
    assert url_of("10.1093/biomet/26.4.404") == "https://doi.org/10.1093/biomet/26.4.404"


def test_a_lower_limit_is_explained_on_the_page(tmp_path):
    class Limited(Significance):
        def __call__(self, *args, **options):
            found = super().__call__(*args, **options)
            return Estimate(found.value, found.low, found.value, found.n_effective, lower_limit=True, threshold=found.threshold)

    store, labels = synthetic_store(tmp_path, labels=("4A",), repeats=2, n=200)
    paths = build_report(store, objective=Limited(), others=(), rule=RULE, labels=labels)
    text = Page(paths.html.read_text()).text
    assert "the background ran out" in text
    assert "≥ " in text
