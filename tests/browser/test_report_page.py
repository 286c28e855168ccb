"""The report in a real browser: nothing on the console, nothing from the network, readable, reachable by keyboard."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "unit")]

pytest.importorskip("playwright", reason="playwright is not installed (it is in the extra `test`)")

from checks import browser, complaints, opened, program
from test_report_store import OBJECTIVE, OTHERS, RULE, synthetic_store

from raresearch.report.build import build_report
from raresearch.store.ledger import append_ledger

pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium on this machine (apt-get install chromium)")

LABELS = ("4A", "4B", "4C")


def report(root: Path, **options) -> Path:
    store, labels = synthetic_store(root, **options)
    append_ledger(store.root, {"reason": "frozen for the note", "choice": "0" * 16, "config": "4A", "cells": 5})
    paths = build_report(store, objective=OBJECTIVE, others=OTHERS, rule=RULE, labels=labels)
    return paths.html


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    return report(tmp_path_factory.mktemp("study"), labels=LABELS, failed=[("4C", 0, 1)])


@pytest.fixture(scope="module")
def running():
    with browser() as found:
        yield found


def test_a_report_is_quiet_readable_and_in_bounds_at_every_width_in_light_and_dark(running, page_file):
    assert complaints(running, page_file) == []


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("<p style='width: 2000px'>wide</p>", "px"),
        ("<p style='color: #999'>faint</p>", "faint"),
        ("<div><p>under</p><p style='margin-top: -30px'>over</p></div>", "lies over"),
        ("<script src='https://example.invalid/a.js'></script>", "https://example.invalid"),
        ("<img alt='lost' src='data:image/png;base64,AAAA'>", "no picture"),
    ],
)
def test_the_checks_see_what_they_look_for(running, tmp_path, broken, words):
    path = tmp_path / "broken.html"
    path.write_text(f"<!doctype html><body>{broken}</body>")
    assert any(words in text for text in complaints(running, path))


def test_the_first_tab_leads_past_the_contents_and_the_order_is_that_of_the_page(running, page_file):
    with opened(running, page_file, 1280, "light") as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0, "seen while it has the focus"
        tops = []
        for _ in range(400):
            page.keyboard.press("Tab")
            top = page.evaluate("() => { const e = document.activeElement;"
                                " return e === document.body ? null : e.getBoundingClientRect().top + scrollY }")  # fmt: skip
            if top is None:
                break
            tops.append(top)
        reachable = page.evaluate("document.querySelectorAll('.sort, .enlarge').length")
    assert len(tops) > reachable > 10
    sections = [top for top in tops if top > 400]
    backwards = [b - a for a, b in pairwise(sections) if b < a - 120]
    assert not backwards, "focus jumps up the page"


def test_a_table_sorts_by_keyboard_and_says_so(running, page_file):
    column = (
        "() => [...document.querySelector('#results table').tBodies[0].rows].map((r) => parseFloat(r.cells[1].textContent))"
    )
    with opened(running, page_file, 1280, "light") as (page, _):
        heading = page.locator("#results table thead th[data-column='1']").first
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        rising = page.evaluate(column)
        page.keyboard.press("Space")
        assert heading.get_attribute("aria-sort") == "descending"
        falling = page.evaluate(column)
    assert rising == sorted(rising)
    assert falling == rising[::-1]
    assert len(set(rising)) > 1


def test_a_figure_opens_large_by_keyboard_and_escape_closes_it(running, page_file):
    with opened(running, page_file, 1280, "light") as (page, _):
        page.locator(".enlarge").first.focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.querySelector('dialog.zoom').open")
        assert page.evaluate("document.querySelector('dialog.zoom img').naturalWidth") > 0
        page.keyboard.press("Escape")
        assert not page.evaluate("document.querySelector('dialog.zoom').open")
        assert page.evaluate("document.activeElement.className") == "enlarge", "the focus comes back to where it was"


def test_every_link_of_the_page_leads_somewhere(running, page_file):
    with opened(running, page_file, 1280, "light") as (page, _):
        targets = page.evaluate("[...document.querySelectorAll('a[href]')].map((a) => a.getAttribute('href'))")
        anchors = set(page.evaluate("[...document.querySelectorAll('[id]')].map((e) => '#' + e.id)"))
    files = [t for t in targets if not t.startswith(("#", "https://"))]
    assert {"svg", "png", "csv"} <= {t.rsplit(".", 1)[-1] for t in files}
    assert [t for t in files if not (page_file.parent / t).exists()] == []
    assert [t for t in targets if t.startswith("#") and t not in anchors] == []
