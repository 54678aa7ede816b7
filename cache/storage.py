"""Where the files of a cache are: a folder, or the objects of a bucket. A slab is committed whole or not at all.

Folder   everything is written into a folder whose name starts with a dot, read back and fsynced; one rename makes it
         visible. Readers never look into folders that start with a dot.
Bucket   (s3://, gs://, az://) objects appear whole or not at all. Those of one commit share a fresh prefix below the
         slab's name, and the commit record is put last: readers list commit records, so nothing is seen too early.
         Two runs that race for a slab both commit; equal keys have equal content, and readers take the first.

Names are relative to the cache, with `/` between the parts.
"""

from __future__ import annotations

import mmap
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from pipeline.errors import InputError

RECORD = "commit.json"
KINDS = {"images", "embeddings", "datasets"}  # one of these folders makes a folder a cache

PATIENCE = timedelta(seconds=10)  # with a store that fails or is away; after it nothing is tried again
SETTINGS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and for other stores than Amazon's AWS_ENDPOINT_URL "
    "(with AWS_ALLOW_HTTP=true where it starts with http://)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
}

Spared = Callable[[float], bool]  # told when what was taken out of sight was modified -> whether it stays
FaultHook = Callable[[str], None]  # called with the name of each step before it begins; tests raise or exit there


class CacheError(Exception):
    """The cache holds something it must not hold; the message names the file and the next command."""


@dataclass(frozen=True)
class Found:
    """A file of the cache: its name, size and age."""

    name: str
    bytes: int
    modified: float  # seconds since the epoch


class Storage(Protocol):
    """What the cache asks of a medium."""

    @property
    def root(self) -> str:
        """Its address."""

    def exists(self) -> bool:
        """Whether anything is there."""

    def files(self, prefix: str) -> list[Found]:
        """Every file below a prefix that ends at a `/` or at the end of a name, sorted by name.

        What is in a folder whose name starts with a dot is as young as the folder, which gc may just have hidden; an
        empty one, which a killed run left, stands for a file of no bytes.
        """

    def read(self, name: str) -> bytes:
        """A whole file. Raises FileNotFoundError."""

    def map(self, name: str) -> mmap.mmap | bytes:
        """A whole file for random access."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a file atomically: readers see the old one or the new one."""

    def namespaces(self, kind: str) -> list[str]:
        """`<kind>/<id>` of every folder that holds a spec.json, sorted."""

    def commits(self, folder: str) -> list[str]:
        """The committed folders below `folder`, sorted."""

    def committed(self, folder: str) -> bool:
        """Whether `commit` has been through for `folder`."""

    def commit(
        self, folder: str, files: Mapping[str, bytes], record: bytes, check: Callable[[str], None], crash: FaultHook
    ) -> None:
        """Write `files` below `folder`, `check` the written folder, then make it visible together with its record."""

    def remove(self, name: str, spared: Spared = lambda modified: False) -> bool:
        """Take a file or folder out of sight at once, then delete it, or put it back where `spared` says so.

        `spared` is asked after nobody can find it any more: whoever looked before has said so by then (cache/gc.py).
        Returns whether it is gone.
        """

    def set_aside(self, folder: str) -> str:
        """Take a damaged file or folder out of the way so that the next run rebuilds it; says where it is now."""

    def where(self, name: str) -> str:
        """How a person finds it."""


@lru_cache(maxsize=8)
def open_storage(root: str) -> Storage:
    """The storage of a folder, a file:// address or a bucket address such as s3://bucket/prefix."""
    scheme, separator, rest = root.partition("://")
    if not separator:
        return Folder(root)
    if scheme in SETTINGS and rest.strip("/"):
        return Bucket(root)
    if scheme == "file" and rest.startswith("/"):
        return Folder(unquote(rest))
    raise InputError(
        f"{root} is no address of a cache. Give a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix or "
        "az://container/prefix."
    )


def refuse_unless_cache(root: str) -> None:
    """Raises InputError where `root` is a file, or a folder with anything but a cache in it."""
    storage = open_storage(root)
    path = Path(storage.root)
    if not isinstance(storage, Folder) or not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"--cache {root} is a file; name a folder, or one that does not exist yet.")
    found = sorted(one.name for one in path.iterdir() if not one.name.startswith("."))
    if found and not set(found) & KINDS:
        raise InputError(
            f"--cache {root} is a folder with other things in it ({', '.join(found[:3])}); name an empty folder or one "
            "that does not exist yet."
        )


