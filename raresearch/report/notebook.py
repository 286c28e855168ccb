"""Tables and facts as a notebook shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from raresearch.report.labels import pretty
from raresearch.report.tabular import averaged_how, columns

if TYPE_CHECKING:
    from raresearch.report.table import StudyTable


def table_html(table: StudyTable) -> str:
    """The printed columns, the best row in bold; labels are escaped."""
    printed = columns(table)
    rows = [_row((c.cells[number] for c in printed), "td", row is table.best) for number, row in enumerate(table.rows)]
    head = _row((c.title for c in printed), "th", False)
    caption = Markup("<caption>{} on validation, {}</caption>").format(pretty(table.objective), averaged_how(table))
    return Markup("<table>{}<thead>{}</thead><tbody>{}</tbody></table>").format(caption, head, Markup("").join(rows))


def facts_html(title: str, facts: Mapping[str, object]) -> str:
    """A heading and two columns: name, text."""
    rows = Markup("").join(_row((name, text), "td", False) for name, text in facts.items())
    return Markup("<strong>{}</strong><table><tbody>{}</tbody></table>").format(title, rows)


def together(parts: Sequence[str]) -> str:
    """Pieces of HTML below each other."""
    return "<div>" + "".join(parts) + "</div>"


def _row(cells: Iterable[object], kind: str, best: bool) -> Markup:
    inner = Markup("").join(
        Markup(f"<{kind}>{{}}</{kind}>").format(Markup("<b>{}</b>").format(c) if best else escape(c)) for c in cells
    )
    return Markup("<tr>{}</tr>").format(inner)
