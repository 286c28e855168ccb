"""`simulate`: a block of exactly n accepted PandaX-III events as images, a function of config and random stream alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from raresearch.errors import DataError, SpaceError
from raresearch.experiments.constants import build
from raresearch.experiments.pandax3.decay import quantiles
from raresearch.experiments.pandax3.detector import ENERGY, SIDE, Gas, Tpc
from raresearch.experiments.pandax3.events import COLUMNS, accepted
from raresearch.experiments.pandax3.readout import Readout, build_readout
from raresearch.experiments.pandax3.tables import Physics, build_physics
from raresearch.experiments.pandax3.vocabulary import CLASSES, OBSERVERS, SIGNAL
from raresearch.types import Array, Config

_MOST_THROWS = 200_000  # in a row without an accepted event
_CELLS = 64  # pixels of z that an image holds


@dataclass(frozen=True, slots=True)
class Settings:
    """A parsed config: what `simulate` needs to know."""

    gas: Gas
    tpc: Tpc
    signal: float
    thallium: float

    @classmethod
    def of(cls, config: Config) -> Settings:
        """From a flat config; names that it lacks have their defaults. Raises `SpaceError` for what cannot be."""
        gas, tpc = build(Gas, config), build(Tpc, config)
        if tpc.roi_low >= tpc.roi_high:
            raise SpaceError("data.roi_low", "must lie below data.roi_high", "the paper has 2395 and 2520 keV")
        if tpc.window * tpc.velocity / 10.0 / tpc.pitch > _CELLS:
            raise SpaceError("data.window", f"the window drifts over more than {_CELLS} pixels", "the paper has 82.4 us")
        return cls(gas, tpc, _fraction(config, "data.fraction_signal"), _fraction(config, "data.fraction_thallium"))

    def numbers(self, n: int) -> Array:
        """(3,): events of each class among ``n``."""
        signal = round(self.signal * n)
        thallium = round(self.thallium * (n - signal))
        return np.array([thallium, n - signal - thallium, signal])


def simulate(config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
    """Exactly ``n`` accepted events in random order.

    ``image`` (n, 2, 64, 64) uint8, planes XZ and YZ by strip and z; ``class`` (n,) int8; the observers (n,) float64. The
    number of events of each class is fixed by the fractions. Raises `SpaceError` for a bad config, `DataError` where a
    selection leaves nothing.
    """
    settings = Settings.of(config)
    numbers = settings.numbers(n)
    parts = [filled(name, settings, rng, int(m))[:2] for name, m in zip(CLASSES, numbers, strict=True)]
    order = rng.permutation(n)
    images, seen = (np.concatenate([part[k] for part in parts])[order] for k in range(2))
    columns = {name: seen[:, k] for k, name in enumerate(OBSERVERS)}
    return {"image": images, **columns, "class": np.repeat(np.arange(3, dtype=np.int8), numbers)[order]}


def filled(name: str, settings: Settings, rng: np.random.Generator, n: int) -> tuple[Array, Array, int]:
    """Images, observers (n, 3) and the number of throws of ``n`` accepted events of class ``name``."""
    physics, readout = _tables(settings.gas, settings.tpc)
    images, seen = np.zeros((n, 2, SIDE, SIDE), np.uint8), np.zeros((n, COLUMNS))
    is_signal = name == SIGNAL
    done, throws = accepted(is_signal, ENERGY[name], _quantiles(), physics, readout, images, seen, _MOST_THROWS, rng)
    if done < n:
        raise DataError(f"pandax3: {name}", f"{_MOST_THROWS} throws in a row left no event", "reset the `data.*` values")
    return images, seen, throws


@lru_cache(maxsize=4)
def _tables(gas: Gas, tpc: Tpc) -> tuple[Physics, Readout]:
    return build_physics(gas), build_readout(gas, tpc)


@lru_cache(maxsize=1)
def _quantiles() -> Array:
    return quantiles()


def _fraction(config: Config, name: str) -> float:
    value = config.get(name, 0.5)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise SpaceError(f"{name}: {value!r}", "must lie in [0, 1]", "the default is 0.5")
    return float(value)
