"""The HTML page, one file that asks nothing of the network, and the same in Markdown."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from raresearch.report.card import Card
from raresearch.report.figures.dark import for_the_dark
from raresearch.report.figures.style import Drawing
from raresearch.report.findings import Findings, Sheet, comparison_sheet, variance_sheet
from raresearch.report.labels import pretty, sentence
from raresearch.report.sections import SECTIONS
from raresearch.report.table import StudyTable
from raresearch.report.tabular import Column, averaged_how, columns

INLINE = 3_300_000  # bytes of all pictures on the page, four thirds of that as text: the page stays below 5 MB


@dataclass(frozen=True)
class Picture:
    """A drawing with the section that it belongs to and its files' contents.

    ``adapts``: on the page as SVG, which has colours for the dark; else as PNG.
    """

    drawing: Drawing
    section: str
    png: bytes
    svg: bytes
    adapts: bool = True

    @property
    def uri(self) -> str:
        """The picture as text for an ``img`` element: as such, the ids in two SVGs cannot clash."""
        kind, content = ("svg+xml", for_the_dark(self.svg)) if self.adapts else ("png", self.png)
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def html(
    table: StudyTable,
    card: Card,
    findings: Findings,
    pictures: Sequence[Picture],
    absent: Sequence[tuple[str, str]],
    own: Sequence[tuple[str, Sheet]] = (),
) -> str:
    """The whole page; everything that comes from the store is escaped. ``absent``: section and why a figure is not there;
    ``own``: the experiment's tables with their titles.

    Its one script sorts tables and enlarges figures; the page's policy allows that text and no other, and no request.
    """
    environment = Environment(
        loader=PackageLoader("raresearch.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    printed = columns(table)
    script, _, _ = environment.loader.get_source(environment, "page.js")  # type: ignore[union-attr]
    return environment.get_template("page.html.j2").render(
        table=table,
        card=card,
        columns=printed,
        groups=_groups(printed),
        sections=_sections(pictures, absent, findings),
        comparison=comparison_sheet(findings),
        variance=variance_sheet(findings),
        findings=findings,
        own=own,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        objective=pretty(table.objective),
        caption=table_caption(table),
    )


def fitted(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures as the page holds them: SVG, of which the heaviest give way to lighter PNGs where all would be too much."""
    found = list(pictures)
    total = sum(len(p.svg) for p in found)
    for number in sorted(range(len(found)), key=lambda n: len(found[n].png) - len(found[n].svg)):
        if total > INLINE and len(found[number].png) < len(found[number].svg):
            total -= len(found[number].svg) - len(found[number].png)
            found[number] = replace(found[number], adapts=False)
    return found


@dataclass(frozen=True)
class Filled:
    """A section of the page with what there is for it."""

    name: str
    title: str
    pictures: tuple[Picture, ...]
    absent: tuple[str, ...]


def _sections(pictures: Sequence[Picture], absent: Sequence[tuple[str, str]], findings: Findings) -> list[Filled]:
    """The sections that have anything to show; the results always are."""
    found, shown = [], fitted(pictures)
    for section in SECTIONS:
        own = tuple(p for p in shown if p.section == section.name)
        missing = tuple(text for name, text in absent if name == section.name)
        tables = section.name == "results" or (section.name == "certainty" and (findings.comparisons or findings.variance))
        if own or missing or tables:
            found.append(Filled(section.name, section.title, own, missing))
    return found


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
        f"{sentence(pretty(table.objective))} on validation, {averaged_how(table)}. Epochs and "
        "thresholds were chosen on the same validation events, so these values are optimistic, and the best of many means is "
        "more so."
    )
    if any(row.limits for row in table.rows):
        text += " “≥”: in some repeats the background ran out, and their values are lower limits."
    return text


def markdown(
    table: StudyTable,
    card: Card,
    findings: Findings,
    drawings: Sequence[Drawing],
    files: Mapping[str, str],
    own: Sequence[tuple[str, Sheet]] = (),
) -> str:
    """The report as Markdown: the same tables, the figures as links."""
    blocks = [f"# {_escaped(card.facts.get('Study', 'study'))}"]
    if card.stamp:
        blocks.append(f"**Simulated data:** {_escaped(card.stamp)}.")
    blocks += [f"## Results\n\n{table_caption(table)}", table.to_markdown().rstrip()]
    blocks += [f"*{_escaped(note)}*" for note in table.notes]
    for title, sheet in (*own, ("Comparison", comparison_sheet(findings)), ("Variance", variance_sheet(findings))):
        if sheet is not None:
            blocks.append(f"## {_escaped(title)}\n\n{_escaped(sheet.caption)}\n\n{_sheet(sheet)}")
    blocks += [f"*{_escaped(note)}*" for note in findings.notes]
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
    lines = [f"- {_opening(entry, len(card.openings))}" for entry in card.openings]
    if card.late:
        lines.append(f"\n**{card.late} cells were trained after the test labels had been opened.**")
    return lines


def _opening(entry: Mapping[str, Any], looks: int) -> str:
    text = {name: _escaped(str(entry.get(name, "?"))) for name in ("time", "reason", "config", "choice", "hash", "number")}
    look = "look {number}, " if looks > 1 else ""
    return (look + "{time}: {reason} (config {config}, choice {choice}, entry {hash})").format(**text)


def _sheet(sheet: Sheet) -> str:
    lines = [sheet.header, ["---", *["---:"] * (len(sheet.header) - 1)], *([_escaped(c) for c in row] for row in sheet.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Text from the store as text: no Markdown, no HTML, one line."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
