"""What travels with a job, and what stays."""

import os

import pytest

from raresearch.errors import UserError
from raresearch.jobs import bundle as bundle_module
from raresearch.jobs.bundle import Bundle
from raresearch.jobs.client import Job, Jobs
from raresearch.jobs.pins import check, different, versions


@pytest.fixture
def folder(tmp_path):
    for name in ("mine.yaml", "mine.py", "parts/helper.py", "paper.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x" * 10)
    return tmp_path


def names(folder):
    return {str(f) for f in Bundle.of(folder / "mine.yaml").files}


def test_code_and_tables_beside_the_study_are_sent(folder):
    assert names(folder) == {"mine.yaml", "mine.py", "parts/helper.py", "paper.csv"}
    assert Bundle.of(folder / "mine.yaml").size == 40


@pytest.mark.parametrize(
    "name",
    [
        "events.root", "events.parquet", "scores.npz", "weights.safetensors", "weights.pt", "notes.json",
        ".env", ".netrc", ".aws/credentials.toml", ".git/hooks/x.py", "id_rsa", "cert.pem",
        "runs/a/mine.yaml", "other-run/study.json", "venv/lib/x.py", "__pycache__/mine.py", "data/manifest.json",
    ],
)  # fmt: skip
def test_data_runs_histories_and_secrets_stay(folder, name):
    before = names(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("private")
    (folder / name).with_name("beside.py").write_text("x") if "run/" in name or "data/" in name else None
    assert names(folder) == before


def test_links_are_not_followed(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "key.py").write_text("private")
    before = names(folder)
    os.symlink(elsewhere, folder / "linked")
    os.symlink(elsewhere / "key.py", folder / "key.py")
    assert names(folder) == before


def test_too_much_is_refused_by_name(folder, monkeypatch):
    monkeypatch.setattr(bundle_module, "LIMIT", 2000)
    (folder / "table.csv").write_text("x" * 3000)
    with pytest.raises(UserError, match=r"largest: table\.csv"):
        Bundle.of(folder / "mine.yaml")
    monkeypatch.setattr(bundle_module, "MOST", 3)
    with pytest.raises(UserError, match="folder of its own"):
        Bundle.of(folder / "mine.yaml")


def test_a_copy_holds_what_is_sent_and_nothing_else(folder, tmp_path_factory):
    (folder / "events.root").write_text("private")
    copy = tmp_path_factory.mktemp("copy")
    Bundle.of(folder / "mine.yaml").copy(copy)
    assert {str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file()} == names(folder)


def test_versions_that_differ_are_named():
    here = versions()
    check(here)
    assert different({"ray": "1.0"}, {"ray": "2.0"}) == ["ray 2.0 instead of 1.0"]
    with pytest.raises(UserError, match=r"torch .* instead of 0\.1.*--any-versions"):
        check({**here, "torch": "0.1"})


def test_a_run_folder_that_would_vanish_with_the_job_is_refused(folder):
    with pytest.raises(UserError, match="full path"):
        Jobs.submit(object.__new__(Jobs), folder / "mine.yaml", [], "runs/mine")


def test_a_jobs_exit_status_is_that_of_the_run():
    assert [Job("a", state).status for state in ("SUCCEEDED", "STOPPED", "FAILED")] == [0, 130, 1]
    assert Job("a", "FAILED", exit_code=2).status == 2
