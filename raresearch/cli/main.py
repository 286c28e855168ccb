"""The entry point: commands, and errors turned into one line and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

import click

from raresearch.errors import Interrupted, RaresearchError, UserError

EPILOG = (
    "\b\nTry:\n  raresearch init mine && raresearch run mine.yaml\n  raresearch run search_spaces/pandax2_mlp.yaml --scale demo\n\n"
    "\b\nComplete commands and options with TAB (zsh, fish: zsh_source, fish_source):\n"
    '  eval "$(_RARESEARCH_COMPLETE=bash_source raresearch)"'
)


class _Lazy(click.Group):
    """Commands are imported when they are called: `--help` and `list` must not wait for torch or Ray."""

    modules: ClassVar[dict[str, str]] = {
        "run": "run",
        "check": "check",
        "list": "names",
        "status": "status",
        "watch": "watch",
        "submit": "jobs",
        "jobs": "jobs",
        "stop": "jobs",
        "select": "choose",
        "compare": "compare",
        "unseal": "choose",
        "report": "choose",
        "export": "deploy",
        "predict": "deploy",
        "init": "start",
        "simulate": "events",
        "ingest": "events",
        "doctor": "doctor",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        import importlib

        module = importlib.import_module(f"raresearch.cli.{self.modules[cmd_name]}")
        return getattr(module, f"{cmd_name}_command")  # type: ignore[no-any-return]


@click.group(cls=_Lazy, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="raresearch")
def cli(debug: bool) -> None:
    """Studies of neural networks for rare-event searches: one YAML file, hundreds of trainings, every score kept."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = cli.main(arguments, prog_name="raresearch", standalone_mode=False)
    except (RaresearchError, click.ClickException, click.Abort, KeyboardInterrupt, BrokenPipeError) as error:
        if "--debug" in arguments:
            raise
        status = _explain(error)
    sys.exit(status if isinstance(status, int) else 0)


def _explain(error: BaseException) -> int:
    if isinstance(error, (Interrupted, KeyboardInterrupt, click.Abort)):
        click.echo("interrupted: what has landed stays; the same line goes on from there", err=True)
        return 130
    if isinstance(error, BrokenPipeError):
        return 1
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    click.echo("error: " + " ".join(message.split()), err=True)
    return 2 if isinstance(error, (UserError, click.ClickException)) else 1
