"""`raresearch compare`: is A better than B, how sure is that, and what would decide."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from raresearch.api.opened import open_study
from raresearch.cli.place import PLACE
from raresearch.cli.show import console
from raresearch.statistics.comparison import Comparison


@click.command("compare")
@click.argument("folder", type=PLACE)
@click.argument("a")
@click.argument("others", nargs=-1, metavar="[B]...")
@click.option("--fom", help="Figure of merit. Default: the study's objective.")
@click.option("--rule", help="Selection rule for the members. Default: the study's own.")
@click.option(
    "--correction", type=click.Choice(["holm", "benjamini-hochberg"]), default="holm", help="Where there are several B."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, hidden=True)
def compare_command(
    folder: Path,
    a: str,
    others: tuple[str, ...],
    fom: str | None,
    rule: str | None,
    correction: str,
    as_json: bool,
    debug: bool,
) -> None:
    """Compare config A of the study in FOLDER with B: difference, interval, probability, and how many repeats would decide.

    Without B: with every other config, corrected for the number of comparisons.

    \b
    raresearch compare runs/DIR 4A 4E
    """
    opened = open_study(folder)
    if len(others) == 1:
        found = [opened.compare(a, others[0], fom, rule=rule)]
    else:
        found = opened.compare_all(a, others or None, fom, rule=rule, correction=correction)
    if as_json:
        click.echo(json.dumps([_plain(c) for c in found] if len(others) != 1 else _plain(found[0])))
    elif len(found) == 1:
        _print_one(found[0])
    else:
        console().print(_table(found))


def _print_one(c: Comparison) -> None:
    lines = [
        f"{c.fom} on validation: {c.a} {c.value_a:.4g}, {c.b} {c.value_b:.4g}",
        f"repeats: {c.repeats_a} and {c.repeats_b}, with a spread of {c.spread_a:.2g} and {c.spread_b:.2g}; "
        f"from the shared events: ± {c.events:.2g}",
        str(c),
        *(f"note: {note}" for note in c.notes),
    ]
    for line in lines:
        console().print(line, highlight=False, soft_wrap=True, markup=False)


def _table(found: list[Comparison]) -> Table:
    table = Table(title=f"{found[0].a} against the others: {found[0].fom} on validation", caption=found[0].notes[-1])
    for name in ("B", "A − B", "interval", "P(A better)", "σ", "verdict", "more repeats"):
        table.add_column(name, justify="left" if name in ("B", "verdict") else "right")
    for c in found:
        more = "" if c.verdict != "not decided" else "none would do" if c.more_repeats is None else str(c.more_repeats)
        interval = f"[{c.low:+.3g}, {c.high:+.3g}]"
        table.add_row(c.b, f"{c.difference:+.4g}", interval, f"{c.probability:.3f}", f"{c.sigmas:.1f}", c.verdict, more)
    return table


def _plain(comparison: Comparison) -> dict[str, Any]:
    """As JSON; what is not a number is null."""
    content = {**comparison.to_json(), "more_repeats": comparison.more_repeats}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in content.items()}
