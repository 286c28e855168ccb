"""Charge to images, compiled: drift, diffusion, strips, shaping, noise, zero suppression, ADC, alignment.

Pulses are sampled once a pixel of z (8.02 samples of 200 ns), at its middle, instead of at each sample [A]; noise is drawn
for pixels with charge only, since 5 standard deviations leave one false pixel in 400 images.

Legend: P = 2 planes (XZ, YZ), strips, T pixels of z.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from raresearch.experiments.pandax3.compiled import compiled
from raresearch.experiments.pandax3.detector import FULL, Q_VALUE, SIDE, Gas, Tpc
from raresearch.types import Array

ADC = 4096  #: counts at full scale
_PULSE = 12  # pixels after which the AGET response has ended


class Readout(NamedTuple):
    """What kernels need, in cm and keV. ``pulse`` (12,): amplitude of 1 keV by pixel after its arrival, 1 at the top."""

    radius: float
    length: float
    transverse: float
    longitudinal: float
    packet: float
    pitch: float
    window: float
    pulse: Array
    noise: float
    threshold: float
    full_scale: float
    smear: float
    low: float
    high: float
    least_charge: float


def build_readout(gas: Gas, tpc: Tpc) -> Readout:
    """Constants in the units of the kernels."""
    noise = tpc.noise * tpc.full_scale / ADC
    return Readout(
        gas.radius,
        gas.length,
        tpc.diffusion_transverse,
        tpc.diffusion_longitudinal,
        tpc.packet,
        tpc.pitch,
        tpc.window * tpc.velocity / 10.0,
        pulse(tpc.pitch * 10.0 / tpc.velocity, tpc.shaping),
        noise,
        tpc.threshold * noise,
        tpc.full_scale,
        tpc.resolution * Q_VALUE / math.sqrt(8.0 * math.log(2.0)),
        tpc.roi_low,
        tpc.roi_high,
        tpc.least_charge,
    )


def pulse(pixel: float, shaping: float) -> Array:
    """(12,) AGET response exp(-3t) t³ sin t, t in units of ``shaping`` (us), in the middle of pixels of ``pixel`` us."""
    t = (np.arange(_PULSE) + 0.5) * pixel / shaping
    fine = np.linspace(0, np.pi, 2001)

    def response(t: Array) -> Array:
        result: Array = np.where(t < np.pi, np.exp(-3 * t) * t**3 * np.sin(t), 0.0)
        return result

    result: Array = response(t) / response(fine).max()
    return result


@compiled
def drift(deposits: Array, number: int, readout: Readout, packets: Array, rng: np.random.Generator) -> int:
    """Deposits as packets (plane, place on the strips, z), diffused; half of them go to each plane. Returns their number."""
    carried, made = 0.0, 0
    for i in range(number):
        carried += deposits[i, 3]
        while carried >= readout.packet and made < len(packets):
            carried -= readout.packet
            way = math.sqrt(deposits[i, 2])
            plane = 0 if rng.random() < 0.5 else 1
            packets[made, 0] = plane
            packets[made, 1] = deposits[i, plane] + readout.transverse * way * rng.standard_normal()
            packets[made, 2] = deposits[i, 2] + readout.longitudinal * way * rng.standard_normal()
            made += 1
    return made


@compiled
def collect(packets: Array, number: int, readout: Readout, charge: Array) -> tuple[float, int, int]:
    """Packets within the window into ``charge`` (P, strips, T), keV. Returns the energy and the range of strips."""
    first = packets[0, 2]
    for i in range(1, number):
        first = min(first, packets[i, 2])
    energy, low, high = 0.0, charge.shape[1], -1
    for i in range(number):
        t = packets[i, 2] - first
        if t > readout.window:
            continue
        strip = int((packets[i, 1] + readout.radius) / readout.pitch)
        strip = min(max(strip, 0), charge.shape[1] - 1)
        charge[int(packets[i, 0]), strip, int(t / readout.pitch)] += readout.packet
        energy += readout.packet
        low, high = min(low, strip), max(high, strip)
    return energy, low, high


@compiled
def digitise(charge: Array, low: int, high: int, readout: Readout, counts: Array, rng: np.random.Generator) -> int:
    """Pulses of strips ``low`` to ``high`` as whole counts of `FULL` at full scale; number of pixels above threshold."""
    hits, t_max = 0, counts.shape[2]
    for plane in range(2):
        for strip in range(low, high + 1):
            for t in range(t_max):
                amplitude = 0.0
                for k in range(min(t + 1, len(readout.pulse))):
                    if t - k < charge.shape[2]:
                        amplitude += readout.pulse[k] * charge[plane, strip, t - k]
                counts[plane, strip, t] = 0
                if amplitude <= 0.0:
                    continue
                amplitude += readout.noise * rng.standard_normal()
                if amplitude >= readout.threshold:
                    counts[plane, strip, t] = int(min(1.0, amplitude / readout.full_scale) * FULL + 0.5)
                    hits += 1
    return hits


@compiled
def frame(counts: Array, low: int, high: int, image: Array) -> float:
    """``image`` (P, 64, 64): each plane with its centre of charge in pixel 32. Least share of a plane's charge inside."""
    least = 1.0
    for plane in range(2):
        total, strips, times = 0.0, 0.0, 0.0
        for strip in range(low, high + 1):
            for t in range(counts.shape[2]):
                c = counts[plane, strip, t]
                total += c
                strips += c * strip
                times += c * t
        if total == 0.0:
            return 0.0
        s0, t0 = int(strips / total + 0.5) - SIDE // 2, int(times / total + 0.5) - SIDE // 2
        kept = 0.0
        for strip in range(max(low, s0), min(high + 1, s0 + SIDE)):
            for t in range(max(0, t0), min(counts.shape[2], t0 + SIDE)):
                image[plane, strip - s0, t - t0] = counts[plane, strip, t]
                kept += counts[plane, strip, t]
        least = min(least, kept / total)
    return least
