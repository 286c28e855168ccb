"""`raresearch simulate` and `raresearch ingest`: datasets without a study."""

from __future__ import annotations

import json
from pathlib import Path

import click
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from raresearch.data.dataset import Dataset
from raresearch.errors import DataError


@click.command("simulate")
@click.argument("experiment")
@click.option("--events", type=click.IntRange(min=1), required=True, help="How many events, all classes and splits together.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the dataset.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="A data.* value of the experiment.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.option("--debug", is_flag=True, hidden=True)
def simulate_command(
    experiment: str, events: int, out: Path, seed: int, sets: tuple[str, ...], as_json: bool, debug: bool
) -> None:
    """Simulate events of EXPERIMENT (a short name, package.module:Name or ./file.py) into Parquet, split and sealed.

    \b
    raresearch simulate pandax2 --events 10000 --out events
    """
    from raresearch.api.events import simulate
    from raresearch.cli.live import live_line

    with live_line() as progress:
        dataset = simulate(experiment, events=events, out=out, seed=seed, sets=sets, progress=progress.preparing)
    _print(dataset, as_json)


@click.command("ingest")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--schema", type=click.Path(path_type=Path), required=True, help="YAML: which branches make which tensor.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the dataset.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.option("--debug", is_flag=True, hidden=True)
def ingest_command(files: tuple[Path, ...], schema: Path, out: Path, seed: int, as_json: bool, debug: bool) -> None:
    """Read events from FILES into a dataset, split and sealed: ROOT, HDF5, Parquet, CSV, NPZ, or a folder with one picture each.

    \b
    raresearch ingest events.root --schema schema.yaml --out events
    """
    from raresearch.api.events import ingest_files
    from raresearch.cli.live import live_line

    with live_line() as progress:
        dataset = ingest_files(files, _mapping(schema), out=out, seed=seed, progress=progress.preparing)
    _print(dataset, as_json)
    if not as_json:
        names = "".join(f"{str(path)!r}, " for path in files[:2]) + ("…" if len(files) > 2 else "")
        click.echo(
            f"to train on it: `dataset` of an experiment (raresearch init NAME) returns rs.Files(({names}), {{… {schema} …}})"
        )


def _mapping(path: Path) -> dict[str, object]:
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text())
    except FileNotFoundError as error:
        raise DataError(str(path), "there is no such file", "give the YAML that maps branches to tensors") from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise DataError(str(path), " ".join(str(error).split()), "mend the YAML") from error
    if not isinstance(content, dict):
        raise DataError(str(path), "a mapping is expected", "for example tensors: {features: {columns: [x, y]}}")
    return content


def _print(dataset: Dataset, as_json: bool) -> None:
    if as_json:
        counts = {s: dict(c) for s, c in dataset.counts.items()}
        lost = {"dropped": dataset.meta.get("dropped", 0), "skipped": dataset.meta.get("skipped", [])}
        click.echo(json.dumps({"path": str(dataset.path), "counts": counts, **lost}))
        return
    for split, by_class in dataset.counts.items():
        click.echo(f"{split}: {sum(by_class.values())} events ({', '.join(f'{n} {c}' for c, n in by_class.items())})")
    if dataset.left_out:
        click.echo(dataset.left_out)
    click.echo(f"dataset: {dataset.path}")
