"""Slabs of a cache: complete or absent.

A namespace `<kind>/<spec id>/` holds `spec.json` and `slabs/<slab id>/`. A slab is a Zarr v3 array for any Zarr reader,
with two more files beside it. docs/cache-format.md describes every byte.

    zarr.json    array metadata          c/0/0/0 (images) or c/0/0 (embeddings)    one shard / one chunk
    rows.bin     key and digest of every row, 24 bytes each
    commit.json  the commit record, written last: sizes, and the digest of rows.bin, which covers every row

Everything is written, read back and compared before the commit record makes it valid (cache/storage.py). Two runs may
race for a slab without harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from cache import shard
from cache.index import KeyIndex, Keys, halves
from cache.json_record import FORMAT, OtherFormat, parse_versioned
from cache.spec import Spec
from cache.storage import RECORD, CacheError, Folder, Storage, open_storage

READ_ROWS = 64  # per read of a whole slab: larger reads of pictures would need much memory in every worker
MOST_MAPPED = 256  # files per reader: each takes one of the usual 1,024 descriptors of a process
MOST_ROWS = 1 << 20  # per slab; a record with more is invalid
Empty = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
ROW = np.dtype([("key", "V16"), ("digest", "<u8")])


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
    def parse(data: bytes) -> Commit:
        """Parse a record. Raises ValueError if the bytes are not a record of this format."""
        record = parse_versioned(data)
        types = {"format": int, "spec": str, "rows": int, "rows_digest": str, "data_bytes": int}
        if {name: type(value) for name, value in record.items()} != types:
            raise ValueError("not a commit record")
        if not (0 < record["rows"] <= MOST_ROWS and record["data_bytes"] > 0):
            raise ValueError(f"{record['rows']} rows, {record['data_bytes']} bytes: invalid size of a slab")
        return Commit(**record)


class OtherVersion(CacheError):
    """Written by another version of this program: valid, but this one must not read or change it."""


_REBUILD = "`python -m cache fsck --repair` sets it aside, and render_cache.py rebuilds it."


@dataclass(frozen=True, eq=False)
class Slab:
    """One committed slab: `keys` [n], `digests` [n] of the decoded rows."""

    storage: Storage
    folder: str
    commit: Commit
    keys: Keys
    digests: NDArray[np.uint64]

    @staticmethod
    def read(storage: Storage, folder: str, spec: Spec) -> Slab:
        """Read record and rows, but not the data. Raises CacheError if they do not match each other."""
        try:
            commit = Commit.parse(storage.read(f"{folder}/{RECORD}"))
            raw = storage.read(f"{folder}/rows.bin")
        except OtherFormat as error:
            raise _other_version(storage.where(folder), error) from error
        except (OSError, ValueError) as error:
            raise CacheError(f"{storage.where(folder)} is damaged ({error}); {_REBUILD}") from error
        if (
            commit.spec != spec.id
            or len(raw) != commit.rows * ROW.itemsize
            or xxhash.xxh3_128_hexdigest(raw) != commit.rows_digest
        ):
            raise CacheError(f"{storage.where(folder)}/rows.bin does not match its commit record; {_REBUILD}")
        rows = np.frombuffer(raw, ROW)
        keys, digests = np.ascontiguousarray(rows["key"]), np.ascontiguousarray(rows["digest"])
        if slab_id(keys) not in folder.split("/"):
            raise CacheError(f"{storage.where(folder)} has the name of another slab; {_REBUILD}")
        return Slab(storage=storage, folder=folder, commit=commit, keys=keys, digests=digests)

    @property
    def path(self) -> str:
        """The full path or address, for messages and for zarr."""
        return self.storage.where(self.folder)


@dataclass(frozen=True)
class Store:
    """One namespace: rows of one spec, in the cache at `root` (a folder or the address of a bucket)."""

    root: str | Path
    spec: Spec

    @property
    def storage(self) -> Storage:
        """The storage of the cache."""
        return open_storage(str(self.root))

    @property
    def namespace(self) -> str:
        """`images/<spec id>` or `embeddings/<spec id>`."""
        return f"{self.spec.kind}/{self.spec.id}"

    @property
    def slab_folder(self) -> str:
        """The folder of the slabs."""
        return f"{self.namespace}/slabs"

    @staticmethod
    def open_all(root: str | Path, kind: str) -> list[Store]:
        """Every namespace of a kind in a cache, sorted by id. Raises CacheError if one has no valid spec."""
        storage = open_storage(str(root))
        return [Store.open(root, name) for name in storage.namespaces(kind)]

    @staticmethod
    def open(root: str | Path, namespace: str) -> Store:
        """The namespace of that name."""
        storage = open_storage(str(root))
        name = f"{namespace}/spec.json"
        try:
            store = Store(root, Spec.from_json(storage.read(name).decode()))
        except OtherFormat as error:
            raise _other_version(storage.where(name), error) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CacheError(f"{storage.where(name)} is not a spec ({error}); {_REBUILD}") from error
        if store.namespace != namespace:
            raise CacheError(
                f"{storage.where(name)} belongs to {store.namespace}, but is in another folder; {_REBUILD}"
            )
        return store

    def create(self) -> None:
        """Create the namespace. Does no harm if it exists already."""
        self.storage.replace(f"{self.namespace}/spec.json", self.spec.to_json().encode())

    def exists(self) -> bool:
        """Whether the namespace has been created."""
        try:
            self.storage.read(f"{self.namespace}/spec.json")
        except FileNotFoundError:
            return False
        return True

    def slabs(self) -> list[Slab]:
        """The committed slabs, sorted by name."""
        slabs = []
        for folder in self.storage.commits(self.slab_folder):
            try:
                slabs.append(Slab.read(self.storage, folder, self.spec))
            except CacheError:
                if self.storage.committed(folder):
                    raise  # otherwise gc has deleted it since it was listed
        return slabs

    def reader(self) -> Reader:
        """A view of the committed slabs as of now. A new reader sees later commits."""
        return Reader(self.spec, self.slabs())

    def write(self, keys: Keys, rows: NDArray[Any], crash: Callable[[str], None] = lambda step: None) -> int:
        """`write_strips` of `rows` [n, *spec.shape] in one strip."""
        return self.write_strips(keys, [rows], crash)

    def write_strips(
        self, keys: Keys, strips: Iterable[NDArray[Any]], crash: Callable[[str], None] = lambda step: None
    ) -> int:
        """Commit one slab of `keys` [n] and their rows, in strips [k, *spec.shape]. Returns the bytes of its data file.

        A strip is packed before the next one is taken, so strips may be drawn into the same memory. If the slab is
        already there, no strip is taken (0 bytes). `crash` is called with the name of each step of the protocol before
        it begins; tests raise or exit in it. Raises OSError if the medium fails, and CacheError if the files do not
        read back as written.
        """
        folder = f"{self.slab_folder}/{slab_id(keys)}"
        if self.storage.committed(folder):
            return 0
        table = np.empty(len(keys), ROW)
        table["key"] = keys
        packed, done = list[bytes](), 0
        for strip in strips:
            rows = np.ascontiguousarray(strip, shard.DTYPE[self.spec.kind])
            if rows.shape[1:] != self.spec.shape:
                raise ValueError(f"rows of shape {rows.shape[1:]}, but {self.spec.shape} expected")
            packed += shard.pack(self.spec.kind, rows)
            table["digest"][done : done + len(rows)] = row_digests(rows)
            done += len(rows)
        if done != len(keys):
            raise ValueError(f"{len(keys)} keys, but {done} rows")
        data, raw = shard.data_file(self.spec.kind, packed), table.tobytes()
        files = {
            shard.data_path(self.spec.kind): data,
            "zarr.json": shard.metadata(self.spec.kind, (done, *self.spec.shape)).encode(),
            "rows.bin": raw,
        }
        record = Commit(
            format=FORMAT,
            spec=self.spec.id,
            rows=len(keys),
            rows_digest=xxhash.xxh3_128_hexdigest(raw),
            data_bytes=len(data),
        )
        self.storage.commit(
            folder,
            files,
            json.dumps(asdict(record)).encode(),
            lambda written: self._require_equal(written, files),
            crash,
        )
        return len(data)

    def _require_equal(self, folder: str, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            if self.storage.read(f"{folder}/{name}") != data:
                where = self.storage.where(f"{folder}/{name}")
                raise CacheError(f"{where} does not read back as it was written: is the disk failing?")


class Reader:
    """Random access to the rows of one namespace, as committed when the reader was created.

    Safe to use after a fork if the cache is a folder. The connection to a bucket does not survive a fork.
    """

    def __init__(self, spec: Spec, slabs: list[Slab]) -> None:
        self.spec, self.slabs = spec, slabs
        self._mapped: dict[int, shard.OpenShard] = {}
        self._index: KeyIndex | None = None

    @property
    def index(self) -> KeyIndex:
        """The index of every committed key.

        Not a cached_property: before Python 3.12 its lock, if held at a fork, hangs the child.
        """
        if self._index is None:
            self._index = KeyIndex.build([slab.keys for slab in self.slabs])
        return self._index

    def read(self, keys: Keys, empty: Empty = np.empty) -> NDArray[Any]:
        """Rows [n, *spec.shape] of `keys` [n], each checked against its digest, in an array made by `empty`.

        Raises MissingRows if a key is not committed, and CacheError if a file differs from what was committed.
        """
        at = self.index.find(keys)
        if (at < 0).any():
            raise MissingRows(int((at < 0).sum()), len(keys))
        rows = empty((len(keys), *self.spec.shape), shard.DTYPE[self.spec.kind])
        slab_of, row_of = self.index.slab[at], self.index.row[at]
        order = np.argsort(slab_of, kind="stable")
        for chosen in np.split(order, np.flatnonzero(np.diff(slab_of[order])) + 1) if len(order) else []:
            self._read_into(rows, chosen, int(slab_of[chosen[0]]), row_of[chosen])
        return rows

    def read_slab(self, number: int, rows: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Rows [m, *spec.shape] of one slab, by their position in it."""
        out = np.empty((len(rows), *self.spec.shape), shard.DTYPE[self.spec.kind])
        self._read_into(out, np.arange(len(rows)), number, rows)
        return out

    def _read_into(self, out: NDArray[Any], at: NDArray[np.int64], number: int, rows: NDArray[np.integer[Any]]) -> None:
        slab = self.slabs[number]
        try:
            self.open_shard(number).read(rows, out, at)
        except (OSError, ValueError, RuntimeError) as error:
            raise CacheError(f"{slab.path} cannot be read ({error}); {_REBUILD}") from error
        if not np.array_equal(row_digests(out, at), slab.digests[rows]):
            raise CacheError(f"{slab.path} holds rows that differ from the committed ones; {_REBUILD}")

    def open_shard(self, number: int) -> shard.OpenShard:
        """The data file of one slab. Raises OSError or ValueError if it differs from what was committed."""
        if number in self._mapped:
            return self._mapped[number]
        slab = self.slabs[number]
        data = slab.storage.map(f"{slab.folder}/{shard.data_path(self.spec.kind)}")
        if len(data) != slab.commit.data_bytes:
            raise ValueError(f"{len(data)} bytes, but {slab.commit.data_bytes} were committed")
        opened = shard.OpenShard(data, self.spec.kind, (slab.commit.rows, *self.spec.shape))
        most = MOST_MAPPED if isinstance(slab.storage, Folder) else 1  # downloads would fill the memory
        while len(self._mapped) >= most:
            self._mapped.pop(next(iter(self._mapped)))  # the oldest one
        self._mapped[number] = opened
        return opened


