"""Every constant of the emulsion, the silver and the microscope, with unit and provenance.

Lengths are in nm, angles in degrees. Axes of a picture: x to the right, y upwards in the arrays' second index; the beam of
carbon ions runs along +x where the emulsion lies in its default orientation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from raresearch.experiments.constants import constant

_RANGE = "[R] ranges of C in NIT (3.2 g/cm3), a clone of SRIM"
_BARSHIFT = "[T] by hand, looking at the share of long barycentre shifts and at boosted trees"
_GRAIN = "[T] as the other grain values: an assumed difference, not a measured one"


@dataclass(frozen=True, slots=True)
class Ions:
    """Carbon ions: where they end. ``range`` is along the beam, ``lateral`` across it, for each of the two axes."""

    range_30: float = constant(94.5, "nm", "mean range of 30 keV carbon along the beam", _RANGE + ": 93 to 96")
    range_30_sd: float = constant(42.0, "nm", "straggling of the same", _RANGE)
    lateral_30: float = constant(45.0, "nm", "spread of its end across the beam", _RANGE)
    range_100: float = constant(300.5, "nm", "mean range of 100 keV carbon along the beam", _RANGE + ": 298 to 303")
    range_100_sd: float = constant(99.0, "nm", "straggling of the same", _RANGE)
    lateral_100: float = constant(115.0, "nm", "spread of its end across the beam", _RANGE)


@dataclass(frozen=True, slots=True)
class Crystals:
    """Silver bromide crystals and which of them become grains."""

    crystal: float = constant(75.0, "nm", "diameter of a crystal", "[P] Sec. 1.1")
    spacing: float = constant(88.0, "nm", "distance of crystals along a track", "[A]")
    sensitivity: float = constant(0.36, "fraction", "probability that a crystal on a track develops", _BARSHIFT)
    fog_pair: float = constant(0.42, "fraction", "share of fog events that are two grains by chance", _BARSHIFT)
    pair_distance: float = constant(260.0, "nm", "largest distance of two such grains, seen from above", "[A]")


@dataclass(frozen=True, slots=True)
class Grains:
    """What a developed grain is made of: spheroidal filaments that share its volume.

    The difference between fog and carbon is assumed. With ``data.preset`` ``identical_grains`` carbon's grains are drawn as
    fog's, and the values of carbon have no effect.
    """

    fog_filaments_least: float = constant(1, "filaments", "fewest filaments of a fog grain", _GRAIN)
    fog_filaments_most: float = constant(3, "filaments", "most filaments of a fog grain", _GRAIN)
    fog_diameter: float = constant(48.0, "nm", "diameter of the sphere of a fog grain's volume, mean", _GRAIN)
    fog_diameter_sd: float = constant(9.0, "nm", "spread of the same", _GRAIN)
    fog_aspect: float = constant(1.65, "ratio", "length over width of a fog grain's filaments, mean", _GRAIN)
    fog_aspect_sd: float = constant(0.35, "ratio", "spread of the same", _GRAIN)
    carbon_filaments_least: float = constant(4, "filaments", "fewest filaments of a carbon grain", _GRAIN)
    carbon_filaments_most: float = constant(6, "filaments", "most filaments of a carbon grain", _GRAIN)
    carbon_diameter: float = constant(60.0, "nm", "diameter of the sphere of a carbon grain's volume, mean", _GRAIN)
    carbon_diameter_sd: float = constant(9.0, "nm", "spread of the same", _GRAIN)
    carbon_aspect: float = constant(1.33, "ratio", "length over width of a carbon grain's filaments, mean", _GRAIN)
    carbon_aspect_sd: float = constant(0.2, "ratio", "spread of the same", _GRAIN)

    def identical(self) -> Grains:
        """The null: carbon's grains as fog's."""
        return replace(
            self,
            carbon_filaments_least=self.fog_filaments_least,
            carbon_filaments_most=self.fog_filaments_most,
            carbon_diameter=self.fog_diameter,
            carbon_diameter_sd=self.fog_diameter_sd,
            carbon_aspect=self.fog_aspect,
            carbon_aspect_sd=self.fog_aspect_sd,
        )


@dataclass(frozen=True, slots=True)
class Silver:
    """Permittivities at the wavelength of the light."""

    silver_real: float = constant(12.9, "relative", "minus the real part of silver's permittivity", "[A] near 550 nm")
    silver_imaginary: float = constant(1.3, "relative", "imaginary part of the same", "[A]")
    medium: float = constant(2.34, "relative", "permittivity around the grain", "[A] gelatine, index 1.53")

    @property
    def contrast(self) -> complex:
        """ε - ε_m."""
        return complex(-self.silver_real - self.medium, self.silver_imaginary)


@dataclass(frozen=True, slots=True)
class Microscope:
    """Camera, optics, vibration and the cut on brightness."""

    pixel: float = constant(28.0, "nm", "side of a pixel on the emulsion", "[A]")
    psf: float = constant(85.0, "nm", "standard deviation of the point-spread function", "[A]")
    gain: float = constant(75.0, "counts", "peak of a silver sphere of 60 nm", "[A] median in the middle of the cut, 52 counts")
    background: float = constant(20.0, "counts", "brightness without a grain", "[A]")
    background_sd: float = constant(1.5, "counts", "spread of the same from event to event, alike for all classes", "[A]")
    read_noise: float = constant(1.2, "counts", "noise of the camera", "[A]")
    electrons: float = constant(40.0, "electrons", "electrons of a count: how small shot noise is", "[A]")
    jitter_along: float = constant(7.0, "nm", "vibration from frame to frame along x, the beam's axis", _BARSHIFT)
    jitter_across: float = constant(10.5, "nm", "vibration along y", _BARSHIFT)
    peak_least: float = constant(12.0, "counts", "dimmest accepted peak above the background", "[A] the cut is [P]")
    peak_most: float = constant(225.0, "counts", "brightest accepted peak above the background", "[A] the cut is [P]")
