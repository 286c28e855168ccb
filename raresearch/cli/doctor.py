"""`raresearch doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command("doctor")
@click.option("--address", help="A Ray cluster, such as auto or host:6379. Default: this machine.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for runs: every node tries to write, read and lock in it.")
@click.option("--json", "as_json", is_flag=True, help="Print reports and findings as JSON.")
@click.option("--debug", is_flag=True, hidden=True)
def doctor_command(address: str | None, out: Path | None, as_json: bool, debug: bool) -> int:
    """Is every node fit: same code and versions, run folder written, read and shared, GPUs seen, clocks right? Says what to do.

    \b
    raresearch doctor --address auto
    """
    from raresearch.doctor.nodes import examine  # here: it imports Ray

    reports, findings = examine(address, out)
    if as_json:
        click.echo(json.dumps({"nodes": [asdict(r) for r in reports], "findings": [asdict(f) for f in findings]}))
    else:
        for report in reports:
            click.echo(f"{report.node}: {report.cpus} CPUs, {report.gpus} GPUs, code {report.code}")
        for finding in findings:
            click.echo(f"{'wrong' if finding.serious else 'note'}: {finding}")
        if not findings:
            click.echo("every node is fit" + ("" if out else " (give --out to test the disk for runs, too)"))
    return 1 if any(f.serious for f in findings) else 0
