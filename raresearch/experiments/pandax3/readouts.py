"""Figs. 3 and 6 to 10 of the paper as tables. Legend: N events, C filters."""

from __future__ import annotations

from typing import Any

import numpy as np

from raresearch.experiment import Findings, ReadOut
from raresearch.experiments.pandax3.claims import claims
from raresearch.experiments.pandax3.inside import LEAST, REACH, feature_maps, filter_groups, load_state
from raresearch.experiments.pandax3.model import TrackNet, track_net
from raresearch.experiments.pandax3.vocabulary import CLASSES, SIGNAL
from raresearch.types import Array

SAMPLE = 64  # validation events looked at
LARGE = 0.5  #: of a last weight: the paper counts those above
_SIGNAL = CLASSES.index(SIGNAL)


def read_outs(findings: Findings) -> list[ReadOut]:
    """What the study can decide, example events, and, where weights were kept, the three tables of what the first network holds."""
    tables = [*claims(findings), example_events(findings)]
    weights = findings.state()
    if not weights:
        return tables
    network = load_state(track_net(findings.config), weights)
    events = findings.events["validation"]
    maps = feature_maps(network, events.tensors["image"][:SAMPLE])
    signal = events.class_number[:SAMPLE] == _SIGNAL
    last = list(maps)[-1]
    return [*tables, by_stage(maps, signal), groups(last, maps[last]), last_weights(network)]


def example_events(findings: Findings) -> ReadOut:
    """Of each class the event that looks most like signal to the first ensemble, and the one that looks least so."""
    scored, events = findings.scored["validation"][0], findings.events["validation"]
    rows: list[tuple[str | float | None, ...]] = []
    for number, species in enumerate(CLASSES):
        mine = np.flatnonzero(scored.class_number == number)
        if len(mine):
            order = mine[np.argsort(scored.scores[mine], kind="stable")]
            rows += [(species, look, *_event(events, scored, int(i))) for look, i in (("most", order[-1]), ("least", order[0]))]
    columns = ("class", "like signal", "event", "score", "energy (keV)", "pixels", "strips XZ", "strips YZ", "z XZ", "z YZ")
    note = "Validation events; strips and z: extent of the pixels above threshold, in pixels of 3 mm."
    return ReadOut("Example events", columns, tuple(rows), note)


def _event(events: Any, scored: Any, place: int) -> tuple[float, ...]:
    (where,) = np.flatnonzero(events.event_id == scored.event_id[place])
    image = events.tensors["image"][where]
    extents = [float(np.ptp(np.flatnonzero(plane.any(axis=axis))) + 1) for axis in (1, 0) for plane in image]
    seen = scored.observers
    return (
        float(scored.event_id[place]),
        float(scored.scores[place]),
        float(seen["energy"][place]),
        float(seen["hits"][place]),
        *extents,
    )


def by_stage(maps: dict[str, Array], signal: Array) -> ReadOut:
    """Figs. 6 and 7: size and filters of each stage, and how far its largest activations tell the classes apart."""
    rows = []
    for name, each in maps.items():
        top = each.max(axis=(2, 3))
        spread = np.sqrt(0.5 * (top[signal].var(axis=0) + top[~signal].var(axis=0)))
        apart = np.abs(top[signal].mean(axis=0) - top[~signal].mean(axis=0))
        share = np.where(spread > 0, apart / np.where(spread > 0, spread, 1.0), 0.0)
        dead = float(np.mean(each.std(axis=(0, 2, 3)) == 0))
        rows.append(
            (
                name,
                float(each.shape[1]),
                f"{each.shape[2]} × {each.shape[3]}",
                float(share.max()),
                float(np.median(share)),
                dead,
            )
        )
    columns = ("stage", "filters", "pixels", "largest separation", "median separation", "constant filters")
    note = (
        f"{len(signal)} events. Separation: a filter's largest activation, difference of the classes' means over its spread. "
    )
    return ReadOut(
        "Feature maps by stage", columns, tuple(rows), note + "The largest of many filters is above 0 by chance alone."
    )


def groups(stage: str, maps: Array) -> ReadOut:
    """Figs. 8 and 9: filters of the last block that see the same."""
    found = filter_groups(maps)
    names, sizes = np.unique(found, return_counts=True)
    rows = tuple(
        ("none" if n < 0 else f"group {n + 1}", float(s), float(s / len(found))) for n, s in zip(names, sizes, strict=True)
    )
    alike = f"correlation above {1 - REACH:g}"
    note = (
        f"DBSCAN of {len(found)} filters of {stage}: neighbours have a {alike}, {LEAST} make a core; the paper prints neither."
    )
    return ReadOut("Filters of the last block by likeness", ("group", "filters", "share"), rows, note)


def last_weights(network: TrackNet) -> ReadOut:
    """Fig. 10."""
    weight = network.dense.weight.detach().numpy().ravel()
    size = np.sort(np.abs(weight))[::-1]
    half = float(np.searchsorted(np.cumsum(size), 0.5 * size.sum()) + 1)
    row = (float(len(weight)), float((weight > LARGE).sum()), float((weight < -LARGE).sum()), float(size[0]), half)
    columns = ("channels", f"above {LARGE:g}", f"below −{LARGE:g}", "largest", "channels with half of the sum")
    return ReadOut("Weights of the last layer", columns, (row,))
