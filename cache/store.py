"""Slabs on disk: complete or not there at all.

A namespace folder `<cache>/<kind>/<spec id>/` holds `spec.json` and `slabs/<slab id>/`. A slab is a Zarr v3 array that
any Zarr reader opens, with two more files beside it:

    zarr.json    array metadata          c/0/0/0 (images) or c/0/0 (embeddings)    one shard / one chunk
    rows.bin     key and digest of every row, 24 bytes each
    commit.json  written last: digests and sizes of the files above

Commit: everything is written into a folder whose name starts with a dot, read back, compared and fsynced; then one
rename makes it visible. Readers never look into folders that start with a dot. Two runs that race for a slab are
harmless: the first rename wins, the second finds a committed slab and drops its own.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from cache import shard
from cache.index import KeyIndex, Keys, halves
from cache.spec import FORMAT, Spec

READ_BACK_ROWS = 64  # at a time: a second copy of a slab of pictures would be 51 MB in every worker
ROW = np.dtype([("key", "V16"), ("digest", "<u8")])


class CacheError(Exception):
    """The cache holds something it must not hold; the message names the file and the next command."""


class MissingRows(Exception):
    """Keys that no committed slab holds. `count` of `wanted` are missing."""

    def __init__(self, count: int, wanted: int) -> None:
        super().__init__(f"{count} of {wanted} rows are not in the cache")
        self.count, self.wanted = count, wanted


@dataclass(frozen=True)
class Commit:
    """The commit record of one slab."""

    format: int
    spec: str
    rows: int
    rows_digest: str  # of rows.bin, and so of every key and every row digest
    data_bytes: int

    @staticmethod
    def read(path: Path) -> Commit:
        """Raises CacheError when the record is not one of this format."""
        try:
            commit = Commit(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise CacheError(f"{path} is not a commit record ({error}); {_REBUILD}") from error
        if commit.format != FORMAT:
            raise CacheError(f"{path} has format {commit.format}, this program reads {FORMAT}; {_REBUILD}")
        return commit


_REBUILD = "move its folder away and run render_cache.py again: it rebuilds what is missing."


@dataclass(frozen=True, eq=False)
class Slab:
    """One committed slab: `keys` [n], `digests` [n] of the decoded rows."""

    path: Path
    commit: Commit
    keys: Keys
    digests: NDArray[np.uint64]

    @staticmethod
    def read(path: Path, spec: Spec) -> Slab:
        """Reads record and rows, not the data. Raises CacheError where they do not fit each other."""
        commit = Commit.read(path / "commit.json")
        raw = (path / "rows.bin").read_bytes()
        if commit.spec != spec.id or xxhash.xxh3_128_hexdigest(raw) != commit.rows_digest:
            raise CacheError(f"{path / 'rows.bin'} does not fit its commit record; {_REBUILD}")
        rows = np.frombuffer(raw, ROW)
        return Slab(path, commit, np.ascontiguousarray(rows["key"]), np.ascontiguousarray(rows["digest"]))


@dataclass(frozen=True)
class Store:
    """One namespace: rows of one spec."""

    root: Path  # the cache folder
    spec: Spec

    @property
    def path(self) -> Path:
        """The namespace folder."""
        return self.root / self.spec.kind / self.spec.id

    @property
    def slab_folder(self) -> Path:
        """The folder of the committed (and, with a dot, the unfinished) slabs."""
        return self.path / "slabs"

    @staticmethod
    def open_all(root: Path, kind: str) -> list[Store]:
        """Every namespace of a kind under a cache folder, sorted by id."""
        stores = []
        for path in sorted((root / kind).glob("*/spec.json")):
            try:
                store = Store(root, Spec.from_json(path.read_text()))
            except (ValueError, KeyError) as error:
                raise CacheError(f"{path} is not a spec ({error}); {_REBUILD}") from error
            if store.path != path.parent:
                raise CacheError(f"{path} does not belong in its folder (its id is {store.spec.id}); {_REBUILD}")
            stores.append(store)
        return stores

    def create(self) -> None:
        """Make the namespace folder. Harmless when it exists, whoever made it."""
        self.slab_folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / "spec.json", self.spec.to_json().encode())

    def slabs(self) -> list[Slab]:
        """The committed slabs, sorted by id."""
        records = sorted(self.slab_folder.glob("[!.]*/commit.json"))
        return [Slab.read(path.parent, self.spec) for path in records]

    def reader(self) -> Reader:
        """A view of what is committed now. Later commits are seen by a new reader."""
        return Reader(self.spec, self.slabs())

    def write(self, keys: Keys, rows: NDArray[Any], crash: Callable[[str], None] = lambda step: None) -> int:
        """Commit one slab of `keys` [n] and `rows` [n, *spec.shape]; returns the bytes of its data file.

        `crash` is called with the name of each step of the protocol before it begins; tests raise or exit there.
        """
        final = self.slab_folder / slab_id(keys)
        if (final / "commit.json").exists():
            return Commit.read(final / "commit.json").data_bytes
        digests = row_digests(rows)
        staging = self.slab_folder / f".{final.name}-{uuid.uuid4().hex}"
        crash("create")
        (staging / shard.data_path(self.spec.kind)).parent.mkdir(parents=True)
        data = shard.encode(self.spec.kind, rows)
        crash("data")
        write_synced(staging / shard.data_path(self.spec.kind), data)
        crash("metadata")
        write_synced(staging / "zarr.json", shard.metadata(self.spec.kind, rows.shape).encode())
        crash("rows")
        table = np.empty(len(keys), ROW)
        table["key"], table["digest"] = keys, digests
        write_synced(staging / "rows.bin", table.tobytes())
        crash("read back")
        self._refuse_unless_equal(staging, digests)
        crash("commit record")
        record = Commit(FORMAT, self.spec.id, len(keys), xxhash.xxh3_128_hexdigest(table.tobytes()), len(data))
        write_synced(staging / "commit.json", json.dumps(asdict(record)).encode())
        for folder in [*(p for p in staging.rglob("*") if p.is_dir()), staging]:
            sync_folder(folder)
        crash("rename")
        try:
            staging.rename(final)
        except OSError:
            if not (final / "commit.json").exists():
                raise
            shutil.rmtree(staging)  # another run committed the same slab first
        crash("sync")
        sync_folder(self.slab_folder)
        return len(data)

    def _refuse_unless_equal(self, staging: Path, digests: NDArray[np.uint64]) -> None:
        file = staging / shard.data_path(self.spec.kind)
        written = shard.OpenShard(file, self.spec.kind, (len(digests), *self.spec.shape))
        for rows in np.array_split(np.arange(len(digests)), -(-len(digests) // READ_BACK_ROWS)):
            if not np.array_equal(row_digests(written.read(rows)), digests[rows]):
                raise CacheError(f"{file} does not read back as it was written: is the disk failing?")


class Reader:
    """Random access to the rows of one namespace, as committed when the reader was made. Safe to use after a fork."""

    def __init__(self, spec: Spec, slabs: list[Slab]) -> None:
        self.spec, self.slabs = spec, slabs
        self._open: dict[int, shard.OpenShard] = {}

    @cached_property
    def index(self) -> KeyIndex:
        """Of every committed key."""
        return KeyIndex.build([slab.keys for slab in self.slabs])

    def read(self, keys: Keys) -> NDArray[Any]:
        """Rows [n, *spec.shape] of `keys` [n], each checked against its digest.

        Raises MissingRows when a key is not committed, CacheError when a file is not what was committed.
        """
        at = self.index.find(keys)
        if (at < 0).any():
            raise MissingRows(int((at < 0).sum()), len(keys))
        rows = np.empty((len(keys), *self.spec.shape), shard.DTYPE[self.spec.kind])
        slab_of, row_of = self.index.slab[at], self.index.row[at]
        for number in np.unique(slab_of):
            mine = np.flatnonzero(slab_of == number)
            slab = self.slabs[number]
            try:
                rows[mine] = self._shard(int(number)).read(row_of[mine])
            except (OSError, ValueError, RuntimeError) as error:
                raise CacheError(f"{slab.path} cannot be read ({error}); {_REBUILD}") from error
            if not np.array_equal(row_digests(rows[mine]), slab.digests[row_of[mine]]):
                raise CacheError(f"{slab.path} holds other rows than were committed; {_REBUILD}")
        return rows

    def _shard(self, number: int) -> shard.OpenShard:
        if number not in self._open:
            slab = self.slabs[number]
            file = slab.path / shard.data_path(self.spec.kind)
            if file.stat().st_size != slab.commit.data_bytes:
                raise ValueError(f"{file.stat().st_size} bytes, {slab.commit.data_bytes} were committed")
            shape = (slab.commit.rows, *self.spec.shape)
            self._open[number] = shard.OpenShard(file, self.spec.kind, shape)
        return self._open[number]


def slab_id(keys: Keys) -> str:
    """32 hex digits of the keys, in order: the same work has the same name in every run."""
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(keys).tobytes())


def row_digests(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """xxh3-64 of the decoded bytes of each row [n]."""
    rows = np.ascontiguousarray(rows)
    flat = memoryview(rows.view(np.uint8).reshape(-1).data)
    width = rows[0].nbytes if len(rows) else 0
    digest = xxhash.xxh3_64_intdigest
    return np.array([digest(flat[i * width : (i + 1) * width]) for i in range(len(rows))], np.uint64)


def content_digest(slabs: list[Slab]) -> str:
    """xxh3-128 over every distinct key with its row digest, sorted: independent of slabs and of the order of work."""
    table = np.concatenate([*(np.stack([*halves(s.keys), s.digests], 1) for s in slabs), np.zeros((0, 3), np.uint64)])
    return xxhash.xxh3_128_hexdigest(np.unique(table, axis=0).tobytes())


def write_synced(path: Path, data: bytes | memoryview) -> None:
    """Write a new file and fsync it."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """fsync a folder, so that the names in it survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by temp + fsync + rename + folder fsync: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    write_synced(temporary, data)
    temporary.replace(path)
    sync_folder(path.parent)
