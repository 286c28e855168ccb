"""Half-trained cells: one safetensors file each in ``DIR/checkpoints``, replaced whole, gone when the cell has landed.

Notes, not truth: a checkpoint that is lost, torn or somebody else's costs the epochs since the cell's beginning and nothing
more. So none is flushed to the disk (a power cut may tear one; its digest tells), and a disk that refuses one stops nobody's
training. Reading one runs no code: arrays, and a text of JSON in the file's header.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from raresearch.errors import StoreError, WriteFailed
from raresearch.store.remote import Elsewhere
from raresearch.types import Array

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Checkpoint:
    """``about``: plain data that JSON can hold; ``arrays`` by name."""

    about: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """A safetensors file. Raises `TypeError` where ``about`` holds what JSON cannot."""
        from safetensors.numpy import save

        # Copies where an array is not contiguous; no axis is added to one without axes, as `ascontiguousarray` would.
        arrays = {name: np.require(a, requirements="C") for name, a in self.arrays.items()}
        about = json.dumps(dict(self.about), sort_keys=True)
        return bytes(save(arrays, metadata={"about": about, "digest": _digest(about, arrays)}))

    @classmethod
    def from_bytes(cls, content: bytes) -> Checkpoint:
        """What `to_bytes` gave; `StoreError` where it is damaged or something else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(content)
            # The format: eight bytes with the header's length, then the header as JSON; `load` has just held it to that.
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
            if header["digest"] != _digest(header["about"], arrays):
                raise StoreError("checkpoint", "damaged", "it is left aside")
            about = dict(json.loads(header["about"]))
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise StoreError("checkpoint", "not readable as a checkpoint", "it is left aside") from error
        return cls(about, arrays)


class Checkpoints:
    """Those of the store in ``root``, as one worker reads and writes them for the cells ``keys``, which it has leased."""

    def __init__(self, root: Path, there: Elsewhere, keys: Sequence[str] = ()) -> None:
        self.folder, self.there = root / FOLDER, there
        self.known = set(there.files(FOLDER)) & {f"{key}.safetensors" for key in keys}

    def load(self, key: str) -> Checkpoint | None:
        """The checkpoint of ``key``; None where there is none. Raises `StoreError` where it is damaged."""
        path = self._path(key)
        if path.name not in self.known:
            return None
        try:
            self.there.bring(path)
            return Checkpoint.from_bytes(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError("checkpoint", f"not readable ({error.strerror})", "it is left aside") from error

    def save(self, key: str, checkpoint: Checkpoint) -> str:
        """Replace the checkpoint of ``key``; why it could not be kept, "" where it was."""
        path = self._path(key)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            path.parent.mkdir(exist_ok=True)
            draft.write_bytes(checkpoint.to_bytes())
            os.replace(draft, path)
            self.known.add(path.name)
            self.there.push(path)
        except TypeError as error:
            return f"it holds what no checkpoint can ({error})"
        except (OSError, WriteFailed) as error:
            return f"the store does not take it ({' '.join(str(error).split())[:200]})"
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        return ""

    def drop(self, keys: Iterable[str]) -> None:
        """Forget those of ``keys``: they have landed. What cannot be removed now is swept at the end of the run."""
        for path in (self._path(key) for key in keys):
            if path.name in self.known:
                self.known.discard(path.name)
                with suppress(OSError, WriteFailed):
                    path.unlink(missing_ok=True)
                    self.there.remove(path)

    def sweep(self, landed: Iterable[str]) -> None:
        """Forget those of the cells ``landed``, whoever wrote them, and the folder where it is empty then."""
        self.known = set(self.there.files(FOLDER))
        self.drop(landed)
        with suppress(OSError):
            self.folder.rmdir()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _digest(about: str, arrays: Mapping[str, Array]) -> str:
    """SHA-256 of everything in a checkpoint."""
    seen = hashlib.sha256(about.encode())
    for name in sorted(arrays):
        seen.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        seen.update(arrays[name].tobytes())
    return seen.hexdigest()
