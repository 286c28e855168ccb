"""The search for WIMPs that the network's cut serves: what Run 11 expects, and where it lies in S1 and log10(S2/S1).

The plane is (qS1c, log10(qS2c/qS1c) - NR median): each slice of S1 is shifted by the median, so that bins follow the band.
Expected events in a bin are N_p f_p ε_p: the shape f_p of each process comes from a simulation of its own, larger than any
validation sample, and only the efficiency ε_p of the cut from the events that were scored (see `efficiencies`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Protocol

import numpy as np

from raresearch.errors import SpecError
from raresearch.experiments.constants import constant
from raresearch.experiments.pandax2.accidental import mixture
from raresearch.experiments.pandax2.events import AccidentalPairs, Candidates, Events, Source, recoils, throw
from raresearch.experiments.pandax2.features import COLUMN
from raresearch.experiments.pandax2.median import NRMedian, nr_median
from raresearch.experiments.pandax2.simulator import Settings
from raresearch.experiments.xenon1t.halo import Wimp
from raresearch.metrics.limits import Models
from raresearch.types import Array, named_stream

#: of a template: the signal, then the backgrounds
PROCESSES = ("WIMP", "ER", "ACC", "NR")

# Fine bins hold the likelihood, coarse ones the efficiencies; every coarse edge is a fine edge.
S1_EDGES = np.array([3.0, 5.0, 7.5, 10.0, 14.0, 19.0, 25.0, 33.0, 45.0])
DISTANCE_EDGES = np.array([-np.inf, -0.3, -0.2, -0.13, -0.07, 0.0, 0.07, 0.15, 0.25, np.inf])
COARSE_S1 = np.array([3.0, 7.5, 14.0, 25.0, 45.0])
COARSE_DISTANCE = np.array([-np.inf, -0.13, 0.0, 0.15, np.inf])
ROWS, COLUMNS = len(COARSE_DISTANCE) - 1, len(COARSE_S1) - 1

_THROWN = {"WIMP": 60_000, "ER": 160_000, "ACC": 80_000, "NR": 60_000}
_CHUNK = 8_000


@dataclass(frozen=True, slots=True)
class Run:
    """What is expected before the network's cut, and how well it is known; each field is an option of `ExpectedLimit`."""

    er_events: float = constant(
        704.0, "events", "ER in the signal window", "[P] 708 candidates of Run 11, less the other backgrounds"
    )
    accidentals_below: float = constant(2.93, "events", "accidentals below the NR median", "[P] Section 2, before any cut")
    neutron_events: float = constant(1.0, "events", "neutrons in the signal window", "[A] recalled order of magnitude")
    live_days: float = constant(244.0, "days", "live time", "[A] recalled from PandaX-II papers, not looked up")
    fiducial_mass: float = constant(329.0, "kg", "xenon in the fiducial volume", "[A] recalled, as the live time")
    quality: float = constant(0.9, "fraction", "recoils in the signal window that pass the quality cuts", "[A]")
    er_uncertainty: float = constant(0.1, "fraction", "relative uncertainty of the ER events", "[A]")
    accidental_uncertainty: float = constant(0.2, "fraction", "the same of accidentals", "[A]")
    neutron_uncertainty: float = constant(0.5, "fraction", "the same of neutrons", "[A]")

    def check(self, place: str) -> None:
        """SpecError unless every number is finite and 0 or more, with some exposure."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < np.inf:
                raise SpecError(
                    f"{place}.{item.name} = {value!r}", "must be a number of 0 or more", f"the default is {item.default}"
                )
        if not self.live_days * self.fiducial_mass * self.quality > 0:
            raise SpecError(f"{place}: exposure", "live_days, fiducial_mass and quality must be above 0")

    @property
    def tonne_years(self) -> float:
        """Exposure."""
        return self.live_days / 365.25 * self.fiducial_mass / 1000.0


class Spectrum(Protocol):
    """Anything that draws recoil energies (keV)."""

    def sample(self, n: int, rng: np.random.Generator) -> Array: ...


@dataclass(frozen=True, slots=True)
class Recoils:
    """Nuclear recoils of any spectrum."""

    spectrum: Spectrum
    settings: Settings

    def candidates(self, n: int, rng: np.random.Generator) -> Candidates:
        return recoils("NR", self.spectrum.sample(n, rng), self.settings.detector, rng)


def wimp(mass: float) -> Wimp:
    """A WIMP of ``mass`` (GeV) with a cross section of 1e-46 cm², the unit of strength; the halo that PandaX-II used, 220 km/s."""
    return Wimp(wimp_mass=mass, wimp_cross_section=1e-46, halo_v0=220.0, halo_earth=232.0)


@dataclass(frozen=True)
class Shapes:
    """``density`` (4, K): share of each of `PROCESSES` in each fine bin, each row of sum 1; ``wimps``: WIMP recoils of a
    tonne and year at 1e-46 cm² that end in the signal window."""

    density: Array
    wimps: float


@lru_cache(maxsize=8)
def shapes(mass: float, mixture_name: str) -> Shapes:
    """From fixed, named streams, a few seconds once a process; the detector is the default one.

    Accidentals are taken below the NR median only, as everywhere here: above it they drown among hundreds of ER.
    """
    settings = Settings.of({})
    median = nr_median(settings.neutrons, settings.detector)
    particle = wimp(mass)
    sources: dict[str, Source] = {
        "WIMP": Recoils(particle, settings),
        "ER": settings.sources()[2],
        "ACC": AccidentalPairs(mixture(mixture_name), settings.isolated, settings.electrons, settings.detector),
        "NR": settings.sources()[1],
    }
    density, kept = [], {}
    for name in PROCESSES:
        events = _thrown(sources[name], settings, name)
        counts = _counts(events, median, below=name == "ACC")
        kept[name] = counts.sum() / _THROWN[name]
        density.append(counts / counts.sum())
    return Shapes(np.stack(density), particle.expected(1.0) * kept["WIMP"])


def _thrown(source: Source, settings: Settings, name: str) -> Array:
    rng = np.random.default_rng(named_stream(0, "pandax2", "search", name))
    parts: list[Events] = [throw(source, _CHUNK, settings.detector, rng) for _ in range(_THROWN[name] // _CHUNK)]
    return np.concatenate([p.features for p in parts])


def _counts(features: Array, median: NRMedian, below: bool) -> Array:
    distance = median.distance(features)
    used = distance < 0.0 if below else np.ones(len(distance), dtype=bool)
    s1 = features[used, COLUMN["qS1c"]]
    place = bins(s1, distance[used], S1_EDGES, DISTANCE_EDGES)
    return np.bincount(place, minlength=(len(S1_EDGES) - 1) * (len(DISTANCE_EDGES) - 1)).astype(np.float64)


def bins(s1: Array, distance: Array, s1_edges: Array, distance_edges: Array) -> Array:
    """Number (N,) of the bin of each event, rows of ``distance`` one after the other; S1 outside goes to the nearest bin."""
    column = np.clip(np.searchsorted(s1_edges, s1, side="right") - 1, 0, len(s1_edges) - 2)
    row = np.clip(np.searchsorted(distance_edges, distance, side="right") - 1, 0, len(distance_edges) - 2)
    return np.asarray(row * (len(s1_edges) - 1) + column)


def coarse(s1: Array, distance: Array) -> Array:
    """The coarse bin (N,) of each event."""
    return bins(s1, distance, COARSE_S1, COARSE_DISTANCE)


@lru_cache(maxsize=1)
def _coarse_of_fine() -> Array:
    middle_s1 = 0.5 * (S1_EDGES[1:] + S1_EDGES[:-1])
    ends = np.clip(DISTANCE_EDGES, -1.0, 1.0)
    distance, s1 = np.meshgrid(0.5 * (ends[1:] + ends[:-1]), middle_s1, indexing="ij")
    return coarse(s1.ravel(), distance.ravel())


def templates(run: Run, made: Shapes, efficiency: Array) -> Models:
    """B models: strength 1 is 1e-46 cm². ``efficiency`` (B, 3, cells): of ACC, NR and ER (numbers of the classes).

    A WIMP's recoil and a neutron's have the same efficiency at the same place of the plane: there, nothing else that the
    network sees tells their energies apart.
    """
    acc, nr, er = (efficiency[:, c][:, _coarse_of_fine()] for c in range(3))
    signal = run.tonne_years * run.quality * made.wimps * made.density[0] * nr
    expected = (run.er_events, run.accidentals_below, run.neutron_events)
    backgrounds = np.stack(
        [n * made.density[p] * e for n, p, e in zip(expected, (1, 2, 3), (er, acc, nr), strict=True)], axis=1
    )
    relative = np.array([run.er_uncertainty, run.accidental_uncertainty, run.neutron_uncertainty])
    return Models(signal, backgrounds, relative)
