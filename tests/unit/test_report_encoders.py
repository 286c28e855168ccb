"""Figures encoded by other processes: the same bytes, whatever happens to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.ticker import FuncFormatter

from raresearch.report.build import draw
from raresearch.report.encoders import Encoders
from raresearch.report.figures.style import canvas, style

sys.path.append(str(Path(__file__).parent))

from test_report_store import read, synthetic_store


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return read(*synthetic_store(tmp_path_factory.mktemp("study"), labels=("4A", "4B"), n=200))


def plain(number):
    with style():
        figure = canvas(2 + 0.2 * number, 2, f"figure {number}")
        figure.subplots().plot([0, number], [1, 2])
    return figure


def alone(number):
    with Encoders(0) as encoders:
        return encoders.finish([encoders.begin(plain(number))])[0]


def test_another_process_makes_the_bytes_that_this_one_makes_of_every_figure_of_a_study(results):
    with Encoders(0) as encoders:
        here = encoders.finish([d.encoding for d in draw(results, encoders)[0]])
    with Encoders(1) as encoders:
        drawn, _ = draw(results, encoders)
        beside = [d.encoding.made.result(60) for d in drawn]  # none of them is left for this process
    assert len(here) == 9
    assert beside == here


@pytest.mark.parametrize("processes", [1, 3])
def test_files_come_in_the_order_in_which_figures_were_begun(processes):
    with Encoders(processes) as encoders:
        found = encoders.finish([encoders.begin(plain(number)) for number in range(7)])
    assert found == [alone(number) for number in range(7)]


def test_a_process_that_was_killed_is_not_missed():
    with Encoders(1) as encoders:
        encoders._all[0].kill()
        encoders._all[0].wait()
        encodings = [encoders.begin(plain(number)) for number in range(2)]
        assert encodings[0].made.result(60) is None
        assert encoders.finish(encodings) == [alone(0), alone(1)]


def test_a_process_that_cannot_start_is_not_missed(monkeypatch):
    def refused(*_, **__):
        raise OSError("too many processes")

    monkeypatch.setattr(subprocess, "Popen", refused)
    with Encoders(2) as encoders:
        assert encoders.finish([encoders.begin(plain(3))]) == [alone(3)]


def test_a_figure_that_no_other_process_can_be_given_is_made_here():
    def with_lambda():
        figure = plain(1)
        figure.axes[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f} m"))
        return figure

    with Encoders(1) as encoders:
        encodings = [encoders.begin(with_lambda()), encoders.begin(plain(2))]
        assert encodings[0].content is None
        found = encoders.finish(encodings)
    with Encoders(0) as encoders:
        assert found == encoders.finish([encoders.begin(with_lambda()), encoders.begin(plain(2))])


def test_no_process_stays_whether_the_report_ends_well_or_not():
    encoders = Encoders(2)

    def interrupted():
        with encoders:
            encoders.begin(plain(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    started = encoders._all
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_reports_of_two_processes_are_equal_to_the_byte(tmp_path):
    code = (
        "import sys\n"
        "from raresearch.ensembles.rules import BestEpoch\n"
        "from raresearch.metrics.foms import RocAuc, Significance\n"
        "from raresearch.report.build import build_report\n"
        "from raresearch.store.store import Store\n"
        "build_report(Store.open(sys.argv[1]), objective=Significance(), others=[RocAuc()], rule=BestEpoch(), labels={})\n"
    )
    found = []
    for seed in ("1", "2"):
        store, _ = synthetic_store(tmp_path / seed, labels=("4A", "4B", "4C"), repeats=2, n=200)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(store.root)], check=True, env=environment)
        root = store.root / "report"
        found.append({str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()})
    assert len(found[0]) > 30
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []
    assert found[0].keys() == found[1].keys()
