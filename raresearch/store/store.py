"""`Store`: one study's folder. Writing is atomic, reading sees only what has landed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from raresearch.errors import StoreError
from raresearch.store.columns import mask, places, unpacked
from raresearch.store.files import landing_folder, make_folder, persistently, refusals, write_atomic
from raresearch.store.index import LEAST, Known, indexed, landed, outgrown, write_index
from raresearch.store.records import CELLS, CellRecord, cells_table, epochs_table, scores_table
from raresearch.store.remote import FILE as REMOTE
from raresearch.store.remote import elsewhere
from raresearch.types import Array, Outcome, canonical, digest

FORMAT = 1
FEW = 64  # landings that are read one by one
OURS = {"cells", "events", "datasets", "race", "life", "index", "checkpoints", ".tmp", "driver.lock", "leases.lock", REMOTE}


class Store:
    """The store in folder ``root``. Instances are cheap, hold no open file and may be used from any process.

    Of cells that differ in their budget alone (what early stopping trained on, rung by rung) only the longest is shown;
    ``whole``: all of them.
    """

    def __init__(self, root: Path | str, whole: bool = False) -> None:
        self.root, self.whole = Path(root), whole
        self.elsewhere = elsewhere(self.root)  # does nothing where the folder is the store itself
        self._read: dict[str, Known] = {}  # by kind; landings never change, so what was read once stays true
        self._sorted: tuple[Known, pa.Table] | None = None  # `cells` of what `_look` knew
        self._done: set[str] = set()  # cells, of the landings in `_heard`
        self._heard: set[str] | None = None
        self._told: set[str] | None = None  # landings that `news` has told of

    @classmethod
    def check(cls, root: Path | str, identity: str) -> None:
        """`StoreError` where ``root`` holds another study or something else; writes nothing."""
        store = cls(root)
        with refusals(store.root):
            names = {p.name for p in store.root.iterdir()} if store.root.exists() else set()
        if "study.json" in names:
            there = store.about()
            if there["identity"] != identity:
                rule = f"the folder holds another study ({there.get('study', '?')!r} with another YAML, scale or version)"
                raise StoreError(str(root), rule, "give another folder with --out")
        elif names - OURS:
            raise StoreError(
                str(root), f"the folder holds something else ({min(names - OURS)})", "give a new folder with --out"
            )

    @classmethod
    def create(cls, root: Path | str, identity: str, about: Mapping[str, Any]) -> Store:
        """The store of the study with ``identity`` in ``root``: a new one, or the one that is there.

        Raises `StoreError` where ``root`` holds another study, something else, or cannot be written.
        """
        cls.check(root, identity)
        store = cls(root)
        make_folder(store.root / "cells")
        make_folder(store.root / "events")
        path = store.root / "study.json"
        if not path.exists():
            content = canonical({**about, "identity": identity, "format": FORMAT})
            write_atomic(path, lambda p: _write_text(p, content))
            store.elsewhere.push(path)
        return store

    @classmethod
    def open(cls, root: Path | str) -> Store:
        """The store in ``root``; `StoreError` where there is none."""
        store = cls(root)
        if not (store.root / "study.json").is_file():
            raise StoreError(str(root), "no study here", "give the folder that `raresearch run` printed")
        return store

    def about(self) -> dict[str, Any]:
        """What `create` was given: identity, spec, versions."""
        try:
            content = dict(json.loads((self.root / "study.json").read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:  # no UTF-8, no JSON, no mapping
            raise StoreError(
                str(self.root / "study.json"), "not readable as JSON", "restore it or start a new folder"
            ) from error
        if content.get("format") != FORMAT:
            raise StoreError(str(self.root), f"store format {content.get('format')}", f"this raresearch reads format {FORMAT}")
        return dict(content)

    # -- writing

    def land(self, records: Sequence[CellRecord]) -> None:
        """Make ``records`` part of the store by one rename: all of them or none.

        A passing trouble of the disk is tried again; raises `WriteFailed` where it stays, and for a full disk.
        """
        if records:
            persistently(lambda: self._land_once(records))

    def _land_once(self, records: Sequence[CellRecord]) -> None:
        name = digest(sorted([r.cell.key, r.outcome.state] for r in records), 24)
        with landing_folder(self.root / "cells" / name, self.root / ".tmp") as folder:
            pq.write_table(cells_table(records), folder / "cells.parquet")
            epochs = epochs_table(records)
            pq.write_table(epochs, folder / "epochs.parquet", use_dictionary=["cell"])
            for events in sorted({e for r in records for e in r.scores}):
                table = scores_table(records, events)
                if table is not None:
                    _write_ipc(folder / f"scores-{events}.arrow", table)
            weights = {f"{r.cell.key}/{e}/{n}": a for r in records for e, state in r.weights.items() for n, a in state.items()}
            if weights:
                # safetensors' numpy module needs no torch, so a report reads weights on a bare machine. Through bytes, since
                # its own file writing hides a full disk in an exception that is no OSError.
                from safetensors.numpy import save

                (folder / "weights.safetensors").write_bytes(save({k: np.ascontiguousarray(v) for k, v in weights.items()}))
            self.elsewhere.push_landing(folder, name)

    def put_events(self, name: str, table: pa.Table) -> None:
        """Keep the events that scores of ``name`` are ordered by; writing the same name again changes nothing."""
        path = self.root / "events" / f"{name}.parquet"
        if not path.exists():
            write_atomic(path, lambda p: pq.write_table(table, p))
            self.elsewhere.push(path)

    def put_verdict(self, config: str, verdict: Mapping[str, Any]) -> None:
        """Keep why ``config`` has left the race: a later run does not decide it again."""
        make_folder(self.root / "race")
        content = canonical({n: None if isinstance(v, float) and math.isinf(v) else v for n, v in verdict.items()})
        path = self.root / "race" / f"{config}.json"
        write_atomic(path, lambda p: _write_text(p, content))
        self.elsewhere.push(path)

    # -- reading

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """Config id → why it has left the race (`raresearch.racing.Verdict`) or stopped (`raresearch.stopping.Stop`); empty
        where none has."""
        return {p.stem: json.loads(p.read_text()) for p in sorted((self.root / "race").glob("*.json"))}

    def stopped(self) -> dict[str, int]:
        """Config id → epochs after which it was stopped early."""
        return {config: int(verdict["epochs"]) for config, verdict in self.verdicts().items() if "epochs" in verdict}

    def paused(self) -> frozenset[str]:
        """Cells that wait at a rung until it is known whether their config goes on: neither finished nor stopped."""
        if not self.about().get("spec", {}).get("stopping"):
            return frozenset()
        stopped = self.stopped()
        rows = [r for r in self.cells().to_pylist() if r["state"] == "done" and r["config"] not in stopped]
        return frozenset(r["cell"] for r in rows if r["epochs"] < json.loads(r["values"])["train.epochs"])

    def landings(self) -> list[Path]:
        """Folders that have landed, in the order of their names."""
        return [self.root / "cells" / name for name in self._landed_names()]

    def _landed_names(self) -> list[str]:
        self.elsewhere.pull()
        try:
            # Thousands, at every look: the listing itself says what is a folder, and names sort faster than paths.
            with os.scandir(self.root / "cells") as found:
                return sorted(entry.name for entry in found if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _landed_beside(self, known: Collection[str]) -> list[str]:
        """Names of what has landed, without ``known``: of 10,000 in two thirds of the time that it takes to list all of them."""
        self.elsewhere.pull()
        try:
            names = os.listdir(self.root / "cells")
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in names if name not in known and (self.root / "cells" / name).is_dir())

    def _look(self, kind: str = "cells") -> Known:
        """Everything of ``kind`` ("cells", "epochs") that has landed; only what is new since the last look is read."""
        names = self._landed_names()
        before = self._read.get(kind, Known())
        known = before if before.names else indexed(self.root, kind, names)
        new = [self.root / "cells" / name for name in names if name not in known.names]
        self._read[kind] = known = known.with_new(new, kind)
        return known

    def index(self) -> None:
        """Gather what many landings say in two files, so that reading takes one look instead of thousands.

        A cache: it may be deleted at any time, and where it cannot be written nothing is lost.
        """
        cells = self._look("cells")
        if outgrown(self.root, cells):  # the epochs are many, and none of them is looked at where there is nothing to add
            for kind, known in (("cells", cells), ("epochs", self._look("epochs"))):
                write_index(self.root, kind, known)

    def cells(self) -> pa.Table:
        """One row a cell (see `records.CELLS`) plus ``landing``; ``done`` wins over ``failed`` where a cell was retried."""
        known = self._look()
        # Not `empty_table`, which imports pandas where it is there: a fifth of a second.
        nothing = pa.Table.from_batches([], schema=pa.schema([*CELLS, ("landing", pa.string())]))
        if not known.tables:
            return nothing
        if self._sorted is not None and self._sorted[0] is known:
            return self._sorted[1]
        # "done" sorts before "failed": the first row of each cell is the one that counts.
        order = [(name, "ascending") for name in ("config", "fold", "seed", "cell", "state", "landing")]
        # With all columns of today: landings from before one came have nulls there.
        table = pa.concat_tables([nothing, *known.tables], promote_options="default").sort_by(order)
        _, first = np.unique(_strings(table["cell"]), return_index=True)
        table = table.take(places(np.sort(first)))
        self._sorted = known, table if self.whole else _longest(table)
        return self._sorted[1]

    def outcomes(self) -> dict[str, Outcome]:
        """Cell key → outcome, for everything that has landed."""
        return {row["cell"]: _outcome(row) for row in self.cells().to_pylist()}

    def news(self) -> dict[str, Outcome]:
        """Cell key → outcome, of what has landed since this instance was last asked; the first time nothing.

        It reads those landings and keeps none, whatever else is there: for who looks every few seconds, and all day.
        """
        if self._told is None:
            self._told = set(self._landed_names())
            return {}
        new = self._landed_beside(self._told)
        self._told.update(new)
        found: dict[str, Outcome] = {}
        for name in new:
            for row in landed(self.root / "cells" / name, "cells").to_pylist():
                if row["cell"] not in found or row["state"] == "done":
                    found[row["cell"]] = _outcome(row)
        return found

    def landed(self, key: str) -> bool:
        """True where the cell ``key`` is done."""
        return bool(self.landed_among([key]))

    def landed_among(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that are done. Cheap to ask often: it reads landings not seen before, and keeps names alone."""
        if self._heard is None:
            self._heard = self._all_done()
        for name in self._landed_beside(self._heard):
            self._note_done(landed(self.root / "cells" / name, "done"))
            self._heard.add(name)
        return self._done.intersection(keys)

    def _all_done(self) -> set[str]:
        """Note everything that is done now, from an index of its own: each new worker would else read thousands of landings."""
        names = self._landed_names()
        known = indexed(self.root, "done", names).with_new([self.root / "cells" / name for name in names], "done")
        if len(known.names) - known.in_file >= LEAST:
            write_index(self.root, "done", known)
        for table in known.tables:
            self._note_done(table)
        return set(known.names)

    def _note_done(self, table: pa.Table) -> None:
        # Not by a compute function: given a Python scalar, these import pandas, which takes longer than all the rest.
        self._done.update(_strings(table["cell"])[_strings(table["state"]) == "done"].tolist())

    def epochs(self, cells: pa.Table | None = None) -> pa.Table:
        """One row a (cell, epoch) of the done cells, with their config, fold and seed, ordered by (config, fold, seed, epoch)."""
        cells = self.cells() if cells is None else cells
        done = cells.filter(mask(_strings(cells["state"]) == "done"))
        landings = _unique(done["landing"])
        if not landings:
            return pa.schema([("cell", pa.string()), ("epoch", pa.int32())]).empty_table()
        epochs = self._epochs_of(landings)
        # A cell counts from one landing only, should two workers ever have landed it.
        where = _owners(done, epochs)
        epochs, where = epochs.filter(mask(where >= 0)), where[where >= 0]
        for name in ("config", "fold", "seed"):
            epochs = epochs.append_column(name, done[name].take(places(where)))
        epochs = epochs.append_column("_row", places(where))
        return epochs.sort_by([("_row", "ascending"), ("epoch", "ascending")]).drop_columns(["_row", "landing"])

    def _epochs_of(self, landings: Sequence[str]) -> pa.Table:
        if len(landings) < FEW:  # a question about some cells must not read those of all
            return pa.concat_tables([landed(self.root / "cells" / n, "epochs") for n in landings], promote_options="default")
        return pa.concat_tables(self._look("epochs").tables, promote_options="default")

    def events(self, name: str) -> pa.Table:
        """Event ids and observers in the order of the scores; labels and weights for validation events."""
        path = self.root / "events" / f"{name}.parquet"
        if not path.is_file():
            raise StoreError(str(path), "these events are not in the store", "run the study again, it restores them")
        return pq.ParquetFile(path).read()

    def scored(self, name: str) -> int:
        """How many events the list ``name`` has; 0 where it is not in the store. Reads no event."""
        path = self.root / "events" / f"{name}.parquet"
        return int(pq.ParquetFile(path).metadata.num_rows) if path.is_file() else 0

    def scores(self, landing: str, events: str) -> tuple[Array, Array, Array]:
        """Keys (R,), epochs (R,) and scores (R, N) float32 (logits, memory-mapped) of one landing."""
        path = self.root / "cells" / landing / f"scores-{events}.arrow"
        if not path.is_file():
            raise StoreError(str(path), "these scores were not kept", "set `keep: {scores: all}` and run again")
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except pa.ArrowInvalid as error:
            raise _damaged(path, "Arrow") from error
        # Landed as one batch: `combine_chunks` would copy even a single chunk, and a large study's scores fill the memory.
        chunks = table["scores"]
        column = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
        matrix = unpacked(column.flatten()).reshape(len(table), -1)
        return _strings(table["cell"]), unpacked(table["epoch"]), matrix

    def weights(self, landing: str, key: str, epoch: int) -> dict[str, Array]:
        """Parameters of ``key`` after ``epoch``; `StoreError` where the policy dropped them."""
        from safetensors import SafetensorError, safe_open

        prefix = f"{key}/{epoch}/"
        path = self.root / "cells" / landing / "weights.safetensors"
        if path.is_file():
            try:
                with safe_open(path, framework="numpy") as file:
                    found = {n.removeprefix(prefix): file.get_tensor(n) for n in list(file.keys()) if n.startswith(prefix)}
            except SafetensorError as error:
                raise _damaged(path, "safetensors") from error
            if found:
                return found
        raise StoreError(f"weights of cell {key}, epoch {epoch}", "not kept", "set `keep: {weights: kept}` and run again")


