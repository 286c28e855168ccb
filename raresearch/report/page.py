"""The HTML page, one file that asks nothing of the network, and the same in Markdown."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from raresearch.report.card import Card
from raresearch.report.figures.style import Drawing
from raresearch.report.labels import pretty, sentence
from raresearch.report.table import StudyTable
from raresearch.report.tabular import Column, columns

INLINE_SVG = 300_000  # bytes; a heavier SVG gives way to the PNG


@dataclass(frozen=True)
class Picture:
    """A drawing with its files' contents."""

    drawing: Drawing
    png: bytes
    svg: bytes

    @property
    def uri(self) -> str:
        """The picture as text for an ``img`` element: as such, the ids in two SVGs cannot clash."""
        kind, content = ("svg+xml", self.svg) if len(self.svg) < INLINE_SVG else ("png", self.png)
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def html(table: StudyTable, card: Card, pictures: Sequence[Picture], absent: Sequence[str]) -> str:
    """The whole page; everything that comes from the store is escaped. ``absent`` says which figures are not there and why."""
    environment = Environment(
        loader=PackageLoader("raresearch.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    printed = columns(table)
    return environment.get_template("page.html.j2").render(
        table=table,
        card=card,
        columns=printed,
        groups=_groups(printed),
        pictures=pictures,
        absent=absent,
        objective=pretty(table.objective),
        caption=table_caption(table),
    )


def _groups(printed: Sequence[Column]) -> list[tuple[str, list[Column]]]:
    """Neighbours with the same group; columns without one stand alone."""
    grouped: list[tuple[str, list[Column]]] = []
    for group, members in groupby(printed, key=lambda c: c.group):
        together = list(members)
        grouped += [(group, together)] if group else [("", [c]) for c in together]
    return grouped


def table_caption(table: StudyTable) -> str:
    """What the numbers are, in two or three sentences."""
    text = (
        f"{sentence(pretty(table.objective))} on validation, mean ± sample standard deviation over the done repeats. Epochs and "
        "thresholds were chosen on the same validation events, so these values are optimistic, and the best of many means is "
        "more so."
    )
    if any(row.limits for row in table.rows):
        text += " “≥”: in some repeats the background ran out, and their values are lower limits."
    return text


def markdown(table: StudyTable, card: Card, drawings: Sequence[Drawing], files: Mapping[str, str]) -> str:
    """The report as Markdown: the same table, the figures as links."""
    blocks = [f"# {_escaped(card.facts.get('Study', 'study'))}"]
    if card.stamp:
        blocks.append(f"**Simulated data:** {_escaped(card.stamp)}.")
    blocks += [f"## Results\n\n{table_caption(table)}", table.to_markdown().rstrip()]
    blocks += [f"*{_escaped(note)}*" for note in table.notes]
    blocks.append("\n".join(["## Seal\n", *_seal(card)]))
    blocks.append("\n".join(["## Study\n", *(f"- **{name}**: {_escaped(text)}" for name, text in card.facts.items())]))
    if card.failures:
        lines = (f"- {_escaped(c.label)}, fold {c.fold}, seed {c.seed}: {_escaped(c.error)}" for c in card.failures)
        blocks.append("\n".join(["## Failed cells\n", *lines]))
    if drawings:
        blocks.append("## Figures")
        blocks += [f"### {d.title}\n\n![{_escaped(d.alt)}](figures/{d.name}.png)\n\n{_escaped(d.caption)}" for d in drawings]
    if card.references:
        lines = (f"- {f'[{r.id}]({r.url})' if r.url else _escaped(r.id)} ({', '.join(r.used_by)})" for r in card.references)
        blocks.append("\n".join(["## References\n", *lines]))
    blocks.append("\n".join(["## Files\n", *(f"- [{name}]({name}): {what}" for name, what in files.items())]))
    return "\n\n".join(blocks) + "\n"


def _seal(card: Card) -> list[str]:
    if not card.openings:
        return ["Sealed: the test labels are unopened."]
    lines = [f"- {_opening(entry)}" for entry in card.openings]
    if card.late:
        lines.append(f"\n**{card.late} cells were trained after the test labels had been opened.**")
    return lines


def _opening(entry: Mapping[str, Any]) -> str:
    text = {name: _escaped(str(entry.get(name, "?"))) for name in ("time", "reason", "config", "choice", "hash")}
    return "{time}: {reason} (config {config}, choice {choice}, entry {hash})".format(**text)


def _escaped(text: str) -> str:
    """Text from the store as text: no Markdown, no HTML, one line."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
