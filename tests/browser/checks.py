"""What a report must be in a browser: functions that return complaints, for the tests and for `look.py`.

Widths and colour schemes are emulated through the DevTools protocol, so that 400 px are 400 px.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDTHS = (1280, 400)
SCHEMES = ("light", "dark")
HEAVIEST = 5_000_000  # bytes
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

OVERFLOW = """() => {
  const room = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > room)
    found.push(`the page is ${document.documentElement.scrollWidth} px wide in ${room} px`);
  const scrolls = (e) => { for (; e; e = e.parentElement) if (/auto|scroll|hidden/.test(getComputedStyle(e).overflowX)) return true; };
  for (const e of document.body.querySelectorAll("*")) {
    const box = e.getBoundingClientRect();
    if (box.width && box.right > room + 1 && !scrolls(e)) found.push(`${e.tagName}.${e.className} ends at ${box.right} px of ${room}`);
  }
  return found.slice(0, 5);
}"""

OVERLAP = """() => {
  const found = [], flows = (e) => {
    const s = getComputedStyle(e), b = e.getBoundingClientRect();
    return s.display !== "inline" && !/absolute|fixed|sticky/.test(s.position) && b.width > 0 && b.height > 0;
  };
  for (const parent of document.querySelectorAll("body, main, header, section, figure, div, dl, ul, details, nav, footer")) {
    const boxes = [...parent.children].filter(flows).map((e) => [e, e.getBoundingClientRect()]);
    for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
      const [a, p] = boxes[i], [b, q] = boxes[j];
      const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left), high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (wide > 1 && high > 1) found.push(`${a.tagName}.${a.className} lies over ${b.tagName}.${b.className}`);
    }
  }
  return found.slice(0, 5);
}"""

# Contrast as WCAG 2.1 defines it: 4.5 for text, 3 for large text.
CONTRAST = """() => {
  const rgb = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  for (const e of document.body.querySelectorAll("*")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
    if (e.tagName === "SCRIPT" || e.tagName === "STYLE") continue;
    const s = getComputedStyle(e), a = light(rgb(s.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(s.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(s.fontWeight) >= 700) ? 3 : 4.5;
    if (ratio < least) found.add(`${e.tagName}.${e.className}: ${ratio.toFixed(2)} for "${e.textContent.trim().slice(0, 30)}"`);
  }
  return [...found].slice(0, 5);
}"""

IMAGES = """() => [...document.images].filter((i) => i.getAttribute("src") && !(i.complete && i.naturalWidth))
  .map((i) => `no picture: ${i.alt.slice(0, 60)}`)"""


def program() -> str | None:
    """A Chromium of this machine, or the one that playwright brought; None where there is none."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found:
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield running
        finally:
            running.close()


@contextmanager
def opened(running: Any, path: Path, width: int, scheme: str) -> Iterator[tuple[Any, list[str]]]:
    """(page, complaints so far) of the file ``path``: errors on the console and requests that leave the file."""
    context = running.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, found = context.new_page(), list[str]()
    page.on("console", lambda m: found.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: found.append(f"error: {e}"))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else found.append(f"request: {r.url}"))
    try:
        page.goto(path.resolve().as_uri(), wait_until="load")
        yield page, found
    finally:
        context.close()


def complaints(running: Any, path: Path, picture: Path | None = None) -> list[str]:
    """All that is wrong with the report ``path`` at every width and in both schemes; writes ``picture``-WIDTH-SCHEME.png where asked."""
    size = path.stat().st_size
    found = [f"{size:,} bytes, at most {HEAVIEST:,}"] if size > HEAVIEST else []
    for width in WIDTHS:
        for scheme in SCHEMES:
            with opened(running, path, width, scheme) as (page, seen):
                page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
                for check in (OVERFLOW, OVERLAP, CONTRAST, IMAGES):
                    seen += page.evaluate(check)
                if picture is not None:
                    page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = false)")
                    page.screenshot(path=f"{picture}-{width}-{scheme}.png", full_page=True)
            found += [f"{width} px, {scheme}: {text}" for text in dict.fromkeys(seen)]
    return found
