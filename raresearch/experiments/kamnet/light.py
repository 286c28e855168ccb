"""Photoelectrons of events, and what each tube records: its first time and its charge. Times in ns, charges in PE.

Legend: N events, P photoelectrons, H hits (an event's tube with at least one photoelectron).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.experiments.kamnet.detector import Detector
from raresearch.experiments.kamnet.events import Seen
from raresearch.experiments.kamnet.tubes import TUBES, large, places, towards_tubes
from raresearch.types import Array

DARK_WINDOW = -40.0, 120.0  #: ns around the decay [A]: 160 ns
LEAST_CHARGE = 0.1  #: PE [A]: smaller draws of a photoelectron's charge count as this
REFERENCE = 0.22 * 0.23  # photocoverage times quantum efficiency to which the light yield refers


@dataclass(frozen=True, slots=True)
class Hits:
    """``event`` (H,), ``tube`` (H,), ``time`` (H,) of the first photoelectron, ``charge`` (H,) of all. Sorted by event."""

    event: Array
    tube: Array
    time: Array
    charge: Array


def emission(detector: Detector, rng: np.random.Generator, n: int) -> Array:
    """(n,) ns: scintillation with its rise and two decays."""
    slow = rng.random(n, dtype=np.float32) >= detector.fast_fraction
    decay = np.where(slow, np.float32(detector.slow_time), np.float32(detector.fast_time))
    late = rng.standard_exponential(n, dtype=np.float32) * decay
    return np.asarray(late + rng.standard_exponential(n, dtype=np.float32) * np.float32(detector.rise_time))


def photoelectrons(seen: Seen, detector: Detector, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Event, tube and time (P,) of each, those of noise too."""
    found = seen.deposits
    bright = detector.light_yield * detector.photocoverage * detector.quantum_efficiency / REFERENCE
    source = np.repeat(np.arange(len(found.event)), rng.poisson(bright * found.energy))
    tube, distance = towards_tubes(found.place, source, detector, rng)
    time = found.time.astype(np.float32)[source] + emission(detector, rng, len(source)) + distance / detector.light_speed
    dark = np.repeat(np.arange(len(seen)), rng.poisson(detector.dark_hits, len(seen)))
    noise = rng.integers(0, TUBES, len(dark), dtype=np.int32), rng.uniform(*DARK_WINDOW, len(dark))
    # Dark hits count from the decay, light from its arrival: both are put on the clock of the arrival at a central tube.
    arrival = detector.pmt_radius / detector.light_speed
    return (
        np.r_[found.event[source], dark],
        np.r_[tube, noise[0]],
        np.r_[time, (noise[1] + arrival).astype(np.float32)],
    )


def hits(seen: Seen, detector: Detector, rng: np.random.Generator) -> Hits:
    """What the tubes record of ``seen``."""
    event, tube, time = photoelectrons(seen, detector, rng)
    spread = np.where(large(), detector.spread_20, detector.spread_17).astype(np.float32)
    time = time + spread[tube] * rng.standard_normal(len(tube), dtype=np.float32)
    charge = 1.0 + detector.charge_spread * rng.standard_normal(len(tube), dtype=np.float32)
    slot = event * TUBES + tube
    first = np.full(len(seen) * TUBES, np.inf, np.float32)
    np.minimum.at(first, slot, time)
    total = np.bincount(slot, np.maximum(charge, LEAST_CHARGE), minlength=len(first))
    lit = np.flatnonzero(total)
    return Hits(lit // TUBES, lit % TUBES, first[lit].astype(np.float64), total[lit])


def proper_times(found: Hits, vertex: Array, detector: Detector) -> Array:
    """(H,) Eqs. 1 and 2: times less the time of flight from ``vertex`` (N, 3), less their charge-weighted mean."""
    tubes = detector.pmt_radius * places()
    # Coordinate by coordinate: rows of three numbers would be gathered and summed one row at a time.
    x, y, z = (tubes[:, i][found.tube] - vertex[:, i][found.event] for i in range(3))
    away = np.sqrt(x * x + y * y + z * z)
    time = found.time - away / detector.light_speed
    n = len(vertex)
    charge = np.bincount(found.event, found.charge, minlength=n)
    start = np.bincount(found.event, time * found.charge, minlength=n) / np.where(charge > 0, charge, 1.0)
    return np.asarray(time - start[found.event])
