"""`raresearch submit`, `jobs` and `stop`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from raresearch.jobs.client import DEFAULT_ADDRESS, Job, Jobs

address_option = click.option(
    "--address", default=DEFAULT_ADDRESS, show_default=True, envvar="RAY_API_SERVER_ADDRESS", help="The cluster's dashboard."
)
_debug = click.option("--debug", is_flag=True, hidden=True)


@click.command("submit")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--out", required=True, help="Folder of the run as all nodes see it (full path or URI); what it holds is reused.")
@click.option("--scale", help="An overlay of the YAML's `scale:` section.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change one value, as in `raresearch run`.")
@click.option("--retry-failed", is_flag=True, help="Train failed cells again.")
@click.option("--any-versions", is_flag=True, help="Run with whatever versions the cluster has.")
@click.option("--no-follow", is_flag=True, help="Print the job's name and return.")
@address_option
@_debug
def submit_command(
    study: Path,
    out: str,
    scale: str | None,
    sets: tuple[str, ...],
    retry_failed: bool,
    any_versions: bool,
    no_follow: bool,
    address: str,
    debug: bool,
) -> int:
    """Run STUDY as a job of a Ray cluster and follow its output; Ctrl-C stops following, not the job.

    \b
    raresearch submit mine.yaml --out /shared/runs/mine
    """
    arguments = [*(["--scale", scale] if scale else []), *(part for s in sets for part in ("--set", s))]
    jobs = Jobs(address)
    name = jobs.submit(study, [*arguments, *(["--retry-failed"] if retry_failed else [])], out, any_versions=any_versions)
    click.echo(f"job {name}")
    return 0 if no_follow else follow(jobs, name)


@click.command("stop")
@click.argument("name")
@address_option
@_debug
def stop_command(name: str, address: str, debug: bool) -> None:
    """Stop the job NAME as Ctrl-C stops a run: what has landed stays, and submitting again with the same --out goes on.

    \b
    raresearch stop NAME --address http://127.0.0.1:8265
    """
    stopped = Jobs(address).stop(name)
    click.echo(f"job {name} is being stopped; what has landed stays" if stopped else f"job {name} had ended already")


@click.command("jobs")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@address_option
@_debug
def jobs_command(name: str | None, as_json: bool, address: str, debug: bool) -> None:
    """The cluster's jobs, or the one called NAME: state, study, run folder.

    \b
    raresearch jobs --address http://127.0.0.1:8265
    """
    jobs = Jobs(address)
    found = [jobs.job(name)] if name else jobs.all()
    if as_json:
        click.echo(json.dumps([{**job.__dict__} for job in found]))
        return
    for job in found:
        click.echo(_line(job))


def _line(job: Job) -> str:
    where = f" in {job.folder}" if job.folder else ""
    return f"{job.name}: {job.state.lower()}{f', {job.study}' if job.study else ''}{where}"


def follow(jobs: Jobs, name: str) -> int:
    """Print the job's output until it ends; its exit status. Ctrl-C ends the following alone."""
    try:
        job = jobs.follow(name, lambda text: click.echo(text, nl=False))
    except KeyboardInterrupt:
        click.echo(f"\nthe job runs on: raresearch watch {name} · raresearch stop {name}", err=True)
        return 0
    click.echo(_line(job) + (f"; {job.message}" if job.state == "FAILED" else ""), err=True)
    return job.status
