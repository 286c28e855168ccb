"""`simulate`: a block of exactly n accepted PandaX-II events, a function of config and random stream alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from raresearch.errors import DataError, SpaceError
from raresearch.experiments.constants import build
from raresearch.experiments.pandax2.accidental import Isolated, Mixture, mixture
from raresearch.experiments.pandax2.detector import Detector
from raresearch.experiments.pandax2.events import AccidentalPairs, ElectronRecoils, Events, NuclearRecoils, Source, throw
from raresearch.experiments.pandax2.median import NRMedian, nr_median
from raresearch.experiments.pandax2.spectra import ElectronSpectrum, NeutronSpectrum
from raresearch.types import Array, Config, Value

CLASSES = ("ACC", "NR", "ER")
OBSERVERS = ("qS1", "qS2", "qS1c", "qS2c", "drift_time", "log_ratio_to_nr_median")

# The paper's samples: 43,719 accidental events below the NR median, 10,881 NR; of ER it gives no number, here as many as NR.
N_ACC, N_NR, N_ER = 43_719, 10_881, 10_881
FRACTION_ACC = round(N_ACC / (N_ACC + N_NR + N_ER), 4)
FRACTION_NR = round(N_NR / (N_ACC + N_NR + N_ER), 4)

_CHUNK = 8_000  # candidates thrown at once: bounds the memory for waveforms to some tens of MB
_MAX_THROWS = 400  # in a row without an accepted event


@dataclass(frozen=True, slots=True)
class Settings:
    """A parsed config: what `simulate` needs to know."""

    detector: Detector
    neutrons: NeutronSpectrum
    electrons: ElectronSpectrum
    isolated: Isolated
    mixture: Mixture
    nr_sample: Literal["below", "all"]
    fraction_acc: float
    fraction_nr: float

    @classmethod
    def of(cls, config: Config) -> Settings:
        """From a flat config; names that it lacks have their defaults. Raises `SpaceError` for what cannot be."""
        settings = cls(
            build(Detector, config),
            build(NeutronSpectrum, config),
            build(ElectronSpectrum, config),
            build(Isolated, config),
            mixture(config.get("data.accidental_mixture", "I")),
            _nr_sample(config.get("data.nr_sample", "below")),
            _fraction("data.fraction_acc", config.get("data.fraction_acc", FRACTION_ACC)),
            _fraction("data.fraction_nr", config.get("data.fraction_nr", FRACTION_NR)),
        )
        _check_order(settings)
        return settings

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Of ACC, NR and ER."""
        return self.fraction_acc, self.fraction_nr, max(1.0 - self.fraction_acc - self.fraction_nr, 0.0)

    def sources(self) -> tuple[Source, Source, Source]:
        """Of ACC, NR and ER candidates."""
        return (
            AccidentalPairs(self.mixture, self.isolated, self.electrons, self.detector),
            NuclearRecoils(self.neutrons, self.detector),
            ElectronRecoils(self.electrons, self.detector),
        )


def simulate(config: Config, rng: np.random.Generator, n: int) -> dict[str, Array]:
    """Exactly ``n`` accepted events in random order: ``features`` (n, 13) float32, ``class`` (n,) int8, ``spectator`` (n,)
    bool, and the observers (n,) float64.

    The number of each class is fixed by the fractions. ACC are kept below the NR median only, as in the paper; with
    ``data.nr_sample: below`` nuclear recoils above the median are spectators. Raises `SpaceError` for a bad config and
    `DataError` where no event of a class passes the cuts.
    """
    settings = Settings.of(config)
    median = nr_median(settings.neutrons, settings.detector)
    numbers = class_counts(settings.fractions, n)
    parts = [
        fill(source, number, settings.detector, rng, median if name == "ACC" else None, name)
        for name, source, number in zip(CLASSES, settings.sources(), numbers, strict=True)
    ]
    events = Events(np.concatenate([p.features for p in parts]), np.concatenate([p.drift_time for p in parts]))
    order = rng.permutation(n)
    class_number = np.repeat(np.arange(len(CLASSES), dtype=np.int8), numbers)[order]
    return _columns(events.select(order), class_number, median, settings.nr_sample)


def class_counts(fractions: tuple[float, ...], n: int) -> tuple[int, ...]:
    """``n`` divided in proportion to ``fractions`` (sum 1) by largest remainders; ties go to the first.

    >>> class_counts((0.5, 0.25, 0.25), 10)
    (5, 3, 2)
    """
    exact = np.round(np.asarray(fractions) * n, 9)
    counts = np.floor(exact).astype(int)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: n - int(counts.sum())]] += 1
    return tuple(int(c) for c in counts)


def fill(
    source: Source, n: int, detector: Detector, rng: np.random.Generator, below: NRMedian | None, name: str = "event"
) -> Events:
    """Exactly ``n`` accepted events of ``source``, below the curve ``below`` if one is given: throws until full."""
    parts = [Events(np.empty((0, 13)), np.empty(0))]
    have, idle, accepted_share = 0, 0, 0.5
    while have < n:
        thrown = min(int(1.05 * (n - have) / accepted_share) + 64, _CHUNK)
        events = throw(source, thrown, detector, rng)
        if below is not None:
            events = events.select(below.distance(events.features) < 0.0)
        parts.append(events)
        have += len(events.drift_time)
        idle = 0 if len(events.drift_time) else idle + 1
        if idle > _MAX_THROWS:
            raise DataError(
                f"pandax2: class {name}", f"{idle} throws in a row left no event after the cuts", "reset the `data.*` values"
            )
        accepted_share = max(len(events.drift_time) / thrown, 0.02)
    full = Events(np.concatenate([p.features for p in parts]), np.concatenate([p.drift_time for p in parts]))
    return full.select(np.arange(n))


def _columns(events: Events, class_number: Array, median: NRMedian, nr_sample: str) -> dict[str, Array]:
    distance = median.distance(events.features)
    above_nr = (class_number == CLASSES.index("NR")) & (distance >= 0.0)
    return {
        "features": events.features.astype(np.float32),
        "class": class_number,
        "spectator": above_nr if nr_sample == "below" else np.zeros(len(class_number), dtype=bool),
        **{name: events.column(name).astype(np.float64) for name in OBSERVERS[:4]},
        "drift_time": events.drift_time,
        "log_ratio_to_nr_median": distance,
    }


def _nr_sample(value: Value) -> Literal["below", "all"]:
    if value not in ("below", "all"):
        raise SpaceError(f"data.nr_sample: {value!r}", "must be 'below' or 'all'", "below: NR above the NR median only score")
    return cast(Literal["below", "all"], value)


def _fraction(name: str, value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise SpaceError(f"{name}: {value!r}", "must be a number in [0, 1]", f"for example {name}: 0.5")
    return float(value)


def _check_order(settings: Settings) -> None:
    detector, electrons = settings.detector, settings.electrons
    if settings.fraction_acc + settings.fraction_nr > 1.0 + 1e-9:
        raise SpaceError("data.fraction_acc + data.fraction_nr", "must not exceed 1", "the rest is ER")
    if detector.drift_time_low >= detector.drift_time_high:
        raise SpaceError("data.drift_time_low", "must be below data.drift_time_high", "exchange the two")
    if detector.depth(np.asarray(detector.drift_time_high)) > detector.drift_length:
        raise SpaceError("data.drift_time_high", "lies below the cathode", "shorten it or lengthen data.drift_length")
    if electrons.er_flat_low >= electrons.er_flat_high:
        raise SpaceError("data.er_flat_low", "must be below data.er_flat_high", "exchange the two")
