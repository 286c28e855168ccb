"""The layout of a picture: its panels in pixels, and each panel's frame.

Legend: H, W height and width of a picture in pixels; rows count from the top. Panels may begin in the middle of a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

FRAME = 0.02  #: margin around the axes on each side, as a share of the panel: one pixel of the paper's 50


@dataclass(frozen=True, slots=True)
class Panel:
    """A square of a picture, edges in pixels."""

    left: float
    top: float
    size: float

    @property
    def axes(self) -> tuple[float, float, float, float]:
        """Left, right, top and bottom of what is drawn in."""
        margin = FRAME * self.size
        return self.left + margin, self.left + self.size - margin, self.top + margin, self.top + self.size - margin


@dataclass(frozen=True, slots=True)
class Layout:
    """A kind of picture. ``hits`` and ``peaks``: the panels (S1, S2) of each, if it has them."""

    shape: tuple[int, int]
    hits: tuple[Panel, Panel] | None = None
    peaks: tuple[Panel, Panel] | None = None

    @property
    def pixels(self) -> int:
        return self.shape[0] * self.shape[1]


def _pair(top: float, size: float) -> tuple[Panel, Panel]:
    return Panel(0.0, top, size), Panel(size, top, size)


#: the paper's three, and `hitpeak100`: both halves as fine as in the pictures that have one of them
LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "hit": Layout((50, 100), hits=_pair(0.0, 50.0)),
        "peak": Layout((50, 100), peaks=_pair(0.0, 50.0)),
        "hitpeak": Layout((75, 75), hits=_pair(0.0, 37.5), peaks=_pair(37.5, 37.5)),
        "hitpeak100": Layout((100, 100), hits=_pair(0.0, 50.0), peaks=_pair(50.0, 50.0)),
    }
)
