"""The thirteen features of the paper's Table 1, by one function for physical and accidental events alike.

Had the classes two implementations, a network could learn the difference between the programs.
"""

from __future__ import annotations

import numpy as np

from raresearch.experiments.pandax2.detector import N_BOTTOM, Detector
from raresearch.experiments.pandax2.s1 import Hits
from raresearch.experiments.pandax2.s2 import BIN, Pulses
from raresearch.types import Array

#: columns in the order of the paper's Table 1; widths of S1 in ns, of S2 in µs, charges in PE
FEATURES = (
    "qS1",
    "qS2",
    "qS1c",
    "qS2c",
    "wS1",
    "wS2",
    "wtenS2",
    "S1TBA",
    "S2TBA",
    "S2SY1",
    "S2SY2",
    "S1NPeaks",
    "S1LargestBCQ",
)
COLUMN = {name: number for number, name in enumerate(FEATURES)}

# What Table 1 leaves open, assumed here: S1 is sampled in 10 ns bins (100 MS/s), a photoelectron pulse is a triangle of 20 ns,
# a local maximum counts from 0.1 PE per bin, and the smeared S2 waveform is smoothed twice by a mean over 250 ns.
_S1_BIN = 10.0
_S1_BINS = 128
_S1_START = -60.0
_PEAK_HEIGHT = 0.1
_SMEAR = 5


def features(hits: Hits, pulses: Pulses, drift_time: Array, detector: Detector) -> Array:
    """The features (N, 13), float64. ``drift_time`` (µs) is the apparent one, which is all that an analysis has.

    A signal without charge has zeros in place of its shape.
    """
    q1, q2 = hits.total, pulses.waveform.sum(axis=1)
    s1, smooth = s1_waveform(hits), smear(pulses.waveform)
    columns = (
        q1,
        q2,
        q1 / detector.s1_light(drift_time),
        q2 / detector.survival(drift_time),
        central_width(s1, 0.1, 0.9) * _S1_BIN,
        # On the smeared waveform: with tens of electrons the raw one crosses half of its maximum many times.
        full_width(smooth, 0.5) * BIN,
        full_width(smooth, 0.1) * BIN,
        _asymmetry(_top_charge(hits), q1),
        _asymmetry(pulses.top, q2),
        _rise(pulses.waveform),
        _rise(smooth),
        _n_peaks(s1),
        _ratio(_largest_bottom(hits), q1),
    )
    return np.stack(columns, axis=1)


def s1_waveform(hits: Hits) -> Array:
    """Waveform (N, 128) in PE per 10 ns; a hit's charge is shared by the bin it falls in and its two neighbours."""
    column = np.clip(((hits.time - _S1_START) / _S1_BIN).astype(np.int64), 1, _S1_BINS - 2)
    size = hits.n * _S1_BINS
    raw = np.bincount(hits.signal * _S1_BINS + column, weights=hits.charge, minlength=size).reshape(hits.n, _S1_BINS)
    waveform = 0.5 * raw
    waveform[:, 1:] += 0.25 * raw[:, :-1]
    waveform[:, :-1] += 0.25 * raw[:, 1:]
    return np.asarray(waveform)


def smear(waveform: Array) -> Array:
    """``waveform`` (N, K) smoothed twice by a centred running mean over five bins; charge is kept inside the window.

    Sums first, one division at the end: sums of whole photoelectrons are exact, so that ties with a fraction of the maximum,
    which are frequent in small pulses, fall alike on every machine.
    """
    return _running_sum(_running_sum(waveform)) / _SMEAR**2


def _running_sum(waveform: Array) -> Array:
    half = _SMEAR // 2
    padded = np.pad(waveform, ((0, 0), (half + 1, half)))
    total = np.cumsum(padded, axis=1)
    return np.asarray(total[:, _SMEAR:] - total[:, :-_SMEAR])


def central_width(waveform: Array, low: float, high: float) -> Array:
    """Bins (N,) between the ``low`` and the ``high`` quantile of charge, interpolated within bins."""
    cumulative = np.cumsum(waveform, axis=1)
    total = cumulative[:, -1]
    return _quantile(cumulative, waveform, high * total) - _quantile(cumulative, waveform, low * total)


def _quantile(cumulative: Array, waveform: Array, charge: Array) -> Array:
    column = np.minimum((cumulative < charge[:, None]).sum(axis=1), waveform.shape[1] - 1)
    row = np.arange(len(waveform))
    inside = charge - (cumulative[row, column] - waveform[row, column])
    return np.asarray(column + _ratio(inside, waveform[row, column]))


def full_width(waveform: Array, fraction: float) -> Array:
    """Bins (N,) between the outermost crossings of ``fraction`` of the maximum, interpolated between bin centres."""
    level = fraction * waveform.max(axis=1)
    above = (waveform >= level[:, None]) & (level > 0.0)[:, None]
    first, last = above.argmax(axis=1), waveform.shape[1] - 1 - above[:, ::-1].argmax(axis=1)
    width = last - first + _beyond(waveform, first, -1, level) + _beyond(waveform, last, 1, level)
    return np.where(level > 0.0, width, 0.0)


def _beyond(waveform: Array, column: Array, step: int, level: Array) -> Array:
    """Fraction of a bin from ``column`` outwards to the crossing; 0 at the window's edge."""
    row = np.arange(len(waveform))
    inside = waveform[row, column]
    neighbour = column + step
    outside = waveform[row, np.clip(neighbour, 0, waveform.shape[1] - 1)]
    return np.where((neighbour >= 0) & (neighbour < waveform.shape[1]), _ratio(inside - level, inside - outside), 0.0)


def _rise(waveform: Array) -> Array:
    """Share (N,) of the charge that lies before the bin of the maximum."""
    before = np.arange(waveform.shape[1]) < waveform.argmax(axis=1)[:, None]
    return _ratio((waveform * before).sum(axis=1), waveform.sum(axis=1))


def _n_peaks(waveform: Array) -> Array:
    """Local maxima (N,) above the peak height; a plateau counts once."""
    centre, left, right = waveform[:, 1:-1], waveform[:, :-2], waveform[:, 2:]
    return np.asarray(np.sum((centre > left) & (centre >= right) & (centre > _PEAK_HEIGHT), axis=1), dtype=np.float64)


def _top_charge(hits: Hits) -> Array:
    return np.bincount(hits.signal, weights=hits.charge * (hits.channel >= N_BOTTOM), minlength=hits.n)


def _largest_bottom(hits: Hits) -> Array:
    bottom = hits.channel < N_BOTTOM
    slot = hits.signal[bottom] * N_BOTTOM + hits.channel[bottom]
    charge = np.bincount(slot, weights=hits.charge[bottom], minlength=hits.n * N_BOTTOM)
    return np.asarray(charge.reshape(hits.n, N_BOTTOM).max(axis=1))


def _asymmetry(top: Array, total: Array) -> Array:
    """(q_T - q_B) / (q_T + q_B), clipped to [-1, 1] against rounding."""
    return np.clip(_ratio(2.0 * top - total, total), -1.0, 1.0)


def _ratio(numerator: Array, denominator: Array) -> Array:
    out: Array = np.zeros(np.shape(numerator))
    return np.divide(numerator, denominator, out=out, where=denominator > 0.0)
