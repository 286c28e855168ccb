"""Where in time a trained network looks (Fig. 6): attention of Eq. 3, slice by slice. Legend: B events, T slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from raresearch.experiment import Experiment, Findings, ReadOut
from raresearch.experiments.kamnet.hitmaps import EARLIEST, STEP, TIMES
from raresearch.types import Array

if TYPE_CHECKING:
    import torch

_EVENTS = 200  # of each label: attention is a mean over thousands of pixels an event


def attention(findings: Findings, experiment: Experiment) -> ReadOut | None:
    """Attention over time slices of the best config's first network, beside the hits there; None for a CNN or without weights."""
    state = findings.state() if findings.config.get("model.network", "kamnet") == "kamnet" else None
    if state is None:
        return None
    sample = findings.scored["validation"][0]
    events = findings.events["validation"]
    order = np.argsort(events.event_id)
    measured = []
    for label in (1, 0):
        ids = sample.event_id[sample.label == label][:_EVENTS]
        rows = order[np.searchsorted(events.event_id, ids, sorter=order)]
        measured.append(_measured(state, experiment, findings, {n: a[rows] for n, a in events.tensors.items()}))
    (signal, bright), (background, dim) = measured
    width = STEP * TIMES / len(signal)
    rows_out = tuple(
        (EARLIEST + t * width, float(signal[t]), float(background[t]), float(bright[t]), float(dim[t]))
        for t in range(len(signal))
    )
    columns = ("from (ns)", "attention, signal", "attention, background", "hits, signal", "hits, background")
    note = (
        "Mean over channels and pixels with hits, times the number of slices: 1 is what an even attention gives. Hits are a mean over "
        "events. The first and the last slice hold what lies outside."
    )
    return ReadOut("Attention over time slices", columns, rows_out, note)


def _measured(
    state: Mapping[str, Array], experiment: Experiment, findings: Findings, tensors: Mapping[str, Array]
) -> tuple[Array, Array]:
    """(T,) attention, relative to an even one, and (T,) hits an event."""
    import torch

    model: Any = experiment.model(findings.config)
    model.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    model.eval()
    inputs = {name: torch.tensor(np.asarray(array, np.float32)) for name, array in tensors.items()}
    with torch.no_grad():
        maps = model.maps(inputs["cell"], inputs["charge"])
        score = pixel_scores(model.temporal, maps)
    hits = (maps != 0).sum((0, 2, 3)).double() / len(maps)
    return np.asarray((score.mean((0, 2)) * score.shape[1]).double()), np.asarray(hits)


def pixel_scores(temporal: Any, maps: torch.Tensor) -> torch.Tensor:
    """(S, T, C) attention of the pixels with hits of ``maps`` (B, T, H, W)."""
    import torch

    from raresearch.experiments.kamnet.temporal import PointAttention

    pixels = maps.flatten(2).transpose(1, 2)
    lit = (pixels != 0).any(-1)
    if isinstance(temporal, PointAttention):
        return temporal.scores(pixels[lit])[1]
    parts = [temporal.scores(some)[1].flatten(3).permute(0, 3, 1, 2) for some in torch.split(maps, 16)]
    return torch.cat(parts)[lit]
