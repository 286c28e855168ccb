"""`raresearch export` and `predict`: a frozen ensemble leaves the study and scores new events."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raresearch.cli.choose import choose, rule_options
from raresearch.cli.place import PLACE
from raresearch.errors import SelectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from raresearch.deploy.scorer import Scorer


def one_ensemble(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name one ensemble of a choice, and its cut."""
    options = [
        click.option("--config", help="Label of the config. Default: the best by the study's objective."),
        click.option("--seed", type=int, help="The repeat, where the choice has one ensemble for each."),
        click.option("--fold", type=int, help="The fold, where the choice has one ensemble for each."),
        click.option(
            "--cut", metavar="FOM", help="Figure of merit whose threshold on validation counts. Default: the objective."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("export")
@click.argument("folder", type=PLACE)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file, such as best.rarensemble.")
@one_ensemble
@rule_options
def export_command(
    folder: Path,
    out: Path,
    config: str | None,
    seed: int | None,
    fold: int | None,
    cut: str | None,
    as_json: bool,
    debug: bool,
    **choice: Any,
) -> None:
    """Freeze one ensemble of the study in FOLDER into one file: card, weights, ONNX, torch.export program.

    \b
    raresearch export runs/DIR --per config --out best.rarensemble
    raresearch predict best.rarensemble new/*.root --schema new.yaml --out scores.parquet
    """
    from raresearch.api.opened import open_study
    from raresearch.deploy.export import export_choice

    bundle = export_choice(choose(open_study(folder), **choice), out, config=config, seed=seed, fold=fold, cut=cut)
    card = bundle.card
    if as_json:
        click.echo(json.dumps({"path": str(out), "card": dict(card)}))
        return
    fixed = card["threshold"]
    cut_text = f"threshold {fixed['value']:.6g} ({fixed['how']}, on validation)" if fixed else "no threshold"
    click.echo(f"{out}: config {card['config']['label']}, {len(card['members'])} members, {cut_text}, {card['seal']['state']}")
    click.echo(f"card's hash, to keep elsewhere: {card['hash']}")


@click.command("predict")
@click.argument("ensemble", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--schema", type=click.Path(path_type=Path), help="YAML as for `ingest`. Default: columns named as in training.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Parquet file: event_id, score, accepted.")
@click.option("--threshold", type=float, help="Accept score >= this, in place of the frozen threshold.")
@click.option(
    "--engine", type=click.Choice(["ray", "local"]), default="ray", show_default=True, help="Ray Data, or this process."
)
@click.option("--address", help="A Ray cluster, such as auto or ray://host:10001. Default: this machine.")
@one_ensemble
@rule_options
def predict_command(
    ensemble: Path,
    files: tuple[Path, ...],
    schema: Path | None,
    out: Path,
    threshold: float | None,
    engine: str,
    address: str | None,
    as_json: bool,
    debug: bool,
    **choice: Any,
) -> None:
    """Score new events of FILES (ROOT, HDF5, Parquet, CSV, NPZ, or a dataset's folder) with a frozen ENSEMBLE.

    ENSEMBLE is a file of `raresearch export`, which needs neither the study nor its code, or a study's folder.

    \b
    raresearch predict best.rarensemble new/*.root --schema new.yaml --out scores.parquet
    """
    from raresearch.data.mapping import read_mapping
    from raresearch.deploy.predict import predict

    mapping = None if schema is None else read_mapping(schema)
    scorer = _scorer(ensemble, choice)
    with _progress() as progress, _engine(engine, address):
        made = predict(
            scorer,
            files,
            out,
            mapping=mapping,
            threshold=threshold,
            engine=engine,  # type: ignore[arg-type]
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(made.to_json()))
        return
    cut = "no threshold is fixed" if made.accepted is None else f"{made.accepted} accepted at score >= {made.threshold:.6g}"
    dropped = f", {made.dropped} rows left out" if made.dropped else ""
    click.echo(f"{made.events} events, {cut}{dropped}: {made.path}")


def _scorer(ensemble: Path, choice: dict[str, Any]) -> Scorer:
    if ensemble.is_dir():
        from raresearch.api.opened import open_study
        from raresearch.deploy.stored import StoredScorer

        named = {name: choice.pop(name) for name in ("config", "seed", "fold", "cut")}
        return StoredScorer(choose(open_study(ensemble), **choice), **named)
    from raresearch.deploy.bundle import load_bundle

    given = [name for name, value in choice.items() if value not in (None, ()) and name != "per"]
    if given:
        raise SelectionError(
            f"--{given[0]}", "a frozen ensemble has nothing left to choose", "leave it out, or give the folder"
        )
    return load_bundle(ensemble)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("scoring blocks"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("scoring", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _engine(engine: str, address: str | None) -> AbstractContextManager[Any]:
    if engine == "local":
        return nullcontext()
    from raresearch.execution.ray_session import ray_session

    return ray_session(address, None)
