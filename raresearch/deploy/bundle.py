"""The one file of a frozen ensemble, and scoring from it.

A ZIP archive, nothing compressed, every timestamp the same, so that the same ensemble gives the same bytes:

    card.json              what it is (see `card`), with the SHA-256 of every part and of itself
    ensemble.onnx          scaling, members, combination, calibration: tensors as stored → score (N,) float64
    ensemble.pt2           the same as a torch.export program
    weights.safetensors    the members' parameters: "<member>/<parameter>"

`load_bundle` reads bytes into memory and hands ONNX to onnxruntime: it unpickles nothing, extracts nothing to disk and runs
no code of an experiment. It never opens ``ensemble.pt2``: `torch.export.load` falls back to unpickling (weights_only=False)
where an archive asks for it, so that part is for programs of one's own and for files from people one trusts. Hashes find
damage and careless edits; they are no signature: whoever writes a file writes its hashes. Keep the card's hash elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from raresearch.deploy.card import FORMAT, KIND, PARTS
from raresearch.deploy.scorer import CHUNK, checked_inputs, require
from raresearch.errors import DataError
from raresearch.experiment import TensorField
from raresearch.types import Array, digest

CARD = "card.json"
_MEND = "copy it again, or export it again"
#: the key of an entry that points ONNX to another file, as its protobuf has it: such a model could read files beside it
_EXTERNAL = b"\x0a\x08location"


def pack(card: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """The bundle's bytes; adds the hashes to the card."""
    sums = {name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in parts.items()}
    whole = {**card, "parts": sums}
    whole["hash"] = digest(whole, 64)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        text = json.dumps(whole, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
        for name, content in {CARD: text.encode(), **dict(sorted(parts.items()))}.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return target.getvalue()


def load_bundle(path: Path | str) -> Bundle:
    """The frozen ensemble in ``path``, every hash checked.

    Raises `DataError` for a file that is missing, truncated, damaged, altered, or holds anything but a bundle's parts.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            str(path), f"cannot be read ({error.strerror})", "give a file that `raresearch export` wrote"
        ) from error
    return unpack(content, str(path))


def unpack(content: bytes, place: str) -> Bundle:
    """The bundle in ``content``; raises as `load_bundle`."""
    parts = _read(content, place)
    card = _card(parts.pop(CARD), place)
    listed = card["parts"]
    if set(parts) != set(listed):
        raise DataError(place, f"parts {sorted(set(parts) ^ set(listed))} are in the card or in the file, not in both", _MEND)
    for name, part in parts.items():
        if hashlib.sha256(part).hexdigest() != listed[name].get("sha256"):
            raise DataError(f"{place}: {name}", "is not what the card says (SHA-256 differs)", _MEND)
    if _EXTERNAL in parts["ensemble.onnx"]:
        raise DataError(f"{place}: ensemble.onnx", "points to a file outside the bundle", "export it again")
    return Bundle(card, parts["ensemble.onnx"])


def _read(content: bytes, place: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _refuse_strangers(entries, place)
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OSError, RuntimeError) as error:
        raise DataError(place, f"is not a bundle, or truncated or damaged ({error})", _MEND) from error


def _refuse_strangers(entries: list[zipfile.ZipInfo], place: str) -> None:
    """Names are compared with the few that may be there, so no path can lead anywhere; sizes are those of the file."""
    names = [entry.filename for entry in entries]
    for entry in entries:
        if entry.filename not in (CARD, *PARTS):
            raise DataError(f"{place}: {entry.filename!r}", "is no part of a bundle", "do not use a file that holds it")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise DataError(f"{place}: {entry.filename}", "is compressed or encrypted; bundles are neither", _MEND)
    if len(set(names)) < len(names) or not {CARD, "ensemble.onnx"} <= set(names):
        raise DataError(place, f"needs {CARD} and ensemble.onnx, each once; holds {', '.join(names) or 'nothing'}", _MEND)


def _card(content: bytes, place: str) -> dict[str, Any]:
    where = f"{place}: {CARD}"
    try:
        card = json.loads(content)
        sound = card["kind"] == KIND and card["hash"] == digest({k: v for k, v in card.items() if k != "hash"}, 64)
        formatted, shaped = card["format"], isinstance(card["parts"], dict) and isinstance(card["inputs"], list)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(where, "is not the card of a bundle", _MEND) from error
    if formatted != FORMAT:
        raise DataError(where, f"is of format {formatted}", f"this raresearch reads format {FORMAT}")
    if not (sound and shaped):
        raise DataError(where, "was altered: its hash does not fit its content", _MEND)
    return dict(card)


@dataclass(frozen=True)
class Bundle:
    """A frozen ensemble from one file; a `Scorer` that needs neither store nor experiment. ``card``: see `card.make_card`."""

    card: Mapping[str, Any]
    onnx: bytes
    threads: int = 1

    def __getstate__(self) -> dict[str, Any]:
        return {"card": self.card, "onnx": self.onnx, "threads": self.threads}  # a session cannot travel

    @cached_property
    def inputs(self) -> tuple[TensorField, ...]:
        """The tensors of an event."""
        return tuple(TensorField(t["name"], tuple(t["shape"]), t["dtype"], tuple(t["columns"])) for t in self.card["inputs"])

    @property
    def threshold(self) -> float | None:
        """The cut that was fixed on validation: accepted where score >= threshold."""
        fixed = self.card["threshold"]
        return None if fixed is None else float(fixed["value"])

    @property
    def origin(self) -> Mapping[str, Any]:
        """What scores made with it are to say of themselves."""
        kept = {name: self.card[name] for name in ("study", "experiment", "stamp", "choice", "threshold", "seal")}
        return {**kept, "bundle": self.card["hash"]}

    @cached_property
    def _session(self) -> Any:
        require("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = self.threads, 1, 4
        try:
            return onnxruntime.InferenceSession(self.onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base and are defined in its binary
            raise DataError("ensemble.onnx", f"onnxruntime refuses it: {_line(error)}", "export it again") from error

    def score(self, inputs: Mapping[str, Array]) -> Array:
        """Scores (N,) float64 of ``inputs`` name → (N, *S); raises `DataError` for events that do not fit."""
        checked = checked_inputs(self.inputs, inputs)
        n = len(next(iter(checked.values())))
        parts = [self._run({f: x[start : start + CHUNK] for f, x in checked.items()}) for start in range(0, n, CHUNK)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _run(self, inputs: Mapping[str, Array]) -> Array:
        session = self._session
        try:
            scores = session.run(["score"], {name: np.ascontiguousarray(x) for name, x in inputs.items()})[0]
        except Exception as error:  # as above
            raise DataError("ensemble.onnx", f"onnxruntime failed: {_line(error)}", "export it again") from error
        return np.asarray(scores, dtype=np.float64)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
