"""`raresearch select`, `unseal`, `report`: questions to what has landed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from raresearch.api.choice import Choice
from raresearch.api.opened import OpenStudy, open_study
from raresearch.cli.place import PLACE
from raresearch.cli.show import console, print_report, table_json
from raresearch.ensembles.base import SCOPES, Per
from raresearch.ensembles.calibrate import CALIBRATIONS
from raresearch.ensembles.combine import COMBINATIONS
from raresearch.errors import SelectionError


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a rule and its settings."""
    options = [
        click.option("--rule", help="Selection rule (raresearch list rules). Default: the study's own."),
        click.option("--k", type=int, help="How many epochs (top_k, last_k)."),
        click.option("--by", help="Column to rank by, such as val_loss."),
        click.option("--within", multiple=True, metavar="COLUMN:DELTA", help="Only epochs this close to the column's best."),
        click.option("--option", multiple=True, metavar="NAME=VALUE", help="Any other option of the rule."),
        click.option("--per", type=click.Choice(list(SCOPES)), help="What one ensemble is made from. Default: the rule's own."),
        click.option("--combine", type=click.Choice(list(COMBINATIONS)), help="How members' scores combine. Default: mean."),
        click.option(
            "--calibrate", type=click.Choice(list(CALIBRATIONS)), help="Fit the scores to probabilities on validation."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print as JSON."),
        click.option("--debug", is_flag=True, hidden=True),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def choose(
    opened: OpenStudy, *, rule: str | None, per: Per | None, combine: str | None, calibrate: str | None,
    k: int | None, by: str | None, within: Any, option: Any,
) -> Choice:  # fmt: skip
    """The choice that the options of the command line name."""
    options: dict[str, Any] = {n: v for n, v in (("k", k), ("by", by)) if v is not None}
    if within:
        options["within"] = dict(_pair(w, ":", "--within") for w in within)
    options |= dict(_pair(o, "=", "--option") for o in option)
    if options and rule is None:
        raise SelectionError("--k, --by, --within", "options need a rule", "name it: --rule top_k")
    return opened.select(rule, per=per, combine=combine, calibrate=calibrate, **options)


def _pair(text: str, separator: str, place: str) -> tuple[str, Any]:
    name, found, value = text.partition(separator)
    if not (name and found and value):
        raise SelectionError(
            f"{place} {text}", f"NAME{separator}VALUE is expected", f"for example val_accuracy{separator}0.001"
        )
    return name, YAML(typ="safe", pure=True).load(value)


@click.command("select")
@click.argument("folder", type=PLACE)
@rule_options
def select_command(folder: Path, as_json: bool, debug: bool, **choice: Any) -> None:
    """Choose epochs of the study in FOLDER on validation and print what each config is worth.

    \b
    raresearch select runs/DIR --rule top_k --k 3 --by val_loss --within val_accuracy:0.001
    """
    opened = open_study(folder)
    table = opened.table(choose(opened, **choice))
    if as_json:
        click.echo(json.dumps(table_json(table)))
    else:
        console().print(table.to_rich())
        for note in table.notes:
            console().print(note, highlight=False, markup=False)


@click.command("unseal")
@click.argument("folder", type=PLACE)
@click.option("--reason", required=True, help="Why now: it stands in the ledger for good.")
@rule_options
def unseal_command(folder: Path, reason: str, as_json: bool, debug: bool, **choice: Any) -> None:
    """Freeze a choice, then open the test labels of the study in FOLDER for it; the ledger remembers.

    \b
    raresearch unseal runs/DIR --reason "selection frozen for the analysis note"
    """
    opened = open_study(folder)
    table = opened.unseal(choose(opened, **choice), reason)
    if as_json:
        click.echo(json.dumps(table_json(table)))
        return
    console().print(table.to_rich())
    print_report(opened)


@click.command("report")
@click.argument("folder", type=PLACE)
@click.option("--anew", is_flag=True, help="Make it again, evaluations included, though nothing seems to have changed.")
@click.option("--debug", is_flag=True, hidden=True)
def report_command(folder: Path, anew: bool, debug: bool) -> None:
    """Write FOLDER/report: index.html, report.md, figures, CSV, TensorBoard files. Needs neither Ray nor torch.

    A report of the same cells, rule, figures of merit, seal and code stands already and is left as it is.

    \b
    raresearch report runs/DIR
    tensorboard --logdir runs/DIR/report/tensorboard
    """
    opened = open_study(folder)
    if not opened.done():
        raise SelectionError(str(folder), "no cell is done yet", "run the study first")
    print_report(opened, anew=anew)
