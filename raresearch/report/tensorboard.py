"""TensorBoard event files: hyperparameters with the objective, learning curves, mean ± std over repeats.

Written from TensorBoard's own protocol buffers: neither torch nor tensorflow is imported. Runs:

    .                              the HParams experiment: which values differ, which figures are judged; in a second file the report's
                                   pictures
    configs/<label>                one HParams session a config; its objective and other figures, mean over repeats
    configs/<label>/mean           mean over repeats of everything recorded at each epoch; beside it mean+std and mean-std
    cells/<label>/<seed>-<fold>    the curves of one cell, where there are at most `MOST_CELLS`
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from raresearch.report.curves import Curve, mean_curve
from raresearch.report.labels import differing, value_text
from raresearch.report.numbers import Spread
from raresearch.report.results import Results
from raresearch.types import Array, EpochTable

MOST_CELLS = 200
KEYS = frozenset({"cell", "config", "fold", "seed", "epoch"})
TAGS = {"train_loss": "loss/training", "val_loss": "loss/validation", "val_accuracy": "accuracy/validation"}


class Run:
    """One event file of a run. The time of every event is the study's, so the same store gives the same bytes."""

    def __init__(self, folder: Path, time: float, name: str = "raresearch") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._time = time
        self._file = (folder / f"events.out.tfevents.{int(time):010d}.{name}").open("wb")
        self._write(Event(wall_time=time, file_version="brain.Event:2"))

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Values by tag at ``step``; those that are not finite are left out."""
        found = [Summary.Value(tag=t, simple_value=v) for t, v in values.items() if np.isfinite(v)]
        if found:
            self._write(Event(wall_time=self._time, step=step, summary=Summary(value=found)))

    def curves(self, steps: Array, columns: Mapping[str, Array]) -> None:
        """``columns`` (E,) by tag at ``steps`` (E,)."""
        for row, step in enumerate(steps):
            self.scalars(int(step), {tag: float(values[row]) for tag, values in columns.items()})

    def hparams(self, tag: str, content: Any) -> None:
        """One message of the HParams plug-in."""
        about = metadata.create_summary_metadata(content)
        # Once more: the order of what it says of hyperparameters would be another one in each process.
        held = plugin_data_pb2.HParamsPluginData.FromString(about.plugin_data.content)
        about.plugin_data.content = held.SerializeToString(deterministic=True)
        value = Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
        self._write(Event(wall_time=self._time, summary=Summary(value=[value])))

    def images(self, pictures: Mapping[str, bytes]) -> None:
        """PNG files by tag."""
        for tag, png in pictures.items():
            width, height, _, kind = struct.unpack(">IIBB", png[16:26])  # of a PNG's header, which comes first
            channels = {0: 1, 4: 2, 6: 4}.get(kind, 3)
            image = Summary.Image(width=width, height=height, colorspace=channels, encoded_image_string=png)
            self._write(Event(wall_time=self._time, summary=Summary(value=[Summary.Value(tag=tag, image=image)])))

    def _write(self, event: Any) -> None:
        """One record: length, its checksum, content, its checksum. TensorBoard's own writer computes these byte by byte in Python,
        which is most of the time that thousands of scalars take."""
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        self._file.write(length + _checksum(length) + content + _checksum(content))


def _checksum(content: bytes) -> bytes:
    """CRC-32C, masked as the format asks: turned right by 15 bits, plus a constant."""
    crc = google_crc32c.value(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def write_tensorboard(results: Results, folder: Path) -> None:
    """Write all runs below ``folder``, which must be empty."""
    time, names = _created(results), run_names(results.labels)
    with Run(folder, time) as run:
        run.hparams(metadata.EXPERIMENT_TAG, _experiment(results, time))
    groups = {str(key[0]): rows for key, rows in results.epochs.groups("config")} if len(results.epochs) else {}
    for config, rows in groups.items():
        _write_config(results, config, rows, folder / "configs" / names[config], time)
    if sum(c.state == "done" for c in results.cells) <= MOST_CELLS:
        for config, rows in groups.items():
            for (seed, fold), cell in rows.groups("seed", "fold"):
                with Run(folder / "cells" / names[config] / f"{seed}-{fold}", time) as run:
                    run.curves(cell["epoch"], {_tag(n): np.asarray(cell[n], dtype=np.float64) for n in _columns(cell)})


def write_pictures(results: Results, folder: Path, pictures: Mapping[str, bytes]) -> None:
    """Write PNG files by tag into the run of ``folder`` itself."""
    with Run(folder, _created(results), "pictures") as run:
        run.images(pictures)


def run_names(labels: Mapping[str, str]) -> dict[str, str]:
    """Config id → a folder's name: the label with nothing but letters, digits, ``+ - . =``, still all different."""
    names: dict[str, str] = {}
    for config, label in labels.items():
        name = re.sub(r"[^\w+.=-]+", "_", label, flags=re.ASCII).strip("._") or "config"
        names[config] = name if name not in names.values() else f"{name}_{config[:6]}"
    return names


