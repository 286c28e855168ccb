"""`raresearch watch`: a study in a terminal while it runs."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raresearch.api.watching import Leader, Pace, View, Watcher, Worker
from raresearch.cli.jobs import address_option, follow
from raresearch.jobs.client import Jobs
from raresearch.store.remote import local

BARS = "▁▂▃▄▅▆▇█"
COLOURS = {"done": "green", "failed": "red", "running": "cyan", "lost": "yellow", "preempted": "yellow"}
WIDTH = 48


@click.command("watch")
@click.argument("target")
@click.option("--interval", default=2.0, show_default=True, help="Seconds between two looks.")
@click.option("--json", "as_json", is_flag=True, help="Look once and print the facts as JSON.")
@address_option
@click.option("--debug", is_flag=True, hidden=True)
def watch_command(target: str, interval: float, as_json: bool, address: str, debug: bool) -> int:
    """Show a study while it runs: cells by state, best so far, learning curves, workers, time left.

    TARGET is its run folder (or URI), or the name of a job, whose output is printed. Ends when the study has ended; Ctrl-C ends
    the watching, not the study. Where the output is no terminal it looks once.

    \b
    raresearch watch runs/DIR
    """
    if "://" not in target and not Path(target).exists() and "/" not in target:
        return follow(Jobs(address), target)
    return _watch_folder(local(target), interval, as_json)


def _watch_folder(folder: Path, interval: float, as_json: bool) -> int:
    """Exit status: 1 where cells have failed, as that of `run`."""
    watcher = Watcher(folder)
    view = watcher.look()
    failed = int(view.states["failed"] > 0)
    if as_json:
        click.echo(json.dumps(view.to_json()))
        return failed
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not console.is_terminal or view.ended:
        console.print(draw(view))
        return failed
    with Live(draw(view), console=console, refresh_per_second=4) as live:
        while not view.ended:
            time.sleep(max(interval, 0.2))
            view = watcher.look()
            live.update(draw(view))
    return int(view.states["failed"] > 0)


def draw(view: View) -> Group:
    """The whole picture."""
    scale = f" ({view.scale})" if view.scale else ""
    parts: list[Text | Table] = [Text(f"{view.study}{scale}", style="bold"), _bar(view), _time(view.pace, view.ended)]
    if view.idle:
        parts.append(Text(view.idle, style="yellow"))
    if view.leaders:
        parts.append(_leaders(view))
    if view.workers and not view.ended:
        parts.append(_workers(view.workers))
    return Group(*parts)


def _bar(view: View) -> Text:
    """Cells by state, as a bar and in numbers."""
    total = view.total or sum(view.states.values()) or 1
    text = Text()
    used = 0
    for name, colour in COLOURS.items():
        number = view.states.get(name, 0)
        wide = min(WIDTH - used, max(1 if number else 0, math.floor(WIDTH * number / total)))
        text.append("━" * wide, style=colour)
        used += wide
    text.append("─" * (WIDTH - used), style="dim")
    landed = view.states["done"] + view.states["failed"]
    text.append(f"  {landed:,} of {'?' if view.total is None else f'{view.total:,}'} cells")
    for name, colour in COLOURS.items():
        if view.states.get(name, 0) and name != "done":
            text.append(f"  {view.states[name]:,} {name}", style=colour)
    return text


def _time(pace: Pace | None, ended: bool) -> Text:
    if ended:
        return Text("ended")
    if pace is None:
        return Text("time left: known after the second landing", style="dim")
    words = f"{pace.cells_per_hour:,.0f} cells an hour"
    if pace.left is not None and pace.error is not None:
        words += f" · {duration(pace.left)} ± {duration(pace.error)} left"
    return Text(words)


def _leaders(view: View) -> Table:
    table = Table(title=f"best {view.objective} so far (validation, mean over cells)", title_justify="left", box=None)
    for name in ("config", view.objective, "68 %", "cells", "validation loss by epoch"):
        table.add_column(name, justify="left" if name in ("config", "validation loss by epoch") else "right")
    for leader in view.leaders:
        table.add_row(leader.label, f"{leader.value:.4g}", _interval(leader), str(leader.done), sparkline(leader.curve))
    return table


def _interval(leader: Leader) -> str:
    return "one cell" if leader.low is None or leader.high is None else f"{leader.low:.4g} … {leader.high:.4g}"


def _workers(workers: Sequence[Worker]) -> Table:
    table = Table(title="workers", title_justify="left", box=None)
    for name in ("host:process", "landed", "in training", "last landing"):
        table.add_column(name, justify="left" if name == "host:process" else "right")
    for worker in workers:
        last = "–" if worker.silent is None else f"{duration(worker.silent)} ago"
        table.add_row(worker.name, f"{worker.landed:,}", f"{worker.running:,}" if worker.running else "–", last)
    return table


def sparkline(values: Sequence[float]) -> str:
    """Values as bars of eight heights between their least and their largest.

    >>> sparkline([0.0, 0.5, 1.0])
    '▁▅█'
    """
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    step = (high - low) / (len(BARS) - 1) or 1.0
    return "".join(BARS[round((v - low) / step)] if math.isfinite(v) else " " for v in values)


def duration(seconds: float) -> str:
    """In the unit that a reader would choose.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
