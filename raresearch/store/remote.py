"""A store on any pyarrow file system (S3 and what speaks like it, GCS, …): objects there, a mirror of them here.

Questions are answered from the mirror, an ordinary store folder, so that scores are memory-mapped and everything that reads a
folder reads this one. Nothing there is renamed, appended to or locked:

- a landing is its files under a name of its own, ``cells/<name>-<random>/``, and then one small marker ``landed/<name>``, whose
  name derives from the cells. The marker makes it visible, whole. Two workers that land the same cells write two sets of files
  and one marker; whichever stands, it names a whole set, and the numbers are the same;
- everything else is small, written whole, and replaced whole (`study.json`, events, verdicts, the ledger under a claim);
- who trains what is said by claims with heartbeats (`raresearch.store.claims`).
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from raresearch.errors import StoreError, WriteFailed
from raresearch.store.claims import Claims, Settled
from raresearch.store.files import landing_folder, make_folder, persistently, write_atomic
from raresearch.store.lease import held, lease, only_driver
from raresearch.types import digest

T = TypeVar("T")
FILE = ".remote"  # in a mirror: the URI of what it mirrors
SMALL = ("events", "race")  # folders of files that are written once
SINGLE = ("study.json", "ledger.jsonl", "unsealed.json")
AT_ONCE = 16  # transfers
REST = 0.5  # seconds between two looks at what has landed there


class Elsewhere(Protocol):
    """What a store does besides writing its folder: nothing where the folder is the store, see `Remote` where it is a mirror."""

    def pull(self) -> None:
        """Bring landings that are not here yet."""

    def pull_datasets(self) -> None:
        """Bring datasets that are not here yet."""

    def push(self, path: Path) -> None:
        """Bring ``path``, a file of the folder, there."""

    def files(self, folder: str) -> list[str]:
        """Names of the files in ``folder``, a folder of small files that come and go."""

    def bring(self, path: Path) -> None:
        """Bring ``path``, a file of the folder, here as it is there now."""

    def remove(self, path: Path | str) -> None:
        """Remove ``path``, a file of the folder, there too."""

    def push_landing(self, scratch: Path, name: str) -> None:
        """Bring the files of a landing there and make it visible."""

    def push_dataset(self, name: str) -> None:
        """Bring the dataset ``name`` there."""

    def leases(self, keys: Sequence[str], settled: Settled) -> Any:
        """Context: key → whether it is ours to train; waits for others' until they are ``settled`` or free."""

    def held(self, key: str) -> bool:
        """Whether another process has taken the cell ``key``."""

    def only_driver(self) -> Any:
        """Context: True while this process alone drives the study."""

    def alone(self, name: str) -> Any:
        """Context: nobody else is in the block of this ``name``, on any machine."""


@dataclass(frozen=True)
class Here:
    """The folder is the store."""

    root: Path

    def pull(self) -> None:
        """Nothing to bring."""

    def pull_datasets(self) -> None:
        """Nothing to bring."""

    def push(self, path: Path) -> None:
        """It is where it belongs."""

    def files(self, folder: str) -> list[str]:
        path = self.root / folder
        return sorted(p.name for p in path.iterdir()) if path.is_dir() else []

    def bring(self, path: Path) -> None:
        """It is where it belongs."""

    def remove(self, path: Path | str) -> None:
        """It is removed where it was."""

    def push_landing(self, scratch: Path, name: str) -> None:
        """Its rename makes it visible."""

    def push_dataset(self, name: str) -> None:
        """It is where it belongs."""

    @contextmanager
    def leases(self, keys: Sequence[str], settled: Settled) -> Iterator[dict[str, bool]]:
        def one(key: str) -> bool:
            return taken.enter_context(lease(self.root / "leases.lock", key, lambda: key in settled([key])))

        with ExitStack() as taken:
            # In the order of keys: two workers that want each other's cells would wait for ever otherwise.
            ours = {key for key in sorted(keys) if one(key)}
            ours -= set(settled(sorted(ours)))  # one look for all of them, now that nobody else can land them
            yield {key: key in ours for key in keys}

    def held(self, key: str) -> bool:
        return held(self.root / "leases.lock", key)

    @contextmanager
    def only_driver(self) -> Iterator[bool]:
        with only_driver(self.root / "driver.lock") as alone:
            yield alone

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        yield  # the ledger locks its own file


