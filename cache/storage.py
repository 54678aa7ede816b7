"""Storage of a cache: a folder, or the objects of a bucket. A slab is committed whole or not at all.

Folder   Everything is written into a folder whose name starts with a dot, read back and fsynced. One rename makes it
         visible. Readers ignore folders that start with a dot.
Bucket   (s3://, gs://, az://) Objects appear whole or not at all. Those of one commit share a new prefix below the
         slab's name, and the commit record is put last. Readers list commit records, so they see nothing too early.
         If two runs race for a slab, both commit. Equal keys have equal content, and readers take the first.

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

PATIENCE = timedelta(seconds=10)  # retries of a store that fails or is unreachable end after this time
SETTINGS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and for other stores than Amazon's AWS_ENDPOINT_URL "
    "(with AWS_ALLOW_HTTP=true if it starts with http://)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
}

Spared = Callable[[float], bool]  # modification time of a hidden item -> whether it must be restored
FaultHook = Callable[[str], None]  # called with the name of each step before it begins; tests raise or exit in it


class CacheError(Exception):
    """The cache holds invalid content. The message names the file and the next command."""


@dataclass(frozen=True)
class Found:
    """A file of the cache: its name, size and age."""

    name: str
    bytes: int
    modified: float  # seconds since the epoch


class Storage(Protocol):
    """The operations that the cache needs of a medium."""

    @property
    def root(self) -> str:
        """Its address."""

    def exists(self) -> bool:
        """Whether the cache exists."""

    def files(self, prefix: str) -> list[Found]:
        """Every file below a prefix that ends at a `/` or at the end of a name, sorted by name.

        Files in a folder whose name starts with a dot get the folder's age if that is younger, because gc may just have
        hidden it. An empty one, left by a killed run, counts as a file of no bytes.
        """

    def read(self, name: str) -> bytes:
        """Read a whole file. Raises FileNotFoundError."""

    def map(self, name: str) -> mmap.mmap | bytes:
        """Open a whole file for random access."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a file atomically: readers get the old one or the new one."""

    def namespaces(self, kind: str) -> list[str]:
        """`<kind>/<id>` of every folder with a spec.json, sorted."""

    def commits(self, folder: str) -> list[str]:
        """The committed folders below `folder`, sorted."""

    def committed(self, folder: str) -> bool:
        """Whether `folder` has been committed."""

    def commit(
        self, folder: str, files: Mapping[str, bytes], record: bytes, check: Callable[[str], None], crash: FaultHook
    ) -> None:
        """Write `files` below `folder`, `check` the written folder, then make it visible together with its record."""

    def remove(self, name: str, spared: Spared = lambda modified: False) -> bool:
        """Hide a file or folder, then delete it, or restore it if `spared` returns True.

        `spared` is called when nobody can find the item any more. Whoever saw it before has written a claim by then
        (cache/gc.py). Returns whether the item is gone.
        """

    def set_aside(self, folder: str) -> str:
        """Move a damaged file or folder away, so that the next run rebuilds it. Returns its new place."""

    def where(self, name: str) -> str:
        """The full path or address, for messages."""


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
        f"{root} is not an address of a cache. Give a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix "
        "or az://container/prefix."
    )


def refuse_unless_cache(root: str) -> None:
    """Raise InputError if `root` is a file, or a folder with anything other than a cache in it."""
    storage = open_storage(root)
    path = Path(storage.root)
    if not isinstance(storage, Folder) or not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"--cache {root} is a file; name a folder, or one that does not exist yet.")
    names = sorted(one.name for one in path.iterdir() if not one.name.startswith("."))
    if names and not set(names) & KINDS:
        raise InputError(
            f"--cache {root} is a folder with other files in it ({', '.join(names[:3])}); name an empty folder or one "
            "that does not exist yet."
        )


