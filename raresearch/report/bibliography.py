"""The sources of a study as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raresearch.report.card import Reference


def bibtex(references: Sequence[Reference]) -> str:
    """One entry a source, with its DOI or arXiv number and the parts that stand on it; raresearch itself comes last.

    Titles and authors are not here: the reference manager fetches them by the DOI, and none can be wrong.
    """
    entries = [_entry(_key(r.id), _fields(r)) for r in references]
    own = {"title": "{raresearch}", "author": "{The raresearch developers}", "note": "open-source software, Apache-2.0"}
    return "\n".join([*entries, _entry("raresearch", own, "software")])


def _fields(reference: Reference) -> dict[str, str]:
    found: dict[str, str] = {}
    if reference.url.startswith("https://doi.org/"):
        found["doi"] = reference.id
    elif reference.url:
        found |= {"eprint": reference.url.rsplit("/", 1)[-1], "archiveprefix": "arXiv"}
    else:
        found["title"] = _plain(reference.id)
    if reference.url:
        found["url"] = reference.url
    return {**found, "note": _plain("used by " + ", ".join(reference.used_by))}


def _key(text: str) -> str:
    """
    >>> _key("10.1088/1748-0221/18/06/T06002")
    '10.1088-1748-0221-18-06-T06002'
    """
    return re.sub(r"[^\w.]+", "-", text, flags=re.ASCII).strip("-") or "source"


def _plain(text: str) -> str:
    """Text that BibTeX reads as such: braces would end the entry, and LaTeX's signs would be commands."""
    return re.sub(r"([&%$#_])", r"\\\1", re.sub(r"[{}\\]", "", text))


def _entry(key: str, fields: dict[str, str], kind: str = "misc") -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}\n"
