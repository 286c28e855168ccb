"""The type of arguments that name a run folder: a path, or the URI of a store elsewhere (s3://bucket/runs/mine)."""

from __future__ import annotations

from pathlib import Path

import click

from raresearch.store.remote import local


class _Place(click.ParamType):  # type: ignore[type-arg]
    """Gives the folder to work in: the path itself, or the mirror of a URI."""

    name = "folder or URI"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return value if isinstance(value, Path) else local(str(value))


PLACE = _Place()
