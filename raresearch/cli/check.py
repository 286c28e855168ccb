"""`raresearch check`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from raresearch.api.check import Plan, check
from raresearch.cli.live import live_line
from raresearch.cli.show import console


@click.command("check")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--scale", help="An overlay of the YAML's `scale:` section, such as demo or paper.")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change one value, as in `run`.")
@click.option("--no-time", is_flag=True, help="Answer at once: simulate and time nothing.")
@click.option(
    "--like", type=click.Path(path_type=Path), help="Folder of the same study with fewer repeats: when trainings stop."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, hidden=True)
def check_command(
    study: Path, scale: str | None, sets: tuple[str, ...], no_time: bool, like: Path | None, as_json: bool, debug: bool
) -> None:
    """Check STUDY (a YAML file) and print its plan: cells, packs, events, disk, hours. Writes nothing.

    \b
    raresearch check search_spaces/pandax2_mlp.yaml --scale demo

    \b
    Trainings that stop early make the hours an upper bound; a pilot of one repeat tells when they do:
      raresearch run STUDY --set repeats=1 --out pilot
      raresearch check STUDY --like pilot
    """
    with live_line() as progress:
        plan = check(study, scale=scale, sets=sets, timed=not no_time, like=like, progress=progress.preparing)
    if as_json:
        click.echo(json.dumps(plan.to_json()))
        return
    out = console()
    for each in (plan, *plan.later):
        for line in _lines(each):
            out.print(line, highlight=False, markup=False)


def _lines(plan: Plan) -> list[str]:
    scale = f" at scale {plan.scale}" if plan.scale else ""
    lines = [
        f"{plan.study}{scale}: the file is sound",
        f"cells: {_of(plan.cells)} = {_of(plan.configs)} configs × {plan.repeats} repeats × {plan.folds} fold(s), "
        f"in {_of(plan.packs)} packs" + (f" of {plan.fill:.1f} trainings" if plan.fill else ""),
        f"events: {_of(plan.events, 'as many as the files hold')}; epochs: at most {plan.epochs} a cell",
        *_data(plan),
        f"disk for scores: at most {_size(plan.disk_bytes)}",
    ]
    if plan.simulation_hours is not None:
        lines.append(f"simulation: about {_duration(plan.simulation_hours)} on the cores here, once for all trainings")
    lines += [f"networks are not timed: {plan.untimed}"] if plan.untimed else []
    lines += [f"some networks train alone: {reason}" for reason in plan.alone]
    if plan.hours is not None and plan.seconds_per_cell is not None:
        bound = "at most" if plan.hours_error is None else "about"
        error = "" if plan.hours_error is None else f" ± {_duration(plan.hours_error)}"
        lines.append(
            f"time: {bound} {plan.seconds_per_cell:.1f} s a cell, {_duration(plan.hours)}{error} on {plan.workers} worker(s) here"
            + (f" ({plan.cells_per_hour:,.0f} cells an hour)" if plan.cells_per_hour else "")
        )
        stops = (
            f"stops as in the pilot, which has {plan.stops_known} of the configs"
            if plan.stops_known
            else "early stops end sooner"
        )
        lines.append(f"(one epoch of {plan.timed_configs} configs timed: {plan.seconds_per_epoch:.3f} s on average; {stops})")
        lines += _scaled(plan)
    return lines


def _scaled(plan: Plan) -> list[str]:
    """What fewer repeats and more workers would change: arithmetic on the measured time, with its assumption named."""
    lines, hours = [], plan.hours or 0.0
    if plan.repeats > 1:
        half = plan.repeats // 2
        saved, wider = hours * (1 - half / plan.repeats), math.sqrt(plan.repeats / half)
        lines.append(
            f"{half} repeats instead of {plan.repeats} would save {_duration(saved)}; errors of means would be {wider:.2f} × wider"
        )
    # With fewer packs than workers, some of these would have nothing to do.
    most = [n for n in (4, 16, 64) if n > plan.workers and (plan.packs is None or n <= plan.packs)]
    if most:
        each = ", ".join(f"{n}: {_duration(hours * plan.workers / n)}" for n in most)
        lines.append(
            f"on more workers, each as fast as one here (a GPU's speed is not known before `check` runs on it): {each}"
        )
    return lines


_MEANINGS = {
    "resident": "kept in memory",
    "mapped": "mapped from uncompressed files on disk",
    "streamed": "streamed from uncompressed files on disk",
}


def _data(plan: Plan) -> list[str]:
    """Where the events will be while networks train on them."""
    if plan.data_bytes is None or plan.data_kind is None or plan.data_memory is None:
        return []
    order = f"shuffled in windows of {plan.window:,}" if plan.window else "shuffled as a whole"
    line = f"data: {_size(plan.data_bytes)}, {_MEANINGS[plan.data_kind]} ({_size(plan.data_memory)} for events), {order}"
    if plan.data_kind == "streamed" and not plan.window:
        line += "; each event is a read of its own: on a slow disk set train.window, which makes other cells"
    return [line]


def _of(number: int | None, unknown: str = "?") -> str:
    return unknown if number is None else f"{number:,}"


def _size(count: int | None) -> str:
    if count is None:
        return "unknown before the files are read"
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
