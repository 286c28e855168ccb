"""Accepted PandaX-III images a second a core, compilation apart. `python tests/benchmarks/pandax3_simulator.py [--json]`

Seconds are those of the process's CPU, so that other work on the machine counts less. Asked: at least 1,000 signal, 400
214Bi and 100 208Tl, the figures of a scratch prototype.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from raresearch.experiments.pandax3.simulator import Settings, filled

ASKED = {"0vbb": 1000.0, "Bi214": 400.0, "Tl208": 100.0}


def measured(name: str, events: int) -> dict[str, float]:
    """Rate, its ratio to what is asked, and the share of throws that is accepted."""
    started = time.process_time()
    _, _, throws = filled(name, Settings.of({}), np.random.default_rng(1), events)
    rate = events / (time.process_time() - started)
    return {"images_per_second": rate, "over_asked": rate / ASKED[name], "accepted": events / throws}


def main() -> None:
    started = time.perf_counter()
    for name in ASKED:
        filled(name, Settings.of({}), np.random.default_rng(0), 1)
    found: dict[str, object] = {"first_call_seconds": time.perf_counter() - started}
    found |= {name: measured(name, int(2 * asked)) for name, asked in ASKED.items()}
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(name, value)


if __name__ == "__main__":
    main()
