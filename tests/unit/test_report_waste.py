"""What a report does once for thousands of cells, beside its slow twins that do it for each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raresearch.metrics.areas import RocAuc
from raresearch.report.curves import Curve
from raresearch.report.figures import learning
from raresearch.report.figures.style import canvas
from raresearch.statistics import bootstrap
from raresearch.statistics.bootstrap import MOST, event_draws, resample
from raresearch.statistics.panel import Block, Panel
from raresearch.types import Array


def _panel(seed: int, repeats: int, events: int = 40, weight: float = 1.0) -> Panel:
    rng = np.random.default_rng(seed)
    label = (np.arange(events) % 2).astype(np.int8)
    return Panel((Block("v", rng.normal(size=(repeats, events)), label, np.full(events, weight), np.arange(events)),))


def _one_by_one(panels: list[Panel], resamples: int) -> list[Array]:
    rng, fom = np.random.default_rng(0), RocAuc()
    draws: list[list[Array]] = [[] for _ in panels]
    for _ in range(resamples):
        events = [resample(block.label, rng) for block in panels[0].blocks]
        for found, panel in zip(draws, panels, strict=True):
            found.append(panel.values(fom, events, MOST))
    return [np.stack(found) for found in draws]


@pytest.mark.parametrize("chunk", [1, 300, 1 << 18])
def test_draws_of_panels_in_stacks_are_those_of_each_panel_alone(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK", chunk)
    panels = [_panel(seed, repeats) for seed, repeats in enumerate((1, 3, MOST + 2, 2))]
    found = event_draws(panels, RocAuc(), 20, np.random.default_rng(0))
    for mine, twin in zip(found, _one_by_one(panels, 20), strict=True):
        np.testing.assert_array_equal(mine, twin)


@pytest.mark.parametrize("of", ["weight", "label", "columns"])
def test_panels_of_other_labels_weights_or_columns_are_not_stacked(of: str) -> None:
    first, other = _panel(0, 2), _panel(1, 2)
    block = other.blocks[0]
    changed = {
        "weight": replace(block, weight=block.weight * np.arange(1.0, 41.0)),
        "label": replace(block, label=block.label[::-1].copy()),
        "columns": replace(block, columns={"energy": np.arange(40.0)}),
    }[of]
    panels = [first, Panel((changed,))]
    assert len(bootstrap._stacks(panels)) == 2
    for mine, twin in zip(event_draws(panels, RocAuc(), 20, np.random.default_rng(0)), _one_by_one(panels, 20), strict=True):
        np.testing.assert_array_equal(mine, twin)


def test_panels_of_learning_curves_have_the_same_limits_also_where_a_config_has_none() -> None:
    figure = canvas(6, 4, "")
    panels = figure.subplots(1, 3)
    panels[0].plot([1, 5], [0.0, 1.0])
    panels[1].plot([3, 11], [0.0, 3.0])
    numbers = [np.asarray(n, dtype=np.float64) for n in ([0.0, 1.0], [0.0, 3.0], [])]
    learning._limits(panels, [[Curve(n, n, n, n)] for n in numbers])
    assert {axes.get_xlim() for axes in panels} == {(0.5, 11.5)}
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_learning_curves_without_any_finite_loss_are_drawn_empty() -> None:
    panels = canvas(6, 4, "").subplots(1, 2)
    empty = np.empty(0)
    learning._limits(panels, [[Curve(empty, empty, empty, empty)]] * 2)
    assert panels[0].get_xlim() == (0.0, 1.0)
