"""Every constant of KamLAND-Zen and of the simulation, with unit and provenance. Lengths in cm, times in ns, energies in MeV."""

from __future__ import annotations

from dataclasses import dataclass

from raresearch.experiments.constants import constant

_AS = "[A] as in a prototype's first try, not adjusted"


@dataclass(frozen=True, slots=True)
class Detector:
    """The scintillator sphere and what looks at it."""

    photocoverage: float = constant(0.22, "fraction", "coverage by the 17-inch tubes; light scales with it", "[P] Sec. II")
    quantum_efficiency: float = constant(0.23, "fraction", "quantum efficiency; light scales with it", "[P] Sec. IV.C")
    light_yield: float = constant(
        153.0, "PE/MeV", "photoelectrons at 22 % coverage and 23 % efficiency", "[T] to 350 hits at 2.5 MeV [P] Sec. VI"
    )
    pmt_radius: float = constant(850.0, "cm", "radius of the sphere of tubes", "[A]")
    scintillator_radius: float = constant(650.0, "cm", "radius of the liquid scintillator", "[P] 13 m balloon")
    balloon_radius: float = constant(
        190.0, "cm", "radius of the inner balloon (150: KamLAND-Zen 400, sim-Fast)", "[P] Secs. I, IV.C"
    )
    light_speed: float = constant(16.95, "cm/ns", "effective speed of scintillation light", "[R] the authors' program")
    attenuation: float = constant(1500.0, "cm", "attenuation length of light", _AS)
    rise_time: float = constant(1.2, "ns", "rise of the scintillation", _AS)
    fast_fraction: float = constant(0.75, "fraction", "share of light in the fast component", _AS)
    fast_time: float = constant(5.5, "ns", "decay of the fast component", _AS)
    slow_time: float = constant(22.0, "ns", "decay of the slow component", _AS)
    spread_17: float = constant(1.3, "ns", "transit-time spread of the 17-inch tubes (sigma)", "[R]")
    spread_20: float = constant(2.35, "ns", "transit-time spread of the 20-inch tubes (sigma)", "[R]")
    charge_spread: float = constant(0.4, "PE", "spread of the charge of one photoelectron", _AS)
    dark_hits: float = constant(14.0, "hits", "dark hits in 160 ns", _AS)
    vertex_resolution: float = constant(
        13.7, "cm", "resolution of each coordinate at 1 MeV, with 1/sqrt(E)", "[R] KamLAND-Zen 800"
    )
    energy_resolution: float = constant(0.067, "fraction", "energy resolution at 1 MeV, with 1/sqrt(E)", "[R] KamLAND-Zen 800")
    quench: float = constant(0.03, "fraction", "loss of light of an electron of vanishing energy", _AS)
    quench_energy: float = constant(0.15, "MeV", "energy over which that loss fades", _AS)


@dataclass(frozen=True, slots=True)
class Physics:
    """Positronium, gammas and what the windows keep."""

    ortho_positronium: float = constant(0.5, "fraction", "share of positrons that form ortho-positronium", "[A]")
    ortho_lifetime: float = constant(3.0, "ns", "its lifetime in scintillator", "[P] Sec. V.A")
    para_lifetime: float = constant(0.35, "ns", "lifetime of all other positrons", "[R]")
    electron_density: float = constant(2.63e23, "1/cm3", "electrons of the scintillator", "[R] density 0.78 g/cm3")
    absorption_energy: float = constant(0.03, "MeV", "gammas below are absorbed where they are", "[A]")
    direct_gamma: float = constant(0.5, "fraction", "second 2+ level: share of decays by one gamma of 1551 keV", "[A]")
    energy_low: float = constant(2.0, "MeV", "window of the reconstructed energy, from", "[P] Sec. V; 1.5 for excited states")
    energy_high: float = constant(3.0, "MeV", "window of the reconstructed energy, to", "[P] Sec. V; 2.3 for excited states")
    fiducial_radius: float = constant(157.0, "cm", "largest reconstructed radius", "[P] Sec. V")
    film_radius: float = constant(190.0, "cm", "largest reconstructed radius of film events: Fig. 7 needs their fall", "[A]")
    match_bin: float = constant(
        6.0, "hits", "width of the bins in which hits are matched", "[A] 1 is the paper's, for 400,000 events"
    )
