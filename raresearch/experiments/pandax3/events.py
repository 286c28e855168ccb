"""A block's events of one class, compiled: transport, selection, image. Energies in keV, lengths in cm."""

from __future__ import annotations

import numpy as np

from raresearch.experiments.pandax3.compiled import compiled
from raresearch.experiments.pandax3.readout import Readout, collect, digitise, drift, frame
from raresearch.experiments.pandax3.tables import Physics
from raresearch.experiments.pandax3.transport import follow, start_decay, start_gamma
from raresearch.types import Array

STACK, DEPOSITS, PACKETS = 4096, 40_000, 20_000  # rows; an event of 2.6 MeV has some 10, 2,000 and 2,600
COLUMNS = 3  #: of `observers`: smeared energy (keV), pixels above threshold, least share of a plane's charge in its frame


@compiled
def throw(
    decay: bool,
    energy: float,
    most: float,
    quantiles: Array,
    physics: Physics,
    stack: Array,
    counts: Array,
    deposits: Array,
    rng: np.random.Generator,
) -> float:
    """One event into ``deposits``; the energy that escaped."""
    counts[0], counts[1] = 0, 0
    if decay:
        start_decay(energy, quantiles, physics, stack, counts, rng)
    else:
        start_gamma(energy, physics, stack, counts, rng)
    return follow(most, physics, stack, counts, deposits, rng)


@compiled
def accepted(
    decay: bool,
    energy: float,
    quantiles: Array,
    physics: Physics,
    readout: Readout,
    images: Array,
    observers: Array,
    most: int,
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Throws until ``images`` (n, 2, 64, 64) and ``observers`` (n, 3) are full or ``most`` were thrown in a row in vain.

    Returns the numbers of accepted events and of throws. The smear is drawn first: an event whose escaped energy forbids the
    region of interest is given up at once, which changes no distribution.
    """
    stack, counts = np.empty((STACK, 8)), np.zeros(2, np.int64)
    deposits, packets = np.empty((DEPOSITS, 4)), np.empty((PACKETS, 3))
    strips = int(2.0 * readout.radius / readout.pitch) + 2
    times = int(readout.window / readout.pitch) + 1
    charge = np.zeros((2, strips, times))
    pulses = np.zeros((2, strips, times + len(readout.pulse)))
    done, throws, vain = 0, 0, 0
    while done < len(images) and vain < most:
        throws += 1
        vain += 1
        smear = readout.smear * rng.standard_normal()
        spare = energy + smear - readout.low
        if spare < 0.0 or throw(decay, energy, spare, quantiles, physics, stack, counts, deposits, rng) > spare:
            continue
        made = drift(deposits, counts[1], readout, packets, rng)
        if made == 0:
            continue
        seen, low, high = collect(packets, made, readout, charge)
        smeared = seen + smear
        if readout.low <= smeared <= readout.high:
            hits = digitise(charge, low, high, readout, pulses, rng)
            kept = frame(pulses, low, high, images[done])
            if kept >= readout.least_charge:
                observers[done, 0], observers[done, 1], observers[done, 2] = smeared, hits, kept
                done += 1
                vain = 0
            else:
                images[done] = 0
        charge[:, low : high + 1] = 0.0
    return done, throws
