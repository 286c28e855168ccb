"""Examine reports in a headless Chromium and take their pictures.

    python tests/browser/look.py REPORT.html… [--out FOLDER]

Prints what is wrong with each (nothing: fine) and exits with 1 where something is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from checks import browser, complaints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="folder for pictures")
    asked = parser.parse_args()
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with browser() as running:
        for path in asked.reports:
            name = path.resolve().parent.parent.name
            found = complaints(running, path, asked.out / name if asked.out else None)
            wrong += len(found)
            print(f"{name}: {path.stat().st_size / 1e6:.2f} MB, {len(found)} complaints", *found, sep="\n  ")
    sys.exit(int(wrong > 0))


if __name__ == "__main__":
    main()