def _damaged(path: Path, kind: str) -> StoreError:
    remedy = f"remove the folder {path.parent} and run the study again: only its cells are trained anew"
    return StoreError(str(path), f"damaged (not readable as {kind})", remedy)


def _write_text(path: Path, content: str) -> None:
    path.write_text(content)


def _write_ipc(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _owners(cells: pa.Table, rows: pa.Table) -> Array:
    """(R,) the row of ``cells`` that has the same cell and landing as each of ``rows``; -1 where none has.

    By the numbers of the strings: there are a hundred times more rows than different names, and comparing names took most of a look.
    """
    owner = {pair: n for n, pair in enumerate(zip(cells["cell"].to_pylist(), cells["landing"].to_pylist(), strict=True))}
    keys, landings = (rows[name].combine_chunks().dictionary_encode() for name in ("cell", "landing"))
    base = max(len(landings.dictionary), 1)
    pairs = unpacked(keys.indices).astype(np.int64) * base + unpacked(landings.indices)
    found, place = np.unique(pairs, return_inverse=True)
    names, folders = keys.dictionary.to_pylist(), landings.dictionary.to_pylist()
    each = [owner.get((names[n // base], folders[n % base]), -1) for n in found.tolist()]
    return np.asarray(each, dtype=np.int64)[place]


def _longest(cells: pa.Table) -> pa.Table:
    """``cells``, sorted by (config, fold, seed), without those that are beginnings of longer ones."""
    if len(cells) < 2:
        return cells
    config = unpacked(cells["config"].combine_chunks().dictionary_encode().indices)
    group = np.stack([config, *(unpacked(cells[n]) for n in ("fold", "seed"))])
    if (group[:, 1:] != group[:, :-1]).any(axis=0).all():  # the rule, and cheap to see
        return cells
    longest: dict[tuple[Any, ...], int] = {}
    keys = zip(*(cells[n].to_pylist() for n in ("config", "fold", "seed", "identity")), strict=True)
    epochs = cells["epochs"].to_pylist()
    for row, key in enumerate(keys):
        if key not in longest or epochs[row] > epochs[longest[key]]:
            longest[key] = row
    return cells.take(places(np.sort(np.asarray(list(longest.values()), dtype=np.int64))))


def _outcome(row: Mapping[str, Any]) -> Outcome:
    names = ("state", "stop_epoch", "best_epoch", "best_val_loss", "seconds", "error")
    return Outcome(row["cell"], **{n: row[n] for n in names})


def _unique(column: Iterable[Any]) -> list[str]:
    return sorted({str(v) for v in column})


def _strings(column: pa.ChunkedArray) -> Array:
    return np.asarray(column.to_pylist(), dtype=str)
