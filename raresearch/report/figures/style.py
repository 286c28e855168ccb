"""Fonts, colours, saving: one look for all figures, fit for a talk."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from raresearch.types import Array

INK, FAINT = "#1f2430", "#6b7280"
SIGNAL, BACKGROUND = "#0072B2", "#D55E00"
#: Okabe and Ito's palette, distinguishable with any colour vision; yellow is left out, it vanishes on white
PALETTE = (SIGNAL, BACKGROUND, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4d4d4d")
RC: dict[str, Any] = {
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.labelsize": 14,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#e3e6eb",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "legend.frameon": False,
    "legend.fontsize": 12,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "raresearch",
}
DPI = 150
STAMP = 0.2  # inches that the line at the foot takes
MARKERS = "osD^vPX"
MOST_LINES = 8  # configs in one set of axes that can still be told apart


@dataclass(frozen=True)
class Drawing:
    """A figure with what a page says of it. ``name`` is its file's; ``alt`` describes it to who cannot see it.

    ``rows``: the numbers that it shows, one mapping of the same keys each, for its CSV file.
    """

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure
    rows: Sequence[Mapping[str, object]]


def style() -> Any:
    """A context in which figures are made and saved; outside, matplotlib's settings are as before."""
    return rc_context(RC)


def canvas(width: float, height: float, stamp: str) -> Figure:
    """An empty figure, inches; ``stamp`` stands small at its foot."""
    foot = STAMP / height if stamp else 0.0
    engine = ConstrainedLayoutEngine(rect=(0, foot, 1, 1 - foot), w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(width, height), layout=engine)
    FigureCanvasAgg(figure)
    if stamp:
        figure.text(1 - 0.06 / width, 0.05 / height, stamp, ha="right", va="bottom", fontsize=9.5, color=FAINT)
    return figure


def legend_above(axes: Any, handles: Sequence[Any], labels: Sequence[str], columns: int = 4) -> None:
    """A legend over the axes, where it covers no data."""
    box = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.3}
    axes.legend(handles, labels, ncols=columns, columnspacing=1.6, handletextpad=0.6, **box)


def label_angle(labels: Sequence[str]) -> int:
    """Degrees by which labels along x are turned so that they do not run into each other: 0, 40 or 90.

    >>> label_angle(["4A"] * 18), label_angle(["32-16-8"] * 18), label_angle(["hidden 512-256"] * 30)
    (0, 40, 90)
    """
    length = max(len(label) for label in labels) * len(labels)
    return 0 if length <= 90 else 40 if length <= 330 else 90


def label_height(labels: Sequence[str]) -> float:
    """Inches that turned labels need below the axis, beyond a plain line."""
    return 0.09 * max(len(label) for label in labels) * math.sin(math.radians(label_angle(labels)))


def config_axis(axes: Any, labels: Sequence[str]) -> None:
    """Configs at 0, 1, … along x, their labels turned where they are long or many."""
    angle = label_angle(labels)
    axes.set_xticks(np.arange(len(labels)), labels, rotation=angle)
    for text in axes.get_xticklabels() if angle else ():
        text.set(ha="right", rotation_mode="anchor", va="center" if angle == 90 else "top", fontsize=11)
    axes.set_xlim(-0.6, len(labels) - 0.4)


def error_bars(std: Sequence[float | None]) -> Array:
    """Bars of no length where there is no spread to show."""
    return np.asarray([s if s is not None else np.nan for s in std], dtype=np.float64)


def encode(figure: Figure) -> tuple[bytes, bytes]:
    """The figure as PNG (150 dots an inch) and as SVG; the same figure gives the same bytes."""
    # Through the canvases: `savefig` draws everything once more before each file, for a layout that a canvas makes by itself.
    figure.set_dpi(DPI)
    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": "raresearch"})
    # What was laid out for the first file holds for the second: the layout takes as long as the drawing.
    figure.set_layout_engine("none")
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Creator": "raresearch"})
    return png.getvalue(), svg.getvalue()


def observer_scale(values: Array) -> str:
    """``log`` where positive values span more than a factor of 20, most of which a linear axis would hide; else ``linear``."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() <= 0:
        return "linear"
    low, high = np.quantile(finite, [0.01, 0.99])
    return "log" if high > 20 * low else "linear"


def robust_ends(values: Array, bars: Array) -> tuple[float, float] | None:
    """Ends of an axis that holds what lies within three quartiles' widths of the middle half, where something does not: a few
    configs that did not train at all would flatten the rest. ``bars`` (N,) are shown as far as they do not do the same."""
    first, last = np.quantile(values, [0.25, 0.75])
    width = (last - first) or abs(last) or 1.0
    inside = values[(values >= first - 3 * width) & (values <= last + 3 * width)]
    if len(inside) == len(values):
        return None
    bar = min(float(np.nan_to_num(bars).max(initial=0.0)), float(np.ptp(inside)))
    margin = 0.08 * float(np.ptp(inside)) + bar
    return float(inside.min()) - margin, float(inside.max()) + margin


def look(number: int) -> dict[str, Any]:
    """Colour and dashes of the ``number``-th of several lines in one set of axes: all different up to 14."""
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": "-" if number < len(PALETTE) else "--"}


def best_of(shown: int, there: int, what: str = "configs") -> str:
    """A sentence for a caption where not all are shown; empty where all are."""
    return f" The {shown} best of {there} {what} are shown." if shown < there else ""


def log_axis(axis: Any, low: float, high: float) -> None:
    """Numbers on a logarithmic axis that do not run into each other: 1, 2, 5 where it spans two decades at most, else powers."""
    if high <= 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