def _write_config(results: Results, config: str, rows: EpochTable, folder: Path, time: float) -> None:
    curves = {_tag(n): mean_curve(rows, n) for n in _columns(rows)}
    with Run(folder, time) as run:
        run.hparams(metadata.SESSION_START_INFO_TAG, _session(results, config, time))
        run.scalars(0, _figures(results, config))
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time)
        run.hparams(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end))
    # Without a second repeat there is no band.
    banded = any(np.isfinite(c.std).any() for c in curves.values())
    for name, side in (("mean", 0), ("mean+std", 1), ("mean-std", -1)) if banded else (("mean", 0),):
        with Run(folder / name, time) as run:
            _band(run, curves, side)


def _band(run: Run, curves: Mapping[str, Curve], side: int) -> None:
    """Curves over the same epochs share their records."""
    for steps in {c.epoch.tobytes(): c.epoch for c in curves.values()}.values():
        same = {tag: c for tag, c in curves.items() if np.array_equal(c.epoch, steps)}
        # 0 × NaN would take the mean along where there is no spread.
        run.curves(steps, {tag: c.mean + side * c.std if side else c.mean for tag, c in same.items()})


def _figures(results: Results, config: str) -> dict[str, float]:
    done = results.done(config)
    return {f"validation/{name}": Spread.of(r.value(name) for r in done).mean for name in _foms(results)}


def _experiment(results: Results, time: float) -> Any:
    configs = list(results.configs.values())
    infos = [api_pb2.HParamInfo(name=n, type=_type([c.get(n) for c in configs])) for n in differing(configs)]
    infos.append(api_pb2.HParamInfo(name="label", type=api_pb2.DATA_TYPE_STRING))
    metrics = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(tag=f"validation/{name}"), display_name=f"{name} (validation, mean over repeats)"
        )
        for name in _foms(results)
    ]
    description = " · ".join(p for p in (str(results.about.get("study", "")), results.stamp) if p)
    experiment = api_pb2.Experiment(description=description, time_created_secs=time, hparam_infos=infos, metric_infos=metrics)
    return plugin_data_pb2.HParamsPluginData(experiment=experiment)


def _session(results: Results, config: str, time: float) -> Any:
    configs = list(results.configs.values())
    start = plugin_data_pb2.SessionStartInfo(group_name=results.labels[config], start_time_secs=time)
    for name in differing(configs):
        if name not in results.configs[config]:
            continue  # an axis whose condition this config does not meet
        kind, value = _type([c.get(name) for c in configs]), results.configs[config][name]
        field = start.hparams[name]
        if kind == api_pb2.DATA_TYPE_BOOL:
            field.bool_value = value
        elif kind == api_pb2.DATA_TYPE_FLOAT64:
            field.number_value = value
        else:
            field.string_value = value_text(value)
    start.hparams["label"].string_value = results.labels[config]
    return plugin_data_pb2.HParamsPluginData(session_start_info=start)


def _type(values: Sequence[Any]) -> Any:
    """The one type that holds all ``values``: TensorBoard refuses a hyperparameter of two types."""
    present = [v for v in values if v is not None]
    if all(isinstance(v, bool) for v in present) and len(present) == len(values):
        return api_pb2.DATA_TYPE_BOOL
    if present and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in present):
        return api_pb2.DATA_TYPE_FLOAT64
    return api_pb2.DATA_TYPE_STRING


def _foms(results: Results) -> Iterator[str]:
    yield from (results.objective.name, *results.others)


def _columns(rows: EpochTable) -> list[str]:
    return [n for n, column in rows.columns.items() if n not in KEYS and np.issubdtype(column.dtype, np.number)]


def _tag(column: str) -> str:
    return TAGS.get(column, f"epochs/{column}")


def _created(results: Results) -> float:
    try:
        return datetime.fromisoformat(str(results.about.get("created", ""))).timestamp()
    except ValueError:
        return 0.0
