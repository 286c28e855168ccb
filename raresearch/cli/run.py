"""`raresearch run`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from raresearch.api.run import run
from raresearch.cli.live import live_line
from raresearch.cli.place import PLACE
from raresearch.cli.show import print_failures, print_report, print_table, table_json


@click.command("run")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--scale", help="An overlay of the YAML's `scale:` section, such as demo or paper.")
@click.option(
    "--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change one value: --set repeats=5 --set train.epochs=20."
)
@click.option(
    "--out", type=PLACE, help="Folder of the run, or its URI (s3://…); what it holds is reused. Default: runs/NAME-…."
)
@click.option("--address", help="A Ray cluster, such as auto or ray://host:10001. Default: this machine.")
@click.option("--retry-failed", is_flag=True, help="Train failed cells again.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@click.option("--debug", is_flag=True, hidden=True)
def run_command(
    study: Path,
    scale: str | None,
    sets: tuple[str, ...],
    out: Path | None,
    address: str | None,
    retry_failed: bool,
    as_json: bool,
    debug: bool,
) -> int:
    """Run STUDY (a YAML file), or go on where it stopped; print its table and write its report.

    \b
    raresearch run search_spaces/pandax2_mlp.yaml --scale demo
    raresearch run mine.yaml --set repeats=10 --out runs/mine
    """
    with live_line() as progress:
        opened = run(study, scale=scale, sets=sets, out=out, address=address, progress=progress, retry_failed=retry_failed)
    stages = {"": opened, **opened.stages()}
    failed = sum(print_failures(each, quiet=as_json) for each in stages.values())
    if as_json:
        tables = {name: table_json(each.table()) if each.done() else None for name, each in stages.items()}
        first = {"folder": str(opened.folder), "failed": failed, "table": tables.pop("")}
        click.echo(json.dumps(first | ({"stages": tables} if tables else {})))
    for name, each in stages.items():
        if not as_json:
            if name:
                click.echo(f"\nstage {name}")
            print_table(each)
        print_report(each, quiet=as_json)
    return 1 if failed else 0
