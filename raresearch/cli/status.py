"""`raresearch status`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from raresearch.api.opened import open_study
from raresearch.cli.place import PLACE
from raresearch.cli.show import console


@click.command("status")
@click.argument("folder", type=PLACE)
@click.option("--json", "as_json", is_flag=True, help="Print the same facts as JSON.")
@click.option("--debug", is_flag=True, hidden=True)
def status_command(folder: Path, as_json: bool, debug: bool) -> None:
    """What of the study in FOLDER is done, running and failed, and whether its test labels are still sealed.

    \b
    raresearch status runs/DIR
    """
    facts = open_study(folder).status()
    if as_json:
        click.echo(json.dumps(facts))
        return
    out = console()
    total = "?" if facts["total"] is None else facts["total"]
    scale = f" ({facts['scale']})" if facts["scale"] else ""
    out.print(f"{facts['study']}{scale}: {facts['done']} of {total} cells done, {facts['failed']} failed", highlight=False)
    out.print(
        f"driver: {'running' if facts['driver'] else 'none'} · training time so far: {facts['seconds']:.0f} s", highlight=False
    )
    rate = facts["cells_per_worker_hour"]
    if rate:
        fill = (facts["done"] + facts["failed"]) / facts["packs"]
        out.print(f"{facts['packs']} packs of {fill:.1f} cells · {rate:,.0f} cells an hour and worker", highlight=False)
    if facts["racing"]:
        race = facts["racing"]
        out.print(f"racing: {race['left']} configs have left, {race['cells_saved']} cells saved", highlight=False)
    if facts["stopping"]:
        stops = facts["stopping"]
        words = f"stopping: {stops['stopped']} configs stopped early, {stops['epochs_trained']} epochs trained"
        out.print(f"{words}, up to {stops['epochs_saved']} saved", highlight=False)
    if under_way := [f"{facts[state]} {state}" for state in ("running", "paused", "preempted", "lost") if facts[state]]:
        out.print("under way: " + ", ".join(under_way), highlight=False)
    if facts["retries"]:
        out.print(f"retries: {facts['retries']}, last: {facts['troubles'][-1]['reason']}", highlight=False)
    for row in facts["failures"]:
        out.print(
            f"failed: {row['label']}, fold {row['fold']}, seed {row['seed']}: {row['error']}", markup=False, highlight=False
        )
    looks = len(facts["ledger"])
    opened = (
        f"test labels: opened {looks} time(s), last {facts['ledger'][-1]['time'] if looks else ''}; results are post-unblinding"
    )
    out.print(opened if looks else "test labels: sealed", highlight=False)