@dataclass(frozen=True)
class Folder:
    """A cache on a file system, local or shared."""

    root: str

    def exists(self) -> bool:
        return Path(self.root).is_dir()

    def files(self, prefix: str) -> list[Found]:
        found = []
        for folder, folders, files in os.walk(self._path(prefix)):
            folders.sort()
            paths = [os.path.join(folder, file) for file in sorted(files)]
            hidden = _hidden_part(os.path.relpath(folder, self.root))
            if not folders and not files and hidden:
                paths = [folder]
            for path in paths:
                try:
                    state = os.lstat(path)
                    since = os.lstat(self._path(hidden)).st_mtime if hidden else 0.0
                except FileNotFoundError:
                    continue  # a run beside us has renamed or removed it since it was listed
                size = 0 if path == folder else state.st_size
                found.append(Found(os.path.relpath(path, self.root), size, max(state.st_mtime, since)))
        return found

    def read(self, name: str) -> bytes:
        return self._inside(name).read_bytes()

    def map(self, name: str) -> mmap.mmap | bytes:
        with self._inside(name).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def replace(self, name: str, data: bytes) -> None:
        path = self._path(name)
        _make_folder(path.parent)
        temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        try:
            _write_synced(temporary, data)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a full disk keeps no half of a file
            raise
        _sync_folder(path.parent)

    def namespaces(self, kind: str) -> list[str]:
        return sorted(f"{kind}/{spec.parent.name}" for spec in self._path(kind).glob("[!.]*/spec.json"))

    def commits(self, folder: str) -> list[str]:
        records = self._path(folder).glob(f"[!.]*/{RECORD}")
        return sorted(f"{folder}/{record.parent.name}" for record in records)

    def committed(self, folder: str) -> bool:
        return (self._path(folder) / RECORD).exists()

    def commit(
        self, folder: str, files: Mapping[str, bytes], record: bytes, check: Callable[[str], None], crash: FaultHook
    ) -> None:
        final = self._path(folder)
        staging = final.with_name(f".{final.name}-{uuid.uuid4().hex}")
        try:
            crash("create")
            _make_folder(final.parent)
            for name, data in files.items():
                crash(name)
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                _write_synced(staging / name, data)
            crash("read back")
            check(os.path.relpath(staging, self.root))
            crash(RECORD)
            _write_synced(staging / RECORD, record)
            for inner in [*(path for path in staging.rglob("*") if path.is_dir()), staging]:
                _sync_folder(inner)
            crash("rename")
            try:
                staging.rename(final)
            except OSError:
                if self.committed(folder):  # another run was first
                    shutil.rmtree(staging)
                elif final.is_dir():  # a slab whose record is gone is none
                    self.set_aside(folder)
                    staging.rename(final)
                else:
                    raise
            crash("sync")
            _sync_folder(final.parent)
        except (OSError, CacheError):
            shutil.rmtree(staging, ignore_errors=True)  # a full disk keeps no half of a slab
            raise

    def remove(self, name: str, spared: Spared = lambda modified: False) -> bool:
        path = self._path(name)
        hidden = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):  # a run beside us has renamed or removed it
            path.rename(hidden)  # what readers have mapped stays theirs
            modified, folder = os.lstat(hidden).st_mtime, hidden.is_dir() and not hidden.is_symlink()
            if folder:
                os.utime(hidden)  # or another gc would take it for what a run left long ago
            if spared(modified) and not path.exists():  # where it exists, it has been written again
                hidden.rename(path)
                return False
            shutil.rmtree(hidden) if folder else hidden.unlink()
        return True

    def set_aside(self, folder: str) -> str:
        path = self._path(folder)
        aside = Path(self.root) / "quarantine" / f"{folder.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
        aside.parent.mkdir(exist_ok=True)
        path.rename(aside)
        return str(aside)

    def where(self, name: str) -> str:
        return str(self._path(name))

    def _path(self, name: str) -> Path:
        return Path(self.root, name)

    def _inside(self, name: str) -> Path:
        path = self._path(name)
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root)):
            raise CacheError(f"{path} is a link that leads out of the cache; it is not followed. Delete it.")
        return path