def _other_version(where: str, error: OtherFormat) -> OtherVersion:
    return OtherVersion(
        f"{where} was made by another version of this program ({error}); use that one, or another --cache."
    )


def slab_id(keys: Keys) -> str:
    """32 hex digits from the keys, in order, so that the same work has the same name in every run."""
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(keys).tobytes())


def row_digests(rows: NDArray[Any], at: NDArray[np.int64] | None = None) -> NDArray[np.uint64]:
    """xxh3-64 of the decoded bytes of each row [n], or of the rows at positions `at` [m]."""
    rows = np.ascontiguousarray(rows)
    flat = memoryview(rows.view(np.uint8).reshape(-1).data)
    width = rows[0].nbytes if len(rows) else 0
    digest = xxhash.xxh3_64_intdigest
    chosen = range(len(rows)) if at is None else at.tolist()
    return np.array([digest(flat[i * width : (i + 1) * width]) for i in chosen], np.uint64)


def content_digest(slabs: list[Slab]) -> str:
    """xxh3-128 over every distinct key and its row digest, sorted; independent of slabs and of the order of work."""
    table = np.concatenate([*(np.stack([*halves(s.keys), s.digests], 1) for s in slabs), np.zeros((0, 3), np.uint64)])
    return xxhash.xxh3_128_hexdigest(np.unique(table, axis=0).tobytes())


def slab_of(name: str) -> str | None:
    """The folder of the slab to which a file belongs, committed or not; None for other files."""
    parts = name.split("/")
    if parts[2:3] != ["slabs"]:
        return None
    if len(parts) > 3 and parts[3].startswith("."):  # left by a killed run, perhaps before its first file
        return "/".join(parts[:4])
    return name.split("/c/")[0] if "/c/" in name else name.rpartition("/")[0]


def slabs_of(storage: Storage, prefix: str = "") -> set[str]:
    """The folders of all slabs below a prefix, committed or not."""
    return {folder for file in storage.files(prefix) if (folder := slab_of(file.name))}
