"""`simulate`: a block of exactly n found XENON1T events as pictures, a function of config and random stream alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raresearch.errors import DataError, SpaceError, nearest
from raresearch.experiments.constants import build
from raresearch.experiments.xenon1t.detector import Detector
from raresearch.experiments.xenon1t.halo import Wimp
from raresearch.experiments.xenon1t.images import pictures
from raresearch.experiments.xenon1t.light import Counts, detect, s1_photons, survival
from raresearch.experiments.xenon1t.panels import LAYOUTS, Layout
from raresearch.experiments.xenon1t.quanta import Species
from raresearch.experiments.xenon1t.recoils import Electrons, Recoils, charge, find, throw
from raresearch.types import Array, Config

CLASSES = ("ER", "WIMP")
OBSERVERS = ("cS1", "cS2", "energy", "r", "z")
KEV_PER_QUANTUM = 0.0137  #: keV_ee, the combined energy scale

_CHUNK = 250  # events drawn at once: their waveforms and pictures fit into a cache
_MAX_THROWS = 400  # in a row without a found event


@dataclass(frozen=True, slots=True)
class Settings:
    """A parsed config: what `simulate` needs to know."""

    detector: Detector
    wimp: Wimp
    electrons: Electrons
    layout: Layout
    fraction_wimp: float

    @classmethod
    def of(cls, config: Config) -> Settings:
        """From a flat config; names that it lacks have their defaults. Raises `SpaceError` for what cannot be."""
        detector = build(Detector, config)
        if not detector.fiducial_top < detector.fiducial_bottom <= detector.drift_length:
            raise SpaceError(
                "data.fiducial_bottom", "must lie between data.fiducial_top and data.drift_length", "depths count downwards"
            )
        wimp = build(Wimp, config)
        if wimp.halo_escape <= wimp.halo_earth:
            raise SpaceError("data.halo_escape", "must exceed data.halo_earth", "the defaults are 544 and 252.1 km/s")
        return cls(detector, wimp, build(Electrons, config), layout_of(config), _fraction(config))


def layout_of(config: Config) -> Layout:
    """The layout that ``data.image`` names. Raises `SpaceError`."""
    name = config.get("data.image", "hitpeak")
    if not isinstance(name, str) or name not in LAYOUTS:
        raise SpaceError(f"data.image: {name!r}", f"must be one of {', '.join(LAYOUTS)}", nearest(str(name), LAYOUTS))
    return LAYOUTS[name]


def simulate(config: Config, rng: np.random.Generator, n: int, canvas: int) -> dict[str, Array]:
    """Exactly ``n`` found events in random order: ``image`` (n, 3, canvas) uint8, a picture's pixels row by row and then
    zeros, ``class`` (n,) int8, the observers (n,) float64.

    The number of WIMPs is fixed by their fraction. Raises `SpaceError` for a bad config or a picture larger than the canvas.
    """
    settings = Settings.of(config)
    if settings.layout.pixels > canvas:
        rule = f"has {settings.layout.pixels} pixels, more than the {canvas} that an event holds"
        raise SpaceError(f"data.image: {config.get('data.image')!r}", rule, "experiment: xenon1t_wide holds it")
    recoils, counts, class_number = found_events(settings, rng, n)
    columns: dict[str, Array] = {"image": np.zeros((n, 3, canvas), dtype=np.uint8), "class": class_number}
    columns |= {name: np.empty(n) for name in OBSERVERS}
    start = 0
    for image, observers in drawn(recoils, counts, settings, rng):
        rows = slice(start, start + len(image))
        columns["image"][rows, :, : settings.layout.pixels] = image.reshape(len(image), 3, -1)
        for name, values in zip(OBSERVERS, observers, strict=True):
            columns[name][rows] = values
        start = rows.stop
    return columns


def found_events(settings: Settings, rng: np.random.Generator, n: int) -> tuple[Recoils, Counts, Array]:
    """``n`` events in random order, and their class numbers (n,)."""
    n_wimp = round(settings.fraction_wimp * n)
    numbers = (n - n_wimp, n_wimp)
    parts = [fill(species, settings, rng, m) for species, m in zip(("ER", "NR"), numbers, strict=True)]  # type: ignore[arg-type]
    order = rng.permutation(n)
    recoils = Recoils.merge([r for r, _ in parts]).select(order)
    counts = Counts.merge([c for _, c in parts]).select(order)
    return recoils, counts, np.repeat(np.arange(2, dtype=np.int8), numbers)[order]


def fill(species: Species, settings: Settings, rng: np.random.Generator, n: int) -> tuple[Recoils, Counts]:
    """Exactly ``n`` recoils that are found and have an S1 and an S2 to draw: throws until full."""
    detector, spectrum = settings.detector, settings.electrons if species == "ER" else settings.wimp
    parts: list[tuple[Recoils, Counts]] = []
    have, idle = 0, 0
    while have < n or not parts:
        recoils = throw(species, spectrum, 2 * (n - have) + 64, detector, rng)
        recoils = recoils.select(find(recoils, detector, rng).found)
        counts = detect(recoils, detector, rng)
        parts.append((recoils.select(counts.seen), counts.select(counts.seen)))
        found = len(parts[-1][0])
        have, idle = have + found, 0 if found else idle + 1
        if idle > _MAX_THROWS:
            raise DataError(f"xenon1t: {species}", f"{idle} throws in a row left no event", "reset the `data.*` values")
    first = np.arange(n)
    return Recoils.merge([r for r, _ in parts]).select(first), Counts.merge([c for _, c in parts]).select(first)


def drawn(
    recoils: Recoils, counts: Counts, settings: Settings, rng: np.random.Generator
) -> Iterator[tuple[Array, tuple[Array, ...]]]:
    """The pictures (n, 3, H, W) and `OBSERVERS` (n,) of all events, chunk by chunk."""
    detector = settings.detector
    light, pattern, waveform = rng.spawn(3)
    for start in range(0, len(recoils), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(recoils)))
        some, theirs = recoils.select(rows), counts.select(rows)
        photons = s1_photons(some, theirs, detector, light)
        cs1 = photons.area / detector.light(some.radius, some.depth)
        cs2 = charge(theirs.s2, detector, light) / survival(some.depth, detector)
        image = pictures(some, theirs, photons, settings.layout, detector, (pattern, waveform))
        yield image, (cs1, cs2, _energy(cs1, cs2, detector), some.radius, -some.depth)


def _energy(cs1: Array, cs2: Array, detector: Detector) -> Array:
    """Combined energy (keV_ee) from the corrected charges (PE): what an analysis has, whatever the recoil was."""
    photoelectrons = 1.0 + detector.dpe
    quanta = cs1 / (detector.g1 * photoelectrons) + cs2 / (detector.s2_gain * photoelectrons)
    return np.asarray(KEV_PER_QUANTUM * quanta)


def _fraction(config: Config) -> float:
    value = config.get("data.fraction_wimp", 0.5)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise SpaceError(f"data.fraction_wimp: {value!r}", "must lie in [0, 1]", "the paper has 0.5")
    return float(value)