@dataclass
class Remote:
    """The store at ``uri``, mirrored in the folder ``root``."""

    root: Path
    uri: str
    _looked: float = field(default=-1e9, repr=False)

    @cached_property
    def _place(self) -> tuple[Any, str]:
        from pyarrow import fs

        try:
            system, prefix = fs.FileSystem.from_uri(self.uri)
        except (ValueError, OSError) as error:  # pyarrow's ArrowInvalid is a ValueError
            remedy = "write e.g. s3://bucket/runs/mine (its endpoint and region as ?endpoint_override=…&region=…)"
            raise StoreError(self.uri, f"no place for a store ({' '.join(str(error).split())[:150]})", remedy) from error
        return system, prefix.rstrip("/")

    # -- objects

    def put(self, name: str, content: bytes) -> None:
        """Write an object whole. Raises `WriteFailed` after the last try."""

        def once() -> None:
            system, prefix = self._place
            if self._needs_folders:
                system.create_dir(f"{prefix}/{name}".rpartition("/")[0], recursive=True)
                draft = f"{prefix}/{name}.{uuid.uuid4().hex[:8]}.tmp"
                with system.open_output_stream(draft) as sink:
                    sink.write(content)
                system.move(draft, f"{prefix}/{name}")
            else:
                with system.open_output_stream(f"{prefix}/{name}") as sink:
                    sink.write(content)

        persistently(lambda: self._try(once, name))

    def get(self, name: str) -> bytes | None:
        """An object's content; None where there is none."""

        def once() -> bytes | None:
            system, prefix = self._place
            try:
                with system.open_input_stream(f"{prefix}/{name}") as source:
                    return bytes(source.read())
            except FileNotFoundError:
                return None

        return persistently(lambda: self._try(once, name))

    def names(self, folder: str) -> list[str]:
        """Names of the objects in ``folder``, sorted; empty where there is no such folder."""
        from pyarrow import fs

        def once() -> list[str]:
            system, prefix = self._place
            found = system.get_file_info(fs.FileSelector(f"{prefix}/{folder}", allow_not_found=True))
            return sorted(i.base_name for i in found if i.type == fs.FileType.File and not i.base_name.endswith(".tmp"))

        return persistently(lambda: self._try(once, folder))

    def remove(self, name: Path | str) -> None:
        """Remove an object, named or by its file here; no matter where there is none."""
        name = str(name.relative_to(self.root)) if isinstance(name, Path) else name

        def once() -> None:
            system, prefix = self._place
            try:
                system.delete_file(f"{prefix}/{name}")
            except FileNotFoundError:
                return

        persistently(lambda: self._try(once, name))

    @cached_property
    def _needs_folders(self) -> bool:
        return str(self._place[0].type_name) == "local"  # there, a write is not whole until it is renamed

    def _try(self, act: Callable[[], T], name: str) -> T:
        try:
            return act()
        except OSError as error:
            text = " ".join(str(error).split())[:200]
            remedy = "check address, bucket and credentials; what has landed stays, the same line goes on"
            raise WriteFailed(f"{self.uri}: {name}", f"the object store refuses ({text})", remedy) from error

    # -- what a store needs

    def pull(self) -> None:
        if time.monotonic() - self._looked < REST:
            return
        self._looked = time.monotonic()
        here = {p.name for p in (self.root / "cells").iterdir()} if (self.root / "cells").is_dir() else set()
        self._all(self._bring_landing, [n for n in self.names("landed") if n not in here])

    def _bring_landing(self, name: str) -> None:
        self._bring(json.loads(self.get(f"landed/{name}") or b"{}"), self.root / "cells" / name)

    def _bring(self, marker: Mapping[str, Any], final: Path) -> None:
        """Make the folder ``final`` of what ``marker`` names: {"data": folder there, "files": {name: bytes}}."""
        if not marker:
            return
        make_folder(final.parent)
        with landing_folder(final, self.root / ".tmp") as scratch:
            for name, size in marker["files"].items():
                content = self.get(f"{marker['data']}/{name}")
                if content is None or len(content) != size:
                    remedy = "copy it again, or remove its marker: its cells are then trained anew"
                    raise StoreError(f"{self.uri}: {marker['data']}/{name}", "is damaged or missing", remedy)
                path = within(scratch, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def pull_datasets(self) -> None:
        missing = [n for n in self.names("datasets") if not (self.root / "datasets" / n.removesuffix(".json")).exists()]
        for name in missing:
            self._bring(json.loads(self.get(f"datasets/{name}") or b"{}"), self.root / "datasets" / name.removesuffix(".json"))

    def pull_small(self) -> None:
        """Bring what is no landing: the study, its events, verdicts and ledger."""
        wanted = [*SINGLE, *(f"{folder}/{name}" for folder in SMALL for name in self.names(folder))]
        self._all(
            self._bring_file, [n for n in wanted if n in ("ledger.jsonl", "unsealed.json") or not (self.root / n).exists()]
        )

    def _bring_file(self, name: str) -> None:
        content = self.get(name)
        if content is not None:
            path = within(self.root, name)
            make_folder(path.parent)
            write_atomic(path, lambda p: _write(p, content))

    def push(self, path: Path) -> None:
        self.put(str(path.relative_to(self.root)), path.read_bytes())

    def files(self, folder: str) -> list[str]:
        return self.names(folder)

    def bring(self, path: Path) -> None:
        self._bring_file(str(path.relative_to(self.root)))

    def push_landing(self, scratch: Path, name: str) -> None:
        self._push_folder(scratch, f"cells/{name}-{uuid.uuid4().hex[:8]}", f"landed/{name}")

    def push_dataset(self, name: str) -> None:
        if f"{name}.json" not in self.names("datasets"):
            self._push_folder(
                self.root / "datasets" / name, f"dataset-files/{name}-{uuid.uuid4().hex[:8]}", f"datasets/{name}.json"
            )

    def _push_folder(self, folder: Path, data: str, marker: str) -> None:
        """Files first, the marker last: who sees the marker sees every file."""
        files = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
        self._all(lambda name: self.put(f"{data}/{name}", files[name].read_bytes()), list(files))
        content = {"data": data, "files": {name: path.stat().st_size for name, path in files.items()}}
        self.put(marker, json.dumps(content).encode())

    def _all(self, act: Callable[[str], None], names: Sequence[str]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(act, names):  # the first failure is raised
                pass

    # -- claims

    @contextmanager
    def leases(self, keys: Sequence[str], settled: Settled) -> Iterator[dict[str, bool]]:
        with Claims(self).held(keys, settled) as mine:
            self._looked = -1e9  # what landed since the last look, before the claims were ours, counts
            done = settled([key for key, ours in mine.items() if ours])
            yield {key: ours and key not in done for key, ours in mine.items()}

    def held(self, key: str) -> bool:
        return bool(self.names(f"claims/{key}"))

    @contextmanager
    def only_driver(self) -> Iterator[bool]:
        with only_driver(self.root / "driver.lock") as alone:
            if not alone:  # on this machine, which is known at once
                yield False
                return
            with Claims(self).at_once("driver") as ours:
                yield ours

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        with Claims(self).held([name], lambda keys: ()):
            self.pull_small()
            yield


def elsewhere(root: Path) -> Elsewhere:
    """Where the store in folder ``root`` really is. A stage's folder lies in its study's mirror."""
    for folder, below in ((root, ""), (root.parent, f"/{root.name}")):
        if (folder / FILE).is_file():
            base, query, options = (folder / FILE).read_text().strip().partition("?")
            return Remote(root, f"{base.rstrip('/')}{below}{query}{options}")
    return Here(root)


def local(place: str | Path) -> Path:
    """The folder to work in for ``place``: itself, or the mirror of a URI with what is there already, events' data excepted.

    Mirrors are kept in $RARESEARCH_CACHE (default ~/.cache/raresearch) and may be deleted at any time when nothing runs.
    """
    if "://" not in str(place):
        return Path(place)
    folder = mirror(str(place))
    remote = Remote(folder, str(place))
    remote.pull_small()
    remote.pull()
    return folder


def mirror(uri: str) -> Path:
    """The folder that mirrors ``uri`` on this machine, made where it is not there yet; readable by its owner alone."""
    cache = Path(os.environ.get("RARESEARCH_CACHE", Path.home() / ".cache" / "raresearch"))
    folder = make_folder(cache / digest(uri, 20))
    folder.chmod(0o700)
    if not (folder / FILE).exists():
        write_atomic(folder / FILE, lambda p: _write(p, uri.encode()))
    return folder


def within(folder: Path, name: str) -> Path:
    """``folder / name``; `StoreError` where that would lie outside: names come from somebody else's store."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StoreError(name, "this name leads out of the store's folder", "do not use this store: it was tampered with")
    return path


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
