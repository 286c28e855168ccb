"""The three pictures of an event, made as arrays. N events; pictures are (N, 3, H, W), 8 bits a colour, on white."""

from __future__ import annotations

import numpy as np

from raresearch.experiments.xenon1t.detector import Detector
from raresearch.experiments.xenon1t.discs import draw_hits
from raresearch.experiments.xenon1t.light import Counts, Photons, s2_top_pattern
from raresearch.experiments.xenon1t.lines import draw_peak
from raresearch.experiments.xenon1t.panels import Layout
from raresearch.experiments.xenon1t.recoils import Recoils
from raresearch.experiments.xenon1t.waveforms import Waveforms, s1_waveforms, s2_waveforms
from raresearch.types import Array

_S1_PAD, _S2_PAD, _S2_PAD_HIGH, _HIGH = 10, 50, 200, 100.0  # samples shown beside a signal; more beside a high S2 (pax)


def pictures(
    recoils: Recoils,
    counts: Counts,
    photons: Photons,
    layout: Layout,
    detector: Detector,
    streams: tuple[np.random.Generator, np.random.Generator],
) -> Array:
    """Pictures of ``layout``. ``streams``: of S2's hit pattern and of its waveform, used only where drawn, so that the same
    event has the same signals in every kind of picture."""
    image = np.ones((len(recoils), 3, *layout.shape), dtype=np.float32)
    if layout.hits:
        patterns = photons.bottom_pattern, s2_top_pattern(recoils, counts, detector, streams[0])
        draw_hits(image, patterns, layout.hits)
    if layout.peaks:
        first, second = s1_waveforms(photons), s2_waveforms(recoils, counts, detector, streams[1])
        draw_peak(image, first, *shown(first, np.full(len(recoils), _S1_PAD)), layout.peaks[0])
        draw_peak(image, second, *shown(second, np.where(second.height > _HIGH, _S2_PAD_HIGH, _S2_PAD)), layout.peaks[1])
    return eight_bits(image)


def shown(waveforms: Waveforms, pad: Array) -> tuple[Array, Array]:
    """First and last sample (N,) that the axes show."""
    return waveforms.left - pad, waveforms.right + pad


def eight_bits(image: Array) -> Array:
    """0 … 1 → 0 … 255, rounded, uint8."""
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