class Bucket:
    """A cache in an object store. Credentials and endpoint come from the environment, as vendors' tools read them."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    @property
    def root(self) -> str:
        return self._root

    def __reduce__(self) -> tuple[Any, ...]:
        return open_storage, (self.root,)  # a worker connects by itself

    def exists(self) -> bool:
        return bool(self.files(""))

    def files(self, prefix: str) -> list[Found]:
        store = _connect(self.root)
        with _as_os_errors(self.where(prefix)):
            pages = list(store.list(prefix or None))
        found = [Found(o["path"], o["size"], o["last_modified"].timestamp()) for page in pages for o in page]
        return sorted(found, key=lambda one: one.name)

    def read(self, name: str) -> bytes:
        store = _connect(self.root)
        with _as_os_errors(self.where(name)):
            return bytes(store.get(name).bytes())

    def map(self, name: str) -> mmap.mmap | bytes:
        return self.read(name)

    def replace(self, name: str, data: bytes) -> None:
        store = _connect(self.root)
        with _as_os_errors(self.where(name)):
            store.put(name, data)

    def namespaces(self, kind: str) -> list[str]:
        return [
            found.name.removesuffix("/spec.json") for found in self.files(kind) if found.name.endswith("/spec.json")
        ]

    def commits(self, folder: str) -> list[str]:
        return [
            found.name.removesuffix(f"/{RECORD}") for found in self.files(folder) if found.name.endswith(f"/{RECORD}")
        ]

    def committed(self, folder: str) -> bool:
        return bool(self.commits(folder))

    def commit(
        self, folder: str, files: Mapping[str, bytes], record: bytes, check: Callable[[str], None], crash: FaultHook
    ) -> None:
        mine = f"{folder}/{uuid.uuid4().hex}"
        crash("create")
        for name, data in files.items():
            crash(name)
            self.replace(f"{mine}/{name}", data)
        crash("read back")
        check(mine)
        crash(RECORD)
        self.replace(f"{mine}/{RECORD}", record)

    def remove(self, name: str, spared: Spared = lambda modified: False) -> bool:
        names = [found.name for found in self.files(name)] or [name]
        store = _connect(self.root)
        with suppress(FileNotFoundError), _as_os_errors(self.where(name)):  # a run beside us has removed it
            seen = [one for one in names if one.endswith(RECORD)] or names[:1]  # without a record a slab is not there
            modified = store.head(seen[0])["last_modified"].timestamp()
            kept = {one: self.read(one) for one in seen}
            for one in seen:
                store.delete(one)
            if spared(modified):
                for one, data in kept.items():
                    self.replace(one, data)
                return False
            for one in set(names) - set(seen):
                store.delete(one)
        return True

    def set_aside(self, folder: str) -> str:
        self.remove(folder)
        return "deleted"

    def where(self, name: str) -> str:
        return f"{self.root}/{name}"


@lru_cache(maxsize=8)
def _connect(root: str) -> Any:
    """The store, one a process. Raises InputError where the address or the environment cannot be meant."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise InputError(f"{root} is a bucket, which needs the package: pip install obstore") from error
    try:
        return from_url(root, retry_config={"retry_timeout": PATIENCE})
    except BaseError as error:
        raise InputError(_explain(root, error)) from error


@contextmanager
def _as_os_errors(where: str) -> Iterator[None]:
    """What the object store says, as the errors that a file system would raise."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(_explain(where, error)) from error
    except BaseError as error:
        raise OSError(_explain(where, error)) from error


def _explain(where: str, error: Exception) -> str:
    """One paragraph: what the store said, without its stack, and where its settings come from."""
    said = " ".join(str(error).partition("Debug source:")[0].split())
    settings = SETTINGS[where.partition("://")[0]]
    return f"{where}: {said[:500]}. Address and credentials are read from the environment: {settings}."


def _hidden_part(name: str) -> str:
    """The name up to its first part that starts with a dot; empty where there is none."""
    parts = name.split("/")
    return next(("/".join(parts[: i + 1]) for i, part in enumerate(parts) if part[0] == "." and part != "."), "")


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
