"""Submitting, following, asking after and stopping a job. Nothing of the submitter's environment travels with it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from raresearch.errors import UserError
from raresearch.jobs.bundle import Bundle
from raresearch.jobs.pins import versions

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
#: the whole environment that a job is given; everything else is the cluster's own
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
EXIT = {"SUCCEEDED": 0, "FAILED": 1, "STOPPED": 130}
TOKEN_FILE = Path(".ray/auth_token")  # below the home folder, where `ray get-auth-token --generate` puts it


@dataclass(frozen=True)
class Job:
    """One job as the cluster sees it. ``state``: PENDING, RUNNING, SUCCEEDED, STOPPED or FAILED."""

    name: str
    state: str
    study: str = ""
    folder: str = ""
    message: str = ""
    exit_code: int | None = None

    @property
    def ended(self) -> bool:
        return self.state in EXIT

    @property
    def status(self) -> int:
        """The exit status of `raresearch run`, as far as the cluster tells."""
        return self.exit_code if self.state == "FAILED" and self.exit_code else EXIT.get(self.state, 0)


class Jobs:
    """The jobs of the cluster whose dashboard answers at ``address``."""

    def __init__(self, address: str = DEFAULT_ADDRESS) -> None:
        """Raises `UserError` where nobody answers, or the token is missing or wrong."""
        use_token()
        logging.getLogger("ray.dashboard").setLevel(logging.WARNING)  # it tells every upload and every closed connection
        from ray.job_submission import JobSubmissionClient

        self.address = address
        if urlsplit(address).scheme not in ("http", "https"):
            raise UserError(f"--address {address}", "the job API is spoken over HTTP", f"write e.g. {DEFAULT_ADDRESS}")
        with self._refusals(""):
            self._client = JobSubmissionClient(address)

    def submit(self, study: Path, arguments: Sequence[str], out: str, *, any_versions: bool = False, gpus: float = 0) -> str:
        """Send ``study`` with what lies beside it and run it with ``arguments``; the name of the job.

        ``out``: the run folder as the cluster sees it, absolute or a URI. Raises `UserError`.
        """
        if not (out.startswith("/") or "://" in out):
            rule = "the run folder must be a full path or URI: a job's working directory goes with the job"
            raise UserError(f"--out {out}", rule, "write e.g. --out /shared/runs/mine")
        bundle = Bundle.of(study)
        pins = {} if any_versions else versions()
        line = ["run", study.name, "--out", out, "--address", "auto", *arguments]
        name = f"{study.stem.replace('_', '-')}-{secrets.token_hex(4)}"
        with tempfile.TemporaryDirectory(prefix="raresearch-job-") as folder, self._refusals(name):
            bundle.copy(Path(folder))
            submitted = self._client.submit_job(
                entrypoint=shlex.join(["python", "-m", "raresearch.cli.job_start", json.dumps(pins), *line]),
                submission_id=name,
                runtime_env={"working_dir": folder, "env_vars": ENVIRONMENT},
                metadata={"study": study.name, "out": out},
                entrypoint_num_gpus=gpus or None,
            )
        return str(submitted)

    def job(self, name: str) -> Job:
        """Raises `UserError` where there is no such job."""
        with self._refusals(name):
            return _job(self._client.get_job_info(name))

    def all(self) -> list[Job]:
        """Jobs that were submitted through the job API, running ones first."""
        with self._refusals(""):
            found = [_job(info) for info in self._client.list_jobs() if info.submission_id]
        return sorted(found, key=lambda job: (job.ended, job.name))

    def stop(self, name: str) -> bool:
        """Ask the job to stop, as Ctrl-C does: what has landed stays. False where it had ended already."""
        with self._refusals(name):
            return bool(self._client.stop_job(name))

    def follow(self, name: str, write: Callable[[str], None]) -> Job:
        """Hand the job's output to ``write`` until it ends. A `KeyboardInterrupt` leaves the job running."""

        async def read() -> None:
            async for text in self._client.tail_job_logs(name):
                write(text)

        with self._refusals(name):
            asyncio.run(read())
        return self.job(name)

    @contextmanager
    def _refusals(self, name: str) -> Iterator[None]:
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            rule = "the cluster asks for a token, and this machine has none or another one"
            remedy = "copy the cluster's token (`ray get-auth-token` there) and export RAY_AUTH_TOKEN_PATH=FILE"
            raise UserError(f"Ray at {self.address}", rule, remedy) from error
        except ConnectionError as error:
            remedy = "is the cluster up, and is its dashboard forwarded here (ssh -L 8265:127.0.0.1:8265 HEAD)?"
            raise UserError(f"Ray at {self.address}", "nobody answers", remedy) from error
        except RuntimeError as error:
            text = " ".join(str(error).split())
            if name and "does not exist" in text:
                raise UserError(f"job {name}", "there is no such job on this cluster", "see `raresearch jobs`") from error
            raise UserError(f"Ray at {self.address}", text[:300], "see the head's logs") from error


def _job(info: Any) -> Job:
    metadata = info.metadata or {}
    message = " ".join((info.message or "").partition("last available logs")[0].split()).rstrip(", ")
    return Job(
        name=str(info.submission_id),
        state=str(getattr(info.status, "value", info.status)),
        study=metadata.get("study", ""),
        folder=metadata.get("out", ""),
        message=message,
        exit_code=getattr(info, "driver_exit_code", None),
    )


def use_token() -> None:
    """Speak with a token wherever there is one: Ray's client sends none unless it is told to."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH") or (Path.home() / TOKEN_FILE).is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
