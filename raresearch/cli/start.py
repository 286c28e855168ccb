"""`raresearch init`: a one-file experiment and its YAML, ready to run."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import click

from raresearch.errors import SpecError
from raresearch.store.files import refusals


@click.command("init")
@click.argument("name")
@click.option("--debug", is_flag=True, hidden=True)
def init_command(name: str, debug: bool) -> None:
    """Write NAME.py and NAME.yaml into the current folder: an experiment that runs as it is.

    \b
    raresearch init mine
    raresearch run mine.yaml
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SpecError(f"init {name!r}", "a name is lower-case letters, digits and _, a letter first", "for example mine")
    targets = {"experiment.py.txt": Path(f"{name}.py"), "study.yaml.txt": Path(f"{name}.yaml")}
    for path in targets.values():
        if path.exists():
            raise SpecError(str(path), "exists already and is left alone", "choose another name or another folder")
    for template, path in targets.items():
        text = files("raresearch.cli").joinpath("templates", template).read_text()
        study = name.replace("_", "-")
        text = text.replace("study: NAME", f"study: {study}").replace("CLASS", _class_name(name)).replace("NAME", name)
        with refusals(path):
            path.write_text(text)
    click.echo(f"wrote {name}.py and {name}.yaml; now: raresearch run {name}.yaml")


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
