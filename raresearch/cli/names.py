"""`raresearch list`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from raresearch import plugins

KINDS = {"experiments": "experiments", "searchers": "searchers", "rules": "rules", "foms": "foms", "simulators": "experiments"}


@click.command("list")
@click.argument("kind", type=click.Choice([*KINDS, "studies"]), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, hidden=True)
def list_command(kind: str | None, as_json: bool, debug: bool) -> None:
    """What exists: experiments, searchers, selection rules, figures of merit, studies (YAML files in ./search_spaces).

    \b
    raresearch list experiments
    """
    kinds = [kind] if kind else ["experiments", "searchers", "rules", "foms", "studies"]
    found = {k: _names(k) for k in kinds}
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, names in found.items():
        click.echo(f"{name}: {', '.join(names) or 'none here'}")


def _names(kind: str) -> list[str]:
    if kind == "studies":
        return sorted(str(p) for p in Path("search_spaces").glob("*.yaml"))
    names = list(plugins.names(KINDS[kind]))
    if kind == "simulators":
        return [n for n in names if _simulates(n)]
    return names


def _simulates(name: str) -> bool:
    made = plugins.resolve("experiments", name, None)
    experiment = made() if isinstance(made, type) else made
    return bool(getattr(experiment, "simulated", False))