@dataclass(frozen=True)
class Folder:
    """A cache on a file system, local or shared."""

    root: str

    def exists(self) -> bool:
        return Path(self.root).is_dir()

    def files(self, prefix: str) -> list[Found]:
        files_found = []
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
                    continue  # another run has renamed or removed it since it was listed
                size = 0 if path == folder else state.st_size
                files_found.append(Found(os.path.relpath(path, self.root), size, max(state.st_mtime, since)))
        return files_found

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
            temporary.unlink(missing_ok=True)  # a full disk must not leave half a file
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
                if self.committed(folder):  # another run has committed it
                    shutil.rmtree(staging)
                elif final.is_dir():  # a slab without its record is invalid
                    self.set_aside(folder)
                    staging.rename(final)
                else:
                    raise
            crash("sync")
            _sync_folder(final.parent)
        except (OSError, CacheError):
            shutil.rmtree(staging, ignore_errors=True)  # a full disk must not leave half a slab
            raise

    def remove(self, name: str, spared: Spared = lambda modified: False) -> bool:
        path = self._path(name)
        hidden = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):  # another run has renamed or removed it
            path.rename(hidden)  # readers keep their mapped files
            modified, folder = os.lstat(hidden).st_mtime, hidden.is_dir() and not hidden.is_symlink()
            if folder:
                os.utime(hidden)  # otherwise another gc would treat it as an old leftover
            if spared(modified) and not path.exists():  # if it exists, it has been written again
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
    """A cache in an object store. Credentials and endpoint come from the environment, as in the vendors' tools."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    @property
    def root(self) -> str:
        return self._root

    def __reduce__(self) -> tuple[Any, ...]:
        return open_storage, (self.root,)  # each worker opens its own connection

    def exists(self) -> bool:
        return bool(self.files(""))

    def files(self, prefix: str) -> list[Found]:
        store = _connect(self.root)
        with _as_os_errors(self.where(prefix)):
            pages = list(store.list(prefix or None))
        objects = [Found(o["path"], o["size"], o["last_modified"].timestamp()) for page in pages for o in page]
        return sorted(objects, key=lambda one: one.name)

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
        return [file.name.removesuffix("/spec.json") for file in self.files(kind) if file.name.endswith("/spec.json")]

    def commits(self, folder: str) -> list[str]:
        return [file.name.removesuffix(f"/{RECORD}") for file in self.files(folder) if file.name.endswith(f"/{RECORD}")]

    def committed(self, folder: str) -> bool:
        return bool(self.commits(folder))

    def commit(
        self, folder: str, files: Mapping[str, bytes], record: bytes, check: Callable[[str], None], crash: FaultHook
    ) -> None:
        prefix = f"{folder}/{uuid.uuid4().hex}"
        crash("create")
        for name, data in files.items():
            crash(name)
            self.replace(f"{prefix}/{name}", data)
        crash("read back")
        check(prefix)
        crash(RECORD)
        self.replace(f"{prefix}/{RECORD}", record)

    def remove(self, name: str, spared: Spared = lambda modified: False) -> bool:
        names = [file.name for file in self.files(name)] or [name]
        store = _connect(self.root)
        with suppress(FileNotFoundError), _as_os_errors(self.where(name)):  # another run has removed it
            visible = [one for one in names if one.endswith(RECORD)] or names[
                :1
            ]  # without its record a slab is invisible
            modified = store.head(visible[0])["last_modified"].timestamp()
            saved = {one: self.read(one) for one in visible}
            for one in visible:
                store.delete(one)
            if spared(modified):
                for one, data in saved.items():
                    self.replace(one, data)
                return False
            for one in set(names) - set(visible):
                store.delete(one)
        return True

    def set_aside(self, folder: str) -> str:
        self.remove(folder)
        return "deleted"

    def where(self, name: str) -> str:
        return f"{self.root}/{name}"


@lru_cache(maxsize=8)
def _connect(root: str) -> Any:
    """The store, one per process. Raises InputError if the address or the environment is invalid."""
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
    """Turn errors of the object store into those that a file system would raise."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(_explain(where, error)) from error
    except BaseError as error:
        raise OSError(_explain(where, error)) from error


def _explain(where: str, error: Exception) -> str:
    """One paragraph: the store's message, without its stack, and the source of its settings."""
    message = " ".join(str(error).partition("Debug source:")[0].split())
    settings = SETTINGS[where.partition("://")[0]]
    return f"{where}: {message[:500]}. Address and credentials are read from the environment: {settings}."


def _hidden_part(name: str) -> str:
    """The name up to its first part that starts with a dot; empty if there is none."""
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
