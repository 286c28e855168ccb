"""A figure's SVG for a page that is read in the dark.

Colours are exchanged by a style sheet inside the SVG, which holds only where the reader prefers a dark scheme. Print and
everything outside the page show the colours that were drawn.
"""

from __future__ import annotations

#: drawn → in the dark; text keeps a contrast of at least 7 against the ground, lines of at least 4.5
DARK = {
    "#ffffff": "#1b2029",
    "#1f2430": "#e7eaf0",
    "#000000": "#e7eaf0",
    "#6b7280": "#a4adbd",
    "#e3e6eb": "#343c49",
    "#0072b2": "#56a9e8",
    "#d55e00": "#ff8f4d",
    "#009e73": "#35cf9f",
    "#cc79a7": "#e59cc6",
    "#e69f00": "#f2b73a",
    "#56b4e9": "#a9defa",
    "#4d4d4d": "#b9c0cc",
}


def for_the_dark(svg: bytes) -> bytes:
    """``svg`` with the style sheet put in; everything else stays as it is."""
    rules = "".join(
        f'[style*="{part}: {drawn}"]{{{part}:{shown}!important}}'
        for drawn, shown in DARK.items()
        for part in ("fill", "stroke")
    )
    sheet = f"<style>@media (prefers-color-scheme: dark) {{{rules}}}</style>"
    head, end, body = svg.partition(b"</defs>")
    return head + sheet.encode() + end + body if end else svg
