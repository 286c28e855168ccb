"""Packs as Ray Tune gets them."""

from __future__ import annotations

import json

from raresearch.execution.ray_train import cell_to_json
from raresearch.execution.ray_tune import pack_from_text, pack_to_text
from raresearch.types import Cell, Pack


def pack(size: int) -> Pack:
    config = {"model.hidden": (8, 4), "train.learning_rate": 1e-3, "train.epochs": 5, "data.events": 100}
    return Pack(tuple(Cell(config, 0, seed, 5, {"data": "d" * 24}) for seed in range(size)), "one shape")


def test_a_pack_comes_back_as_it_went():
    assert pack_from_text(pack_to_text(pack(3))) == pack(3)


def test_a_pack_of_many_cells_travels_in_a_twentieth_of_its_json():
    # Tune holds several copies of what it is given, for a thousand packs: as JSON they were 2 KiB a cell of the driver's memory.
    plain = json.dumps([cell_to_json(c) for c in pack(200).cells])
    assert len(pack_to_text(pack(200))) < len(plain) / 20
