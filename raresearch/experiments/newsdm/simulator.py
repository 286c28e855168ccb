"""`simulate`: a block of exactly n accepted NEWSdm events as frames, a function of config and random stream alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raresearch.errors import DataError, SpaceError, nearest
from raresearch.experiments.constants import build
from raresearch.experiments.newsdm.emulsion import Crystals, Grains, Ions, Microscope, Silver
from raresearch.experiments.newsdm.filaments import grow
from raresearch.experiments.newsdm.optics import expose
from raresearch.experiments.newsdm.shift import shifts
from raresearch.experiments.newsdm.tracks import carbon, fog, rotated
from raresearch.types import Array, Config

CLASSES = ("fog", "C30keV", "C100keV")
FOG, C30, C100 = range(3)
OBSERVERS = ("barshift", "direction", "brightness", "angle", "orientation")
PRESETS = ("default", "identical_grains")
MODELS = (Ions, Crystals, Grains, Silver, Microscope)

_ENERGY = np.array([np.nan, 30.0, 100.0])  # keV, by class number
_CHUNK = 250  # events exposed at once: their frames fit into a cache
_MAX_THROWS = 400  # in a row without an accepted event


@dataclass(frozen=True, slots=True)
class Settings:
    """A parsed config: what `simulate` needs to know. ``orientations`` in degrees."""

    ions: Ions
    crystals: Crystals
    grains: Grains
    silver: Silver
    microscope: Microscope
    orientations: tuple[float, ...]
    fraction_fog: float
    fraction_c100: float

    @classmethod
    def of(cls, config: Config) -> Settings:
        """From a flat config; names that it lacks have their defaults. Raises `SpaceError` for what cannot be."""
        microscope, grains = build(Microscope, config), build(Grains, config)
        if microscope.peak_least >= microscope.peak_most:
            raise SpaceError("data.peak_least", "must lie below data.peak_most", "the defaults are 12 and 225 counts")
        for whose in ("fog", "carbon"):
            least, most = getattr(grains, f"{whose}_filaments_least"), getattr(grains, f"{whose}_filaments_most")
            if least < 1 or most < least or int(least) != least or int(most) != most:
                rule = f"from {least:g} to {most:g}: must be whole numbers from 1 up, in this order"
                raise SpaceError(f"data.{whose}_filaments_least", rule)
        return cls(
            build(Ions, config),
            build(Crystals, config),
            grains.identical() if preset_of(config) == "identical_grains" else grains,
            build(Silver, config),
            microscope,
            _orientations(config),
            _fraction(config, "data.fraction_fog", 0.4),
            _fraction(config, "data.fraction_c100", 0.5),
        )

    def numbers(self, n: int) -> Array:
        """(3,): events of each class among ``n``."""
        fogs = round(self.fraction_fog * n)
        high = round(self.fraction_c100 * (n - fogs))
        return np.array([fogs, n - fogs - high, high])


def preset_of(config: Config) -> str:
    """The value of ``data.preset``. Raises `SpaceError`."""
    name = config.get("data.preset", "default")
    if not isinstance(name, str) or name not in PRESETS:
        raise SpaceError(f"data.preset: {name!r}", f"must be one of {', '.join(PRESETS)}", nearest(str(name), PRESETS))
    return name


def simulate(config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
    """Exactly ``n`` accepted events in random order.

    ``frames`` (n, 8, 40, 40) uint8, ``beam`` (n, 1) uint8, ``class`` (n,) int8, the observers (n,) float64. The number of
    events of each class is fixed by the fractions. Raises `SpaceError` for a bad config.
    """
    settings = Settings.of(config)
    numbers = settings.numbers(n)
    parts = [_fill(kind, settings, rng, m) for kind, m in enumerate(numbers)]
    order = rng.permutation(n)
    columns = {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
    class_number = np.repeat(np.arange(3, dtype=np.int8), numbers)[order]
    return {**columns, "beam": _beam(class_number, settings, rng), "class": class_number}


def _beam(class_number: Array, settings: Settings, rng: np.random.Generator) -> Array:
    """(n, 1): 1 for 100 keV, 0 for 30 keV, and for fog a draw from the beams' mixture, so that it says nothing of fog."""
    drawn = rng.random(len(class_number)) < settings.fraction_c100
    return np.where(class_number == FOG, drawn, class_number == C100).astype(np.uint8)[:, None]


def _fill(kind: int, settings: Settings, rng: np.random.Generator, n: int) -> dict[str, Array]:
    """Exactly ``n`` accepted events of class ``kind``: throws until full."""
    parts: list[dict[str, Array]] = []
    have, idle = 0, 0
    while have < n or not parts:
        parts.append(thrown(kind, settings, rng, min(_CHUNK, n - have + 16)))
        found = len(parts[-1]["frames"])
        have, idle = have + found, 0 if found else idle + 1
        if idle > _MAX_THROWS:
            raise DataError(f"newsdm: {CLASSES[kind]}", f"{idle} throws in a row left no event", "reset the `data.*` values")
    return {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}


def thrown(kind: int, settings: Settings, rng: np.random.Generator, n: int) -> dict[str, Array]:
    """``n`` events of class ``kind``, less those that the cut on the peak rejects: frames and observers."""
    turn = np.asarray(settings.orientations)[rng.integers(len(settings.orientations), size=n)]
    tracks = (
        fog(n, settings.crystals, rng)
        if kind == FOG
        else carbon(np.full(n, _ENERGY[kind]), settings.ions, settings.crystals, rng)
    )
    tracks = rotated(tracks, np.radians(turn))
    is_carbon = np.full(len(tracks.event), kind != FOG)
    filaments = grow(tracks.event, tracks.place, is_carbon, settings.grains, settings.silver, rng)
    frames = expose(filaments, n, settings.microscope, rng)
    return _accepted(frames, {"angle": np.degrees(tracks.angle) % 180.0, "orientation": turn}, settings.microscope)


def _accepted(frames: Array, truth: dict[str, Array], microscope: Microscope) -> dict[str, Array]:
    """The events whose brightest peak above the background lies within the cut, with their observers."""
    found = shifts(frames, microscope.pixel)
    good = (found.brightness >= microscope.peak_least) & (found.brightness <= microscope.peak_most)
    observers = {"barshift": found.length, "direction": found.direction, "brightness": found.brightness, **truth}
    return {"frames": frames[good], **{name: np.asarray(values, dtype=np.float64)[good] for name, values in observers.items()}}


def _orientations(config: Config) -> tuple[float, ...]:
    value = config.get("data.orientations", (0.0, 45.0, 90.0, 0.0))
    good = isinstance(value, tuple) and value and all(isinstance(v, (int, float)) and abs(v) <= 360.0 for v in value)
    if not good or not isinstance(value, tuple):
        raise SpaceError(f"data.orientations: {value!r}", "must be angles in degrees", "the paper has [0, 45, 90, 0]")
    return tuple(float(v) for v in value)  # type: ignore[arg-type]


def _fraction(config: Config, name: str, default: float) -> float:
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise SpaceError(f"{name}: {value!r}", "must lie in [0, 1]", f"the default is {default}")
    return float(value)
